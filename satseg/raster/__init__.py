"""Scenes: georeferenced rasters opened through GDAL, their bands, statistics, masks and windows."""
