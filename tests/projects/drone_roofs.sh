# Roofs from a drone: a labelled photograph in UTM, footprints in degrees; the second photograph is mapped.
satseg tile north.tif --labels footprints.geojson
satseg train --arch erfnet $BUDGET
satseg predict south.tif -o roofs.gpkg
satseg evaluate roofs.gpkg --labels footprints.geojson --json > score.json
