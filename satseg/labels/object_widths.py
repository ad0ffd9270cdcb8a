"""Widths of labelled objects, as polygons and as regions of a class raster."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import shapely
from rasterio.windows import Window
from scipy import ndimage

_POLYGONS = 20_000
_WINDOWS = 9
_SIDE = 1024  # px of a window
_MARGIN = 128  # px in which regions are left to the neighbouring window

Widths = tuple[np.ndarray, np.ndarray]
"""uint8 class ids and float64 widths of objects, both (N,)."""


def polygons_of_each(scenes: int) -> int:
    """Return how many polygons of each scene are measured at most, where ``scenes`` share the sample."""
    return max(100, _POLYGONS // scenes)


def polygon_widths(polygons: np.ndarray) -> np.ndarray:
    """Measure the widths of polygons: the short side of the rectangle with the same area and perimeter.

    This is the equivalent rectangle of Roche ("Hydrologie de surface", 1963). Unlike the smallest rectangle around a
    polygon it measures a road across, however it bends, and a building around a courtyard by its wings. A polygon that
    is more compact than a square has the width of the square of its area.

    Args:
        polygons: (N,) polygons without parts.

    Returns:
        (N,) float64 in their unit.
    """
    area, perimeter = shapely.area(polygons), shapely.length(polygons)
    ratio = np.divide(16 * area, perimeter**2, out=np.ones_like(area), where=perimeter > 0)
    short = perimeter / 4 * (1 - np.sqrt(np.clip(1 - ratio, 0, None)))
    return np.where(ratio > 1, np.sqrt(area), short)


def region_widths(objects: np.ndarray, inner: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """Measure the widths of connected regions: the diameter of the largest circle in each.

    Regions are connected pixels of one number (four neighbours). Those whose circle lies outside of the inner part are
    left out, since a window may show no more than the end of a region at its edge.

    Args:
        objects: (H, W) numbers, 0 for no object.
        inner: Rows and columns of the inner part.

    Returns:
        The number and the width in pixels of each region, (N,) each; a width is up to two pixels short where regions
        touch.
    """
    regions = _connected(objects)
    apart = objects > 0
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        apart[one] &= (objects[one] == objects[other]) | (objects[other] == 0)
    distance = ndimage.distance_transform_edt(np.pad(apart, 1))[1:-1, 1:-1]
    at = np.flatnonzero(regions)
    order = np.lexsort((distance.ravel()[at], regions.ravel()[at]))
    numbers = regions.ravel()[at[order]]
    centres = at[order][np.flatnonzero(np.diff(numbers, append=-1))]  # the last pixel of each has the longest distance
    shown = np.zeros(objects.shape, dtype=bool)
    shown[inner] = True
    centres = centres[shown.ravel()[centres]]
    return objects.ravel()[centres], np.maximum(2 * distance.ravel()[centres] - 1, 1)


def count_regions(objects: np.ndarray) -> int:
    """Return the number of connected regions of one number (four neighbours); (H, W) numbers, 0 for no object."""
    return int(_connected(objects).max(initial=0))


def sample_windows(height: int, width: int, scenes: int) -> Iterator[tuple[Window, tuple[slice, slice]]]:
    """Yield windows in which the regions of a scene are measured, with the inner part of each.

    Windows are spread evenly over the scene; small scenes are covered by one.

    Args:
        height: Rows of the scene.
        width: Columns of the scene.
        scenes: Number of scenes that share the sample.
    """
    across = max(1, round((_WINDOWS / scenes) ** 0.5))
    for top in _starts(height, across):
        for left in _starts(width, across):
            rows, columns = min(_SIDE, height - top), min(_SIDE, width - left)
            inner = (
                slice(_MARGIN if top else 0, rows - (_MARGIN if top + rows < height else 0)),
                slice(_MARGIN if left else 0, columns - (_MARGIN if left + columns < width else 0)),
            )
            yield Window(left, top, columns, rows), inner


def _starts(length: int, most: int) -> list[int]:
    """Return where windows along a side start; a single one lies in the middle."""
    room = max(0, length - _SIDE)
    count = min(most, -(-length // _SIDE))
    return [room // 2] if count == 1 else [round(at) for at in np.linspace(0, room, count)]


def _connected(objects: np.ndarray) -> np.ndarray:
    """Return the number of the connected region at each pixel, 0 for none."""
    height, width = objects.shape
    grid = np.zeros((2 * height - 1, 2 * width - 1), dtype=bool)  # pixels, and the links between equal neighbours
    grid[::2, ::2] = objects > 0
    grid[::2, 1::2] = (objects[:, :-1] == objects[:, 1:]) & (objects[:, 1:] > 0)
    grid[1::2, ::2] = (objects[:-1] == objects[1:]) & (objects[1:] > 0)
    regions, _ = ndimage.label(grid)
    return np.asarray(regions[::2, ::2])
