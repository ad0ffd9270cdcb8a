"""Georeferencing: coordinate reference systems, pixel grids, vector layers, polygons and units."""
