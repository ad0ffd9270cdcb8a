"""The straight sides of outlines, which run along and across a main direction by turns.

A ring is simplified, and its edges are classified as along or across. Consecutive edges of one kind become one side, at
the mean place of the outline that it stands for; sides that are too short are removed, the shortest first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from satseg.vectorization.thin import thinned

NONE = -1

_THINNED = 0.5  # tolerance of simplification before edges are classified, as a share of the shortest side


class Sides(NamedTuple):
    """Sides of rings.

    Args:
        numbers: (V,) int64 side of the edge after each vertex, NONE in rings with fewer than four sides.
        normals: (S, 2) float64 unit vectors across the sides.
        offsets: (S,) float64 places of the sides, along their normals.
    """

    numbers: np.ndarray
    normals: np.ndarray
    offsets: np.ndarray


def sides_of(points: np.ndarray, rings: np.ndarray, angles: np.ndarray) -> Sides:
    """Divide rings into sides.

    Args:
        points: (V, 2) float64 vertices of open rings, in units of the shortest side.
        rings: (R + 1,) int64 first vertex of each ring, and the end.
        angles: (R,) float64 main direction of each ring in radians.
    """
    return Sides(*_sides(points, rings, angles))


@njit(cache=True, nogil=True)
def _sides(points: np.ndarray, rings: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    numbers = np.full(len(points), NONE)
    normals, offsets = np.empty((len(points), 2)), np.empty(len(points))
    total = 0
    for ring in range(len(rings) - 1):
        first, count = rings[ring], rings[ring + 1] - rings[ring]
        cosine, sine = np.cos(angles[ring]), np.sin(angles[ring])
        turned = points[first : first + count] @ np.array([[cosine, -sine], [sine, cosine]])
        cuts, along = _alternating(turned)
        if len(cuts) < 4:
            continue
        sums = _sums(turned)
        cuts, along = _without_short(cuts, along, sums)
        cuts = _at_corners(turned, cuts, along, sums)
        offsets[total : total + len(cuts)] = _places(cuts, along, sums)
        for i in range(len(cuts)):
            for k in range(cuts[i], _end(cuts, i, count)):
                numbers[first + k % count] = total
            normals[total, 0], normals[total, 1] = (-sine, cosine) if along[i] else (cosine, sine)
            total += 1
    return numbers, normals[:total].copy(), offsets[:total].copy()


@njit(cache=True, nogil=True)
def _alternating(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the vertices (K,) int64 at which the sides of a ring begin, and whether each runs along (K,) bool."""
    kept = thinned(points, _THINNED)
    along = np.empty(len(kept), dtype=np.bool_)
    for k in range(len(kept)):
        step = points[kept[(k + 1) % len(kept)]] - points[kept[k]]
        along[k] = abs(step[0]) >= abs(step[1])
    begins = along != np.roll(along, 1)
    return kept[begins], along[begins]


@njit(cache=True, nogil=True)
def _end(cuts: np.ndarray, i: int, count: int) -> int:
    """Return the vertex at which a side ends; behind the last one the ring begins again."""
    return cuts[i + 1] if i + 1 < len(cuts) else cuts[0] + count


@njit(cache=True, nogil=True)
def _sums(points: np.ndarray) -> np.ndarray:
    """Return (2 N + 1, 2, 2) running sums over the edges of a ring that is walked twice.

    The second axis is for sides across and along, the last one for length in their direction, and length times place.
    """
    count = len(points)
    sums = np.zeros((2 * count + 1, 2, 2))
    for i in range(2 * count):
        one, other = points[i % count], points[(i + 1) % count]
        for along in range(2):
            length = abs(other[1 - along] - one[1 - along])
            sums[i + 1, along, 0] = sums[i, along, 0] + length
            sums[i + 1, along, 1] = sums[i, along, 1] + length * (one[along] + other[along]) / 2
    return sums


@njit(cache=True, nogil=True)
def _place(sums: np.ndarray, first: int, end: int, along: bool) -> float:
    """Return the mean place of the outline between two vertices, across the side."""
    length, moment = sums[end, int(along)] - sums[first, int(along)]
    return moment / max(length, 1e-12)


@njit(cache=True, nogil=True)
def _places(cuts: np.ndarray, along: np.ndarray, sums: np.ndarray) -> np.ndarray:
    places = np.empty(len(cuts))
    for i in range(len(cuts)):
        places[i] = _place(sums, cuts[i], _end(cuts, i, len(sums) // 2), along[i])
    return places


@njit(cache=True, nogil=True)
def _without_short(cuts: np.ndarray, along: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Remove sides shorter than 1, the shortest first: each becomes one with the two beside it."""
    places = _places(cuts, along, sums)
    while len(cuts) > 4:
        lengths = np.abs(np.roll(places, -1) - np.roll(places, 1))
        i = int(np.argmin(lengths))
        if lengths[i] >= 1.0:
            break
        left = np.ones(len(cuts), dtype=np.bool_)
        left[i] = left[(i + 1) % len(cuts)] = False
        at = i - 1 if 0 < i < len(cuts) - 1 else len(cuts) - 3
        cuts, along, places = cuts[left], along[left], places[left]
        places[at] = _place(sums, cuts[at], _end(cuts, at, len(sums) // 2), along[at])
    return cuts, along


@njit(cache=True, nogil=True)
def _at_corners(points: np.ndarray, cuts: np.ndarray, along: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Let sides begin at the vertices nearest to the corners that they make."""
    places, count = _places(cuts, along, sums), len(points)
    moved = cuts.copy()
    for i in range(len(cuts)):
        before = cuts[i - 1] if i > 0 else cuts[-1] - count
        low, high = max((before + cuts[i]) // 2 + 1, 0), (cuts[i] + _end(cuts, i, count)) // 2
        x, y = (places[i - 1], places[i]) if along[i] else (places[i], places[i - 1])
        least = np.inf
        for k in range(low, high + 1):
            square = (points[k % count, 0] - x) ** 2 + (points[k % count, 1] - y) ** 2
            if square < least:
                moved[i], least = k, square
    return moved
