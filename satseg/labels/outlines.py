"""Pixels near the outlines of objects, given arrays of object numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

UNKNOWN = -1
"""Object number of unlabelled pixels, which have no outline."""


def near_outline(objects: np.ndarray, radius: float) -> np.ndarray:
    """Mark the pixels from which another object, or no object, is at most ``radius`` away.

    Args:
        objects: (row, col) object numbers, 0 for none, -1 for unlabelled.
        radius: Pixels between centres; 1 marks both pixels at every edge.

    Returns:
        (row, col) bool.
    """
    near = np.zeros(objects.shape, dtype=bool)
    for one, other in _pairs(objects.shape, radius):
        differ = (objects[one] != objects[other]) & (objects[one] != UNKNOWN) & (objects[other] != UNKNOWN)
        near[one] |= differ
        near[other] |= differ
    return near


def between_objects(objects: np.ndarray, radius: float) -> np.ndarray:
    """Mark the pixels without an object from which two different ones are at most ``radius`` away.

    Args:
        objects: (row, col) object numbers, 0 for none, -1 for unlabelled.
        radius: Pixels between centres.

    Returns:
        (row, col) bool.
    """
    highest = np.where(objects > 0, objects, 0)
    lowest = np.where(objects > 0, objects, np.iinfo(objects.dtype).max)
    own_highest, own_lowest = highest.copy(), lowest.copy()
    for one, other in _pairs(objects.shape, radius):
        for to, source in ((one, other), (other, one)):
            np.maximum(highest[to], own_highest[source], out=highest[to])
            np.minimum(lowest[to], own_lowest[source], out=lowest[to])
    return (objects == 0) & (highest > 0) & (highest != lowest)


def _pairs(shape: tuple[int, ...], radius: float) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Yield pairs of overlapping parts of an array and its shifts within a disc, each pair once."""
    reach = int(radius)
    rows, columns = shape
    for down in range(min(reach, rows - 1) + 1):
        for right in range(-min(reach, columns - 1), min(reach, columns - 1) + 1):
            if down**2 + right**2 > radius**2 or (down == 0 and right <= 0):
                continue
            one = (slice(0, rows - down), slice(max(0, -right), columns - max(0, right)))
            other = (slice(down, rows), slice(max(0, right), columns - max(0, -right)))
            yield one, other
