"""Verify the files of a tile set against its index."""

from __future__ import annotations

from satseg.arguments import PathLike
from satseg.arguments import path as file_name
from satseg.files.gdal import gdal_environment
from satseg.progress import automatic
from satseg.records import Progress
from satseg.signatures import checked
from satseg.tiles.check import TileCheck, check
from satseg.tiles.tileset import TileSet


@checked
def check_tiles(path: PathLike = "tiles", *, progress: Progress = automatic) -> TileCheck:
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
        return check(TileSet.open(file_name(path, "path")), progress=progress)
