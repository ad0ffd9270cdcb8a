"""Files: their names, fingerprints and locks, GDAL's settings, scratch files, disk space and atomic writes."""
