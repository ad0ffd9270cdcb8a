"""Tile sets: training samples on disk, cut from scenes by blocks and split so that nothing leaks."""
