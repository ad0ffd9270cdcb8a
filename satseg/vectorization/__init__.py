"""From class maps to polygons: tracing as a planar map, attributes, vector files."""
