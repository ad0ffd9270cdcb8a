"""Densify edges that are curved in another CRS, with the same vertices in both polygons beside an edge."""

from __future__ import annotations

import numpy as np
from numba import njit

BEND = 0.01
"""Pixels by which an edge may deviate from its true curve in another CRS."""

AT_POLE = 1e-6
"""Distance from a pole, in pixels, within which an edge passes through it."""

_EARTH_RADIUS = 6.4e6  # m

_NEAR_POLE = 0.1  # Earth radii from a pole within which parallels are more curved than meridians elsewhere
_LEAST = 0.1  # pixels; shorter parts are never needed


class Densifier:
    """Splits edges into parts that deviate by less than ``BEND`` pixels between two CRSs.

    An edge of length L deviates by about L**2 / (8 R), since parallels and meridians have a curvature of 1 / R; near a
    pole, parallels are circles with the distance from it as their radius.

    Args:
        pixel: Side of a pixel in units of the CRS of the edges.
        metres: The same in metres on the ground.
        poles: (K, 2) positions of poles in that CRS, as far as each is a single point.
    """

    def __init__(self, *, pixel: float, metres: float, poles: np.ndarray) -> None:
        self._pixel = pixel
        self._longest = pixel * max(1.0, (8 * BEND * _EARTH_RADIUS / metres) ** 0.5)
        self._reach = _NEAR_POLE * _EARTH_RADIUS * pixel / metres
        self._poles = poles

    def cut(self, points: np.ndarray, rings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return densified (V, 2) points and (R + 1,) offsets of rings, with vertices at poles on an edge."""
        poles = self._near(points)
        for pole in poles:
            points, rings = _split_at(points, rings, pole, AT_POLE * self._pixel)
        return _cut(points, rings, poles, np.array([self._longest, self._reach, self._pixel]))

    def _near(self, points: np.ndarray) -> np.ndarray:
        if not len(self._poles) or not len(points):
            return np.empty((0, 2))
        low, high = points.min(axis=0) - self._reach, points.max(axis=0) + self._reach
        return self._poles[((self._poles >= low) & (self._poles <= high)).all(axis=1)]


def _split_at(
    points: np.ndarray, rings: np.ndarray, place: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Insert a vertex into the edges that pass through a point."""
    begin, step = points[:-1], np.diff(points, axis=0)
    length = np.hypot(step[:, 0], step[:, 1])
    length[rings[1:-1] - 1] = 0  # from the last vertex of a ring to the first of the next one
    to = place - begin
    with np.errstate(divide="ignore", invalid="ignore"):
        along = (to * step).sum(axis=1) / length
        beside = np.abs(step[:, 0] * to[:, 1] - step[:, 1] * to[:, 0]) / length
    through = np.flatnonzero((along > tolerance) & (along < length - tolerance) & (beside <= tolerance))
    return np.insert(points, through + 1, place, axis=0), rings + np.searchsorted(through + 1, rings, side="left")


@njit(cache=True, nogil=True)
def _cut(points: np.ndarray, rings: np.ndarray, poles: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split edges that are too long into equal parts, counted from the end with the lower coordinates."""
    extra = 0
    for ring in range(len(rings) - 1):
        for i in range(rings[ring], rings[ring + 1] - 1):
            extra += _parts(points, i, poles, limits) - 1
    if extra == 0:
        return points, rings
    out, ends = np.empty((len(points) + extra, 2)), np.zeros_like(rings)
    count = 0
    for ring in range(len(rings) - 1):
        for i in range(rings[ring], rings[ring + 1]):
            out[count] = points[i]
            count += 1
            parts = _parts(points, i, poles, limits) if i + 1 < rings[ring + 1] else 1
            low, high = i, i + 1
            forward = parts == 1 or (points[low, 0], points[low, 1]) < (points[high, 0], points[high, 1])
            if not forward:
                low, high = high, low
            for part in range(1, parts):
                share = (part if forward else parts - part) / parts
                out[count] = points[low] + share * (points[high] - points[low])
                count += 1
        ends[ring + 1] = count
    return out, ends


@njit(cache=True, nogil=True)
def _parts(points: np.ndarray, i: int, poles: np.ndarray, limits: np.ndarray) -> int:
    longest, reach, pixel = limits[0], limits[1], limits[2]
    for k in range(len(poles)):
        distance = _distance(points, i, poles[k, 0], poles[k, 1])
        if 1e-3 * pixel < distance < reach:  # else it is a meridian, or far away
            longest = min(longest, max((8 * BEND * pixel * distance) ** 0.5, _LEAST * pixel))
    length = np.hypot(points[i + 1, 0] - points[i, 0], points[i + 1, 1] - points[i, 1])
    return max(1, int(np.ceil(length / longest)))


@njit(cache=True, nogil=True)
def _distance(points: np.ndarray, i: int, x: float, y: float) -> float:
    """Return the distance of a point from an edge; the same, to the bit, in both directions of the edge."""
    low, high = i, i + 1
    if (points[low, 0], points[low, 1]) > (points[high, 0], points[high, 1]):
        low, high = high, low
    dx, dy = points[high, 0] - points[low, 0], points[high, 1] - points[low, 1]
    square = dx * dx + dy * dy
    along = ((x - points[low, 0]) * dx + (y - points[low, 1]) * dy) / square if square > 0 else 0.0
    along = min(max(along, 0.0), 1.0)
    return np.hypot(points[low, 0] + along * dx - x, points[low, 1] + along * dy - y)
