"""Map files: work rasters that grow row by row, cloud-optimised GeoTIFFs, and their overviews."""
