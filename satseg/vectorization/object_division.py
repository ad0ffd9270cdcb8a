"""Divide a map of classes into objects, wherever its rasters are read from."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from satseg.classes import ClassTable
from satseg.errors import UsageError
from satseg.geo.units import Gsd
from satseg.labels.labels import BOUNDARY
from satseg.objects.division import MOST_MARGIN, Division, Maps
from satseg.objects.watershed import Block
from satseg.vectorization.settings import PolygonSettings

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
    resample: tuple[float, float] = (1.0, 1.0),
) -> Division:
    """Return what divides a map, as its rows are finished.

    Args:
        read: Returns classes, distance and boundary of a block in finished rows, each (row, col) uint8.
        height: Rows of the map.
        width: Columns of the map.
        settings: Depth of markers, and sizes of the smallest and the largest object.
        classes: Classes of the map.
        gsd: Ground metres per pixel of the map, or None.
        scratch: Folder for rows that do not fit into memory.
        resample: Size of the map's pixels over that of the training, along rows and columns.

    Raises:
        UsageError: The largest object has too many pixels, or the size of the smallest one is unknown in pixels.
    """
    groups = object_groups(classes)

    def read_groups(block: Block) -> Maps:
        found, distance, boundary = read(block)
        return groups[found], distance, boundary

    margin = object_margin(settings, resample)
    strip = strip_rows(width)
    return Division(
        read_groups,
        height,
        width,
        depth=settings.marker_depth,
        smallest=settings.in_pixels(gsd, ids=False).min_area,
        margin=margin,
        strip=strip,
        scratch=scratch,
    )


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
