"""Labels: polygons and class rasters, the class maps that name their values, and both on the grid of a scene."""
