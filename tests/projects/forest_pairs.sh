# Clearings from pairs of image and mask whose publisher says what is train, val and test.
satseg tile --pairs train/images train/masks --split train --class-map 0=forest,1=cleared
satseg tile --pairs val/images val/masks --split val --append
satseg train --arch erfnet $BUDGET
satseg evaluate runs/erfnet-1 --pairs test/images test/masks --json > score.json
