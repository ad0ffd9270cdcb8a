"""Divide a map of classes into objects, wherever its rasters are read from."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from satseg.classes import BOUNDARY, ClassTable
from satseg.errors import UsageError
from satseg.geo.units import Gsd
from satseg.objects import ObjectOutputs
from satseg.objects.division import MOST_MARGIN, Division
from satseg.objects.grouping import grouped
from satseg.objects.watershed import Block, objects_of
from satseg.vectorization.settings import PolygonSettings

Maps = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Classes of a part of a scene, (row, col) uint8, and what a network says of objects, in the order of its outputs."""

_STRIP_BYTES = 2**18
_STRIP_ROWS = 64


def open_division(
    read: Callable[[Block], Maps],
    height: int,
    width: int,
    settings: PolygonSettings,
    *,
    classes: ClassTable,
    gsd: Gsd,
    scratch: Path,
    said: ObjectOutputs = ObjectOutputs.EDGES,
    resample: tuple[float, float] = (1.0, 1.0),
) -> Division:
    """Return what divides a map, as its rows are finished.

    Args:
        read: Returns the maps of a block in finished rows.
        height: Rows of the map.
        width: Columns of the map.
        settings: Depth of markers, and sizes of the smallest and the largest object.
        classes: Classes of the map.
        gsd: Ground metres per pixel of the map, or None.
        scratch: Folder for rows that do not fit into memory.
        said: What the maps say of objects.
        resample: Size of the map's pixels over that of the training, along rows and columns.

    Raises:
        UsageError: The largest object has too many pixels, or the size of the smallest one is unknown in pixels.
    """
    groups, divide_maps = object_groups(classes), object_divider(said, settings.marker_depth)

    def divide(block: Block) -> tuple[np.ndarray, np.ndarray]:
        found, *maps = read(block)
        return divide_maps(groups[found], *maps, inner=block.inner)

    margin = object_margin(settings, resample)
    smallest, strip = settings.in_pixels(gsd, ids=False).min_area, strip_rows(width)
    return Division(divide, height, width, smallest=smallest, margin=margin, strip=strip, scratch=scratch)


def object_divider(said: ObjectOutputs, depth: float) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Return what divides groups into objects, by what a network says of them in the order of its outputs.

    Args:
        said: What is said of objects.
        depth: Least dynamics of a marker, in 0..1; of no account for centres.

    Returns:
        Takes groups, boundary and distance, or groups, heat of centres and offsets, and rows and columns that are
        wanted (``inner``); returns what :func:`satseg.objects.watershed.objects_of` or
        :func:`satseg.objects.grouping.grouped` makes of them.
    """
    if said is ObjectOutputs.CENTRES:
        return grouped

    def by_edges(
        groups: np.ndarray, boundary: np.ndarray, distance: np.ndarray, inner: tuple[slice, slice] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        return objects_of(groups, distance, boundary, depth, inner)

    return by_edges


def object_groups(classes: ClassTable) -> np.ndarray:
    """Return (256,) uint8, the group of each class id, within which objects lie; 0 for the background and nodata."""
    groups = np.zeros(256, dtype=np.uint8)
    for entry in classes:
        if entry.id != classes.background and entry.name != BOUNDARY:
            groups[entry.id] = entry.id + 1
    return groups


def strip_rows(width: int) -> int:
    """Return the rows of a strip, at most, of a map of that width."""
    return max(1, min(_STRIP_ROWS, _STRIP_BYTES // width))


def object_margin(settings: PolygonSettings, resample: tuple[float, float] = (1.0, 1.0)) -> int:
    """Return the extent of the largest object in pixels of the map; arguments are those of :func:`open_division`.

    Raises:
        UsageError: It has too many.
    """
    margin = max(math.ceil(settings.max_object / factor) for factor in resample)
    if margin > MOST_MARGIN:
        raise UsageError(
            f"Objects of `max_object={settings.max_object}` px have {margin} px in the scene, more than {MOST_MARGIN}.",
            hint="Lower `max_object`: larger objects may be divided.",
        )
    return margin
