"""How small labelled objects are: what a network finds below that is mostly a piece of an object, or none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from satseg.classes import ClassTable
from satseg.errors import TileError
from satseg.evaluation.object_counts import SQUARE_METRES, area_unit, pixel_area
from satseg.geo.units import Gsd
from satseg.results import Size
from satseg.tiles.tile import Tile
from satseg.vectorization.object_division import object_groups

_SMALLER = 0.05
"""Share of the labelled objects that are smaller than the smallest of a map: what they cost is found no more."""

_TILES = 500  # that are read at most
_FEWEST = 20  # objects of a class that tell its sizes
_LEAST = 0.999  # of an area, so that rounding does not drop objects of just that many pixels


def smallest_objects(tiles: Sequence[Tile], classes: ClassTable, gsd: Gsd) -> str | None:
    """Return the area that 95 % of the labelled objects exceed, as ``min_area`` of :class:`satseg.PolygonSettings`.

    Only objects that lie within a tile count. Of several classes, the one with the smallest objects decides.

    Args:
        tiles: Tiles with objects; 500 of them are read at most, spread evenly.
        classes: Their classes.
        gsd: Ground metres per pixel of the tiles, or None.

    Returns:
        Such as ``17.3m2``, or pixels without a CRS; None where no class has 20 objects.

    Raises:
        TileError: A tile cannot be read, or its labels and its objects differ in size.
    """
    known = object_groups(classes) > 0
    sizes: dict[tuple[int, int], int] = {}
    for tile in tiles[:: -(-len(tiles) // _TILES) or 1]:
        sizes |= _sizes(tile, known)
    of_class: dict[int, list[int]] = {}
    for (class_id, _), size in sizes.items():
        of_class.setdefault(class_id, []).append(size)
    limits = [np.quantile(found, _SMALLER) for found in of_class.values() if len(found) >= _FEWEST]
    return written_area(float(min(limits)), gsd) if limits else None


def written_area(pixels: float, gsd: Gsd) -> str:
    """Return an area of pixels of tiles in square metres, or in pixels if their size is unknown."""
    if area_unit(gsd) == SQUARE_METRES:
        return f"{_LEAST * pixels * pixel_area(gsd):.6g}{SQUARE_METRES}"
    return f"{pixels:g}px"


def _sizes(tile: Tile, known: np.ndarray) -> dict[tuple[int, int], int]:
    """Return the pixels of the objects within a tile, by class and id, given which classes (256,) have objects."""
    ids, cut = tile.read_objects()
    labels = tile.read_labels()
    if ids.shape != labels.shape:
        sizes = Size(*labels.shape), Size(*ids.shape)
        raise TileError(f"Tile {tile.name}: its labels are {sizes[0]} px, its objects are {sizes[1]} px.")
    whole = (ids > 0) & ~cut & known[labels]
    numbers, first, counts = np.unique(ids[whole], return_index=True, return_counts=True)
    keys = zip(labels[whole][first].tolist(), numbers.tolist(), strict=True)
    return dict(zip(keys, counts.tolist(), strict=True))
