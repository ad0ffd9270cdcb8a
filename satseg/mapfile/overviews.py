"""Overviews of a work raster: level by level, each of half the width and height, in strips.

GDAL could build them while it copies the raster. But its buffers grow with the width of the raster (120 MB more than
these at 400,000 columns), and the copy takes six times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from satseg.classes import IGNORE_INDEX
from satseg.mapfile.work_raster import WorkRaster
from satseg.records import MapLayer

STRIP_BYTES = 2**18  # fits into the processor's cache with its intermediate results


def write_overviews(rows: WorkRaster, folder: Path, *, layer: MapLayer, smallest: int) -> list[WorkRaster]:
    """Write the overviews of a finished work raster as closed work rasters; return them, the largest first.

    Sizes are halved and rounded up, so that a pixel covers two by two of the level before, or fewer at the edge. A
    pixel is nodata only if all of these are. Classes are aggregated by mode; ties go to the class that reaches the
    count first in reading order, as in GDAL. Shares are averaged, halves rounded up. Of objects, the first is kept.

    Args:
        rows: Work raster.
        folder: Folder of the files ``1.raw`` and so on.
        layer: Content of the raster: classes, ids of objects, or shares of ``CERTAIN``.
        smallest: Maximum side of the last level.

    Raises:
        OutputError: The disk is full.
    """
    merge = _MERGES.get(layer, mean)
    levels: list[WorkRaster] = []
    with ExitStack() as stack:
        while max(rows.height, rows.width) > smallest:
            height, width = -(-rows.height // 2), -(-rows.width // 2)
            path = folder / f"{len(levels) + 1}.raw"
            half = stack.enter_context(WorkRaster(path, height=height, width=width, bands=rows.bands, dtype=rows.dtype))
            _halve(rows, half, merge)
            levels.append(half)
            rows = half
    return levels


def most_frequent(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return the first class in this order that occurs twice, else the first one; 255 only if all are.

    Args:
        a: uint8 classes of the upper left pixels; the others have the same shape.
        b: Upper right.
        c: Lower left.
        d: Lower right.
    """
    found = np.where(a != IGNORE_INDEX, a, np.where(b != IGNORE_INDEX, b, np.where(c != IGNORE_INDEX, c, d)))
    np.copyto(found, d, where=((d == a) | (d == b) | (d == c)) & (d != IGNORE_INDEX))
    np.copyto(found, c, where=((c == a) | (c == b)) & (c != IGNORE_INDEX))
    np.copyto(found, a, where=(a == b) & (a != IGNORE_INDEX))
    return found


def mean(*quarters: np.ndarray) -> np.ndarray:
    """Return the mean of uint8 arrays of one shape, ignoring 255; 255 if all are."""
    total = np.zeros(quarters[0].shape, dtype=np.uint16)
    count = np.zeros_like(total)
    for values in quarters:
        holds = values != IGNORE_INDEX
        total += np.where(holds, values, 0)
        count += holds
    return np.where(count, (total + count // 2) // np.maximum(count, 1), IGNORE_INDEX).astype(np.uint8)


def first_object(*quarters: np.ndarray) -> np.ndarray:
    """Return the first id of arrays of one shape that is not 0; 0 if all are."""
    found = quarters[0]
    for ids in quarters[1:]:
        found = np.where(found == 0, ids, found)
    return found


_MERGES: Mapping[MapLayer, Callable[..., np.ndarray]] = {
    MapLayer.CLASSES: most_frequent,
    MapLayer.OBJECTS: first_object,
}


def _halve(rows: WorkRaster, half: WorkRaster, merge: Callable[..., np.ndarray]) -> None:
    """Fill a raster of half the size."""
    columns = min(rows.width, max(STRIP_BYTES // (4 * rows.bands), 1) * 2)
    height = max(STRIP_BYTES // (2 * rows.bands * columns), 1) * 2
    for top in range(0, rows.height, height):
        bottom = min(top + height, rows.height)
        for left in range(0, rows.width, columns):
            cell = rows.read(top, bottom, left, min(left + columns, rows.width))
            half.write(top // 2, left // 2, merge(*_quarters(cell)))


def _quarters(cell: np.ndarray) -> list[np.ndarray]:
    """Return upper left, upper right, lower left and lower right pixels of each two by two; nodata beyond the edge."""
    missing = ((0, 0), *((0, length % 2) for length in cell.shape[1:]))
    nodata = IGNORE_INDEX if cell.dtype == np.uint8 else 0
    even = np.pad(cell, missing, constant_values=nodata) if any(map(any, missing)) else cell
    return [np.ascontiguousarray(even[:, row::2, column::2]) for row in (0, 1) for column in (0, 1)]
