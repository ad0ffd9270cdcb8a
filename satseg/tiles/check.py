"""Compare the files of a tile set with its index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from satseg.errors import SatsegError
from satseg.raster.bands import Moments
from satseg.records import Progress, ProgressEvent, no_progress
from satseg.results import Result
from satseg.tiles.index import pixels_column
from satseg.tiles.tile import Tile
from satseg.tiles.tileset import TileSet, read_moments

_DRIFT = 1e-9  # of a mean: another machine may add in another order


@dataclass(frozen=True, repr=False)
class TileProblem(Result):
    """What is wrong with a tile.

    Args:
        tile: Name of the tile.
        problem: What is wrong, in a phrase.
    """

    tile: str
    problem: str


@dataclass(frozen=True, repr=False)
class TileCheck(Result):
    """What a check of a tile set found.

    Args:
        path: Folder of the tile set.
        tiles: Tiles that were checked.
        problems: What is wrong, in the order of the index.
        strays: Images in the folder that the index does not list, as after deleting rows from it.
        unplaced: Scenes without a CRS, which could not be compared with others.
    """

    path: str
    tiles: int
    problems: tuple[TileProblem, ...]
    strays: int
    unplaced: int = 0


def check(tile_set: TileSet, *, progress: Progress = no_progress) -> TileCheck:
    """Read every tile of the index and compare it with its row, and look for overlaps between splits.

    Args:
        tile_set: What to check.
        progress: Called after each tile.
    """
    index = tile_set.index
    moments = read_moments(tile_set.path, index["tile"].tolist())
    problems = []
    for done, row in enumerate(index.to_dict("records"), start=1):
        problems += [TileProblem(row["tile"], text) for text in _problems(tile_set, row, moments.get(row["tile"]))]
        progress(ProgressEvent("Checking tiles", done, len(index), "tile"))
    splits = dict(zip(index["tile"], index["split"], strict=True))
    problems += [
        TileProblem(one, f"is in {splits[one]} and overlaps {other}, which is in {splits[other]}")
        for one, other in tile_set.leaks().items()
    ]
    listed = set(index["image"])
    strays = sum(f"images/{path.name}" not in listed for path in (tile_set.path / "images").glob("*.tif"))
    return TileCheck(str(tile_set.path), len(index), tuple(problems), strays, tile_set.unplaced)


def _problems(tile_set: TileSet, row: Mapping[str, Any], moments: Moments | None) -> Iterator[str]:
    tile = tile_set.tile(row)
    try:
        values, labels, valid = tile.read()
    except SatsegError as error:
        yield error.message.removeprefix(f"Tile {tile.name} ").rstrip(".")
        return
    if labels.shape != (row["height"], row["width"]):
        yield f"is {labels.shape[1]} x {labels.shape[0]} px, not {row['width']} x {row['height']}"
    counts = np.bincount(labels.ravel(), minlength=256)
    for entry in tile_set.classes:
        if counts[entry.id] != row[pixels_column(entry.name)]:
            yield f"holds {counts[entry.id]} pixels of {entry.name}, not {row[pixels_column(entry.name)]}"
    yield from _object_problems(tile_set, tile, labels)
    found = Moments.of(values, valid)
    if moments is not None and (found is None or not _alike(found, moments)):
        yield "holds other values than when it was cut"


def _object_problems(tile_set: TileSet, tile: Tile, labels: np.ndarray) -> Iterator[str]:
    if tile.objects is None:
        return
    try:
        ids, _ = tile.read_objects()
    except SatsegError as error:
        yield f"has no objects to use: {error.message.rstrip('.')}"
        return
    if ids.shape != labels.shape:
        yield f"has objects of {ids.shape[1]} x {ids.shape[0]} px"
        return
    last = sum(tile_set.objects or ())
    if ids.max() > last:
        yield f"holds the object {ids.max()}; ids end at {last}"
    empty = tile_set.classes.background
    if empty is not None and (strange := np.count_nonzero((ids > 0) & (labels == empty))):
        yield f"has objects at {strange} pixels of {tile_set.classes.names[empty]}"


def _alike(one: Moments, other: Moments) -> bool:
    if one.count != other.count or not np.array_equal(one.minimum, other.minimum):
        return False
    return bool(np.allclose(one.mean, other.mean, rtol=_DRIFT) and np.array_equal(one.maximum, other.maximum))
