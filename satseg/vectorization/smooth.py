"""Round the corners of boundaries so that neighbours match exactly.

A corner is replaced by a quadratic Bezier curve with the corner as its control point, between two points on the edges
beside it (its feet), at most half an edge and a given length away. So a staircase of single pixels becomes the
quadratic B-spline of Chaikin's corner cutting (1974), and long straight edges are unchanged. Junctions are kept. Each
curve depends on three vertices alone and is the same, to the bit, from both sides.

Pixel outlines need no further check: with feet half a pixel away, the area cut off lies inside one pixel. Corners of
simplified outlines are checked during simplification.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit

from satseg.vectorization.planar import ROUND
from satseg.vectorization.regions import Regions


def smooth(regions: Regions, scale: np.ndarray) -> Regions:
    """Round the corners with the flag ROUND.

    Args:
        regions: Features with the flag ROUND in the columns of their vertices.
        scale: (2,) float64 inverse of the length by which a corner may be rounded, per column and row.

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
    """Append a point unless it equals the last one: feet of two corners may meet in the middle of an edge."""
    if count > begin and out[count - 1, 0] == x and out[count - 1, 1] == y:
        return count
    out[count, 0], out[count, 1] = x, y
    return count + 1
