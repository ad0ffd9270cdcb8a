"""Places on the ground: coordinate reference systems, grids, and the ways between them."""
