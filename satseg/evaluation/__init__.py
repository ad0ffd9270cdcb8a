"""Evaluation: confusion matrices, streamed over tiles and rasters, and the scores that follow from them."""
