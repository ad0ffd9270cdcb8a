#!/usr/bin/env bash
# From one labelled scene to maps of others, with a line of JSON per scene on the way.
#
#     examples/pipeline.sh labelled.tif buildings.gpkg other/*.tif
#
# Works in the current folder: tiles/, runs/pipeline/, maps/. BUDGET says how long to train.
set -euo pipefail

scene=$1 labels=$2
shift 2

satseg tile "$scene" --labels "$labels" -o tiles
satseg train tiles ${BUDGET:---minutes 10} -o runs/pipeline
satseg evaluate runs/pipeline/best.safetensors tiles --split test

# Scenes come in by name, maps go out by name, and what is known of each goes on to jq.
printf '%s\n' "$@" |
  satseg predict - -m runs/pipeline/best.safetensors -o 'maps/{stem}.tif' -o 'maps/{stem}.gpkg' --json |
  jq -r '[.scene, .seconds, (.polygons | add)] | @tsv'
