"""Evaluation: counts of pixels, boundaries and objects, streamed over tiles and rasters, and the scores from them."""
