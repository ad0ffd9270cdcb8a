"""Thin out rings and arcs by the algorithm of Douglas and Peucker (1973), each on its own.

Unlike :mod:`satseg.vectorization.simplify`, this works on outlines that are complete, and does not look at others.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from satseg.vectorization.arcs import Arcs


def thinned_arcs(arcs: Arcs, tolerance: float) -> np.ndarray:
    """Return (V,) bool, whether each vertex is kept; read where arcs are owned, and not at their ends."""
    return _thinned_arcs(arcs.points, arcs.rings, arcs.junctions, arcs.pieces, arcs.owned, tolerance)


@njit(cache=True, nogil=True)
def _thinned_arcs(
    points: np.ndarray,
    rings: np.ndarray,
    junctions: np.ndarray,
    pieces: np.ndarray,
    owned: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    kept = np.zeros(len(points), dtype=np.bool_)
    for piece in owned:
        first, end = pieces[piece], pieces[piece + 1]
        ring = np.searchsorted(rings, first, side="right") - 1
        own = slice(rings[ring], rings[ring + 1])
        if junctions[first]:
            _thin(points[own], first - rings[ring], end - rings[ring], tolerance, kept[own])
        else:
            kept[rings[ring] + thinned(points[own], tolerance)] = True
    return kept


@njit(cache=True, nogil=True)
def thinned(points: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the vertices (K,) int64 of an open ring (N, 2) that are kept, at least its two ends far apart."""
    count = len(points)
    begin = _farthest(points, points[:, 0].mean(), points[:, 1].mean())
    middle = _farthest(points, points[begin, 0], points[begin, 1])
    kept = np.zeros(count, dtype=np.bool_)
    kept[begin] = kept[middle] = True
    _thin(points, begin, middle if middle > begin else middle + count, tolerance, kept)
    _thin(points, middle, begin if begin > middle else begin + count, tolerance, kept)
    return np.flatnonzero(kept)


@njit(cache=True, nogil=True)
def _farthest(points: np.ndarray, x: float, y: float) -> int:
    return int(np.argmax((points[:, 0] - x) ** 2 + (points[:, 1] - y) ** 2))


@njit(cache=True, nogil=True)
def _thin(points: np.ndarray, first: int, last: int, tolerance: float, kept: np.ndarray) -> None:
    """Mark the vertices between two of a ring that are kept; numbers beyond its end go on at its beginning."""
    count = len(points)
    todo = [(first, last)]
    while len(todo):
        first, last = todo.pop()
        x, y = points[first % count]
        dx, dy = points[last % count, 0] - x, points[last % count, 1] - y
        length = dx * dx + dy * dy
        middle, largest = first, tolerance * tolerance
        for i in range(first + 1, last):
            px, py = points[i % count, 0] - x, points[i % count, 1] - y
            along = min(max((px * dx + py * dy) / length, 0.0), 1.0) if length > 0 else 0.0
            square = (px - along * dx) ** 2 + (py - along * dy) ** 2
            if square > largest:
                middle, largest = i, square
        if middle > first:
            kept[middle % count] = True
            todo.append((first, middle))
            todo.append((middle, last))
