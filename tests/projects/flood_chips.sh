# Water from radar chips: labels -1 (unlabelled), 0 and 1 lie beside them under another suffix.
satseg tile --pairs 'S1/{stem}_S1Hand.tif' 'LabelHand/{stem}_LabelHand.tif' --class-map=-1=ignore,0=dry,1=water
satseg train --arch erfnet $BUDGET
satseg predict S1/*.tif -o 'maps/{stem}.tif'
satseg evaluate --pairs 'maps/{stem}_S1Hand.tif' 'LabelHand/{stem}_LabelHand.tif' --json > score.json
