"""Areas and perimeters on the ellipsoid for rasters in longitude and latitude.

The area of an ellipsoid between two meridians, from the equator to a latitude, has a closed form (Snyder 1987, equation
3-12, times half the square of an axis). By Green's theorem, the area of a polygon is a sum over its edges: exact for
edges along parallels and meridians, such as those of pixels, of any size; other edges are straight in longitude and
latitude.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from numba import njit

if TYPE_CHECKING:
    from pyproj import Geod

    from satseg.vectorization.regions import Regions

_PART = 0.1  # radians; longer edges are integrated in parts
GAUSS = 0.6**0.5
"""Position of the outer two of three Gauss points, in -1..1."""


class Graticule:
    """Measures polygons of a raster in longitude and latitude.

    Args:
        to_radians: Pixel (column, row) to longitude and latitude in radians.
        geod: Ellipsoid.
    """

    def __init__(self, to_radians: Affine, geod: Geod) -> None:
        t = to_radians
        self._transform = np.array([t.c, t.a, t.b, t.f, t.d, t.e])
        self._sign = np.sign(t.determinant)  # outer rings run clockwise as the raster is seen
        self._ellipsoid = np.array([geod.a, geod.es])

    def measure(self, regions: Regions) -> tuple[np.ndarray, np.ndarray]:
        """Return (F,) square metres and (F,) metres; perimeters include holes."""
        first = regions.features[:-1]
        areas, lengths = _measure(regions.corners, regions.rings, regions.polygons, self._transform, self._ellipsoid)
        return np.add.reduceat(self._sign * areas, first), np.add.reduceat(lengths, first)


@njit(cache=True, nogil=True)
def _measure(
    corners: np.ndarray, rings: np.ndarray, polygons: np.ndarray, t: np.ndarray, ellipsoid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    a, es = ellipsoid[0], ellipsoid[1]
    areas, lengths = np.zeros(len(polygons) - 1), np.zeros(len(polygons) - 1)
    for polygon in range(len(polygons) - 1):
        begin = rings[polygons[polygon]]
        origin = area_per_radian(_latitude(corners[begin, 0], corners[begin, 1], t), a, es)
        for ring in range(polygons[polygon], polygons[polygon + 1]):
            for i in range(rings[ring], rings[ring + 1] - 1):
                low = _latitude(corners[i, 0], corners[i, 1], t)
                high = _latitude(corners[i + 1, 0], corners[i + 1, 1], t)
                columns, rows = corners[i + 1, 0] - corners[i, 0], corners[i + 1, 1] - corners[i, 1]
                wide = columns * t[1] + rows * t[2]
                parts = 1 if low == high else max(1, int(np.ceil(abs(high - low) / _PART)))
                for part in range(parts):
                    middle, half = low + (high - low) * (part + 0.5) / parts, (high - low) / parts / 2
                    areas[polygon] -= wide / parts * (_mean_area(middle, half, a, es) - origin)
                    lengths[polygon] += _length(middle, half, wide / parts, a, es)
    return areas, lengths


@njit(cache=True, nogil=True)
def _latitude(column: float, row: float, t: np.ndarray) -> float:
    """Return radians, clipped at the poles, which grids referenced by cell centres extend beyond."""
    return min(max(t[3] + column * t[4] + row * t[5], -np.pi / 2), np.pi / 2)


@njit(cache=True, nogil=True)
def area_per_radian(latitude: float, a: float, es: float) -> float:
    """Return the area between the equator and a latitude per radian of longitude, in the square of the axis' unit.

    Args:
        latitude: Radians.
        a: Equatorial axis.
        es: Square of the eccentricity.
    """
    sine = np.sin(latitude)
    if es == 0:
        return a * a * sine
    e = np.sqrt(es)
    return a * a * (1 - es) / 2 * (sine / (1 - es * sine * sine) + np.arctanh(e * sine) / e)


@njit(cache=True, nogil=True)
def areas_per_radian(latitudes: np.ndarray, a: float, es: float) -> np.ndarray:
    """Return the same for many latitudes, (N,) radians."""
    found = np.empty(len(latitudes))
    for i in range(len(latitudes)):
        found[i] = area_per_radian(latitudes[i], a, es)
    return found


@njit(cache=True, nogil=True)
def _mean_area(middle: float, half: float, a: float, es: float) -> float:
    if half == 0:
        return area_per_radian(middle, a, es)
    ends = area_per_radian(middle - GAUSS * half, a, es) + area_per_radian(middle + GAUSS * half, a, es)
    return (5 * ends + 8 * area_per_radian(middle, a, es)) / 18


@njit(cache=True, nogil=True)
def _length(middle: float, half: float, wide: float, a: float, es: float) -> float:
    if half == 0:
        return _speed(middle, 0.0, wide, a, es)
    ends = _speed(middle - GAUSS * half, 2 * half, wide, a, es) + _speed(middle + GAUSS * half, 2 * half, wide, a, es)
    return (5 * ends + 8 * _speed(middle, 2 * half, wide, a, es)) / 18


@njit(cache=True, nogil=True)
def _speed(latitude: float, high: float, wide: float, a: float, es: float) -> float:
    """Return metres along a step of so many radians, by the radii of curvature at a latitude."""
    square = 1 - es * np.sin(latitude) ** 2
    across, along = a / np.sqrt(square), a * (1 - es) / square**1.5
    return np.hypot(across * np.cos(latitude) * wide, along * high)
