"""Val tiles of a run, or of a tile set that is named, on which an exported network is checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from satseg.arguments import PathLike
from satseg.arguments import path as file_name
from satseg.checkpoint import Checkpoint
from satseg.errors import CheckpointError, SatsegError, TileError
from satseg.presence import INDEX
from satseg.runs import Run
from satseg.tiles.tile import Tile
from satseg.tiles.tileset import TileSet

_HINT = "Name a tile set with the same bands and classes with `tiles`."


@dataclass(frozen=True)
class ExportTiles:
    """The val tiles of a tile set.

    Args:
        folder: Folder of the tile set.
        tiles: The tiles.
    """

    folder: Path
    tiles: tuple[Tile, ...]

    def __str__(self) -> str:
        return f"{len(self.tiles)} val tiles of {self.folder}"


def tiles_there_are(checkpoint: Checkpoint, named: PathLike | None) -> ExportTiles | None:
    """Return the val tiles of the tile set that is named, else of the run; None where the run has none any more.

    Raises:
        CheckpointError: Bands or classes of the tile set that is named are others.
        TileError: It cannot be read, or has no val tiles.
    """
    if named is not None:
        return _fitting(checkpoint, Path(file_name(named, "tiles")))
    if (tile_set := tile_set_of_run(checkpoint)) is None:
        return None
    tiles = tuple(tile_set.tiles("val"))
    return ExportTiles(tile_set.path, tiles) if tiles else None


def tile_set_of_run(checkpoint: Checkpoint) -> TileSet | None:
    """Return the tile set of the run of a checkpoint, or None where it is gone."""
    folder = Run(checkpoint.path.parent).tile_set
    if folder is None or not (folder / INDEX).is_file():
        return None
    try:
        tile_set = TileSet.open(folder)
        checkpoint.check_fits(tile_set.bands, folder)
    except SatsegError:  # it is another one, or damaged
        return None
    return tile_set


def labelled_tiles(checkpoint: Checkpoint, named: PathLike | None) -> ExportTiles:
    """Return those val tiles that have labels, for the scores of an int8 network.

    Raises:
        CheckpointError: Bands or classes of the tile set are others.
        TileError: There are no such tiles.
    """
    folder = Run(checkpoint.path.parent).tile_set if named is None else Path(file_name(named, "tiles"))
    if folder is None:
        raise TileError(
            f"An int8 network needs labelled val tiles, but {checkpoint.path} lies in no run that names its tile set.",
            hint=_HINT,
        )
    if not (folder / INDEX).is_file():
        raise TileError(f"An int8 network needs labelled val tiles, but there is no tile set {folder}.", hint=_HINT)
    found = _fitting(checkpoint, folder)
    labelled = tuple(tile for tile in found.tiles if sum(tile.pixels))
    if not labelled:
        raise TileError(f"An int8 network needs labelled val tiles, but those of {folder} have no labels.", hint=_HINT)
    return ExportTiles(folder, labelled)


def _fitting(checkpoint: Checkpoint, folder: Path) -> ExportTiles:
    tile_set = TileSet.open(folder)
    checkpoint.check_fits(tile_set.bands, folder)
    if (theirs := tile_set.classes.names) != (ours := checkpoint.card.classes.names):
        raise CheckpointError(
            f"{checkpoint.path} knows the classes {', '.join(ours)}, but {folder} holds {', '.join(theirs)}.",
            hint=_HINT,
        )
    tiles = tuple(tile_set.tiles("val"))
    if not tiles:
        raise TileError(f"The split val of {folder} is empty.", hint=_HINT)
    return ExportTiles(folder, tiles)
