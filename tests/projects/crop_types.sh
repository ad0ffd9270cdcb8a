# 36 crops from one Sentinel-2 scene; beyond the registered fields nothing is known.
satseg tile T32VNH.tif --labels Marker.shp --class-field Afgroede --outside ignore
satseg train --arch erfnet $BUDGET
satseg predict T32VNH.tif -o crops.tif -o crops.gpkg
satseg evaluate crops.tif --labels Marker.shp --json > score.json
