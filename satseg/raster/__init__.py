"""Rasters: scenes, windows, labels, band statistics and the class raster, read and written through GDAL."""
