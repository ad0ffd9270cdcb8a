"""Round the corners of boundaries, so that neighbours keep fitting exactly.

A corner is replaced by a curve (a quadratic Bezier curve whose control point is the corner) between two points on the
edges beside it, its feet, at most half an edge and a given length away. So a staircase of single pixels becomes the
quadratic B-spline that Chaikin's corner cutting (1974) leads to, and long straight edges stay where they are. Junctions
stay. Each curve depends on three vertices alone and comes out the same, to the bit, from either side.

Pixel outlines need no further check: with feet half a pixel away, what is cut off lies inside one pixel. Corners of
simplified outlines are checked when they are simplified.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit

from satseg.vectorization.planar import ROUND
from satseg.vectorization.regions import Regions


def smooth(regions: Regions, scale: np.ndarray) -> Regions:
    """Round the corners that are marked to be.

    Args:
        regions: Features with the flag ROUND in the columns of their vertices.
        scale: (2,) float64 pixels in the length by which a corner may be rounded, per column and row.

    Returns:
        The same features with float64 corners and without flags.
    """
    corners, rings = _smooth(regions.corners, regions.rings, scale[0], scale[1])
    return replace(regions, corners=corners, rings=rings)


@njit(cache=True, nogil=True)
def foot(x: float, y: float, to_x: float, to_y: float, scale_x: float, scale_y: float) -> tuple[float, float]:
    """Return the point on an edge, seen from one end, where a rounded corner begins."""
    length = np.hypot((to_x - x) * scale_x, (to_y - y) * scale_y)
    share = min(0.5, 1.0 / length)
    return x + (to_x - x) * share, y + (to_y - y) * share


@njit(cache=True, nogil=True)
def _smooth(corners: np.ndarray, rings: np.ndarray, scale_x: float, scale_y: float) -> tuple[np.ndarray, np.ndarray]:
    out, ends = np.empty((3 * len(corners), 2)), np.zeros_like(rings)
    count = 0
    for ring in range(len(rings) - 1):
        first, last = rings[ring], rings[ring + 1] - 1  # the last vertex is the first one again
        begin = count
        for i in range(first, last):
            x, y = corners[i, 0] & ~ROUND, corners[i, 1]
            if corners[i, 0] & ROUND == 0:
                count = _put(out, begin, count, x, y)
                continue
            before, after = (last - 1 if i == first else i - 1), i + 1
            ax, ay = foot(x, y, corners[before, 0] & ~ROUND, corners[before, 1], scale_x, scale_y)
            bx, by = foot(x, y, corners[after, 0] & ~ROUND, corners[after, 1], scale_x, scale_y)
            count = _put(out, begin, count, ax, ay)
            count = _put(out, begin, count, (ax + bx) / 4 + x / 2, (ay + by) / 4 + y / 2)
            count = _put(out, begin, count, bx, by)
        if out[count - 1, 0] != out[begin, 0] or out[count - 1, 1] != out[begin, 1]:
            out[count] = out[begin]
            count += 1
        ends[ring + 1] = count
    return out[:count].copy(), ends


@njit(cache=True, nogil=True)
def _put(out: np.ndarray, begin: int, count: int, x: float, y: float) -> int:
    """Append a point unless the ring has just got there; feet of two corners may meet in the middle of an edge."""
    if count > begin and out[count - 1, 0] == x and out[count - 1, 1] == y:
        return count
    out[count, 0], out[count, 1] = x, y
    return count + 1
