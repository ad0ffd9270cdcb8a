"""Markers of objects: the maxima of a height map whose dynamics reach a depth (h-maxima).

The dynamics of a maximum is how far one has to step down from it to reach a higher place (Grimaud, "A new measure of
contrast: the dynamics", SPIE 1769, 1992). Places are ordered by height and, where heights are equal, by reading order,
earlier ones being higher. A pixel is a marker if no higher place can be reached from it, by way of the four neighbours
within its group, over pixels that are all less than ``depth`` below it. Hence

- a flat top has one marker, its first pixel;
- every connected part of a group has at least one marker, however low it is;
- markers depend on nothing outside of their connected part.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from satseg.objects.grid import STEPS, root_of

_UNSEEN = -1
_LEVELS = 2**16


def find_markers(height: np.ndarray, groups: np.ndarray, depth: int) -> np.ndarray:
    """Find the markers of all groups.

    Args:
        height: (H, W) uint16.
        groups: (H, W) uint8; objects lie within connected pixels of one group, and 0 has none.
        depth: Least dynamics of a marker, 1 or more.

    Returns:
        (N,) int64 positions of the markers, ``row * W + column``, ascending.
    """
    flat = height.ravel(), groups.ravel()
    order = _from_the_top(*flat)
    return np.sort(order[_stand_out(order, *flat, groups.shape[1], depth)]).astype(np.int64)


@njit(cache=True, nogil=True)
def _from_the_top(height: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the positions of the pixels of all groups, the highest first, equal ones in reading order."""
    starts = np.zeros(_LEVELS + 1, dtype=np.int64)
    for at in range(groups.size):
        if groups[at]:
            starts[_LEVELS - np.int64(height[at])] += 1
    starts = np.cumsum(starts)
    order = np.empty(starts[-1], dtype=np.int32)
    for at in range(groups.size):
        if groups[at]:
            level = _LEVELS - 1 - np.int64(height[at])
            order[starts[level]] = at
            starts[level] += 1
    return order


@njit(cache=True, nogil=True)
def _stand_out(order: np.ndarray, height: np.ndarray, groups: np.ndarray, width: int, depth: int) -> np.ndarray:
    """Tell which pixels are markers: (N,) bool, in the given order.

    Pixels rise from the water one by one. The root of an island is its highest pixel. Where two islands join, the lower
    one of their peaks is a marker if it is high enough above the pixel that joins them.
    """
    parent = np.full(groups.size, _UNSEEN, dtype=np.int32)
    rank = np.empty(groups.size, dtype=np.int32)
    stands = np.ones(order.size, dtype=np.bool_)
    for number in range(order.size):
        at = order[number]
        parent[at], rank[at] = at, number
        column = at % width
        for step, side in STEPS:
            near = at + step * width + side
            if not (0 <= near < groups.size and 0 <= column + side < width):
                continue
            if groups[near] != groups[at] or parent[near] == _UNSEEN:
                continue
            high, low = root_of(parent, at), root_of(parent, near)
            if high == low:
                continue
            if rank[high] > rank[low]:
                high, low = low, high
            parent[low] = high
            stands[rank[low]] = np.int64(height[low]) - np.int64(height[at]) >= depth
    return stands
