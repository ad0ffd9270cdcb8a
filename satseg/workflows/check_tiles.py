"""Verify the files of a tile set against its index."""

from __future__ import annotations

from pathlib import Path

from satseg.raster.gdal import gdal_environment
from satseg.records import Progress, no_progress
from satseg.tiles.check import TileCheck, check
from satseg.tiles.tileset import TileSet


def check_tiles(path: str | Path = "tiles", *, progress: Progress = no_progress) -> TileCheck:
    """Read every tile of a tile set and compare it with its row of the index.

    Args:
        path: Folder of the tile set.
        progress: Called after each tile.

    Returns:
        What is wrong: files that are missing or damaged, sizes, bands, class ids and counts that differ, train tiles
        that overlap others.

    Raises:
        TileError: There is no tile set, or its index cannot be used.
    """
    with gdal_environment():
        return check(TileSet.open(path), progress=progress)
