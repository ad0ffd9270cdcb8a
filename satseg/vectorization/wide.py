"""Areas and perimeters on the ellipsoid for polygons too large to approximate the scale of their CRS by a polynomial.

Their edges are transformed to longitude and latitude in parts, each a parabola through its ends and its middle, and the
area of the ellipsoid up to a latitude (see :mod:`~satseg.vectorization.graticule`) is integrated along them by Green's
theorem. Only differences of longitudes matter, so the antimeridian needs no special case; around a pole, areas are
measured from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from satseg.geo.crs import METRES_PER_DEGREE
from satseg.vectorization.graticule import areas_per_radian

if TYPE_CHECKING:
    from affine import Affine
    from pyproj import Geod, Transformer

    from satseg.vectorization.regions import Regions

_LONGEST, _SHORTEST = 50e3, 500.0  # m
_OF_POLE = 0.1  # longest part as share of its distance from a pole
_AT_POLE = 2e3  # m; closer to a pole, longitudes are meaningless


class WideMeasures:
    """Measures single polygons.

    Args:
        transform: Pixel (column, row) to CRS coordinates (x, y).
        to_degrees: These to longitude and latitude.
        geod: Ellipsoid.
        metres: Approximate metres per column and row.
    """

    def __init__(self, transform: Affine, to_degrees: Transformer, geod: Geod, metres: np.ndarray) -> None:
        self._transform = transform
        self._to_degrees = to_degrees
        self._geod = geod
        self._metres = metres

    def measure(self, regions: Regions, polygon: int) -> tuple[float, float]:
        """Return square metres and metres of one polygon; NaN if the CRS is not defined there."""
        rings = [
            regions.corners[regions.rings[i] : regions.rings[i + 1]].astype(np.float64)
            for i in range(regions.polygons[polygon], regions.polygons[polygon + 1])
        ]
        begin, step = np.concatenate([ring[:-1] for ring in rings]), np.concatenate([np.diff(r, axis=0) for r in rings])
        owner = np.repeat(np.arange(len(rings)), [len(ring) - 1 for ring in rings])
        parts = self._parts(begin, step)
        at = (np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)) / np.repeat(parts, parts)
        begin, step = np.repeat(begin, parts, axis=0), np.repeat(step / parts[:, None], parts, axis=0)
        begin = begin + step * (at * np.repeat(parts, parts))[:, None]
        return self._sum(begin, step, np.repeat(owner, parts))

    def _sum(self, begin: np.ndarray, step: np.ndarray, owner: np.ndarray) -> tuple[float, float]:
        places = [self._degrees(begin + share * step) for share in (0.0, 0.5, 1.0)]
        if not np.isfinite(places).all():
            return np.nan, np.nan
        (west, low), (middle, centre), (east, high) = places
        half, whole = _turned(middle - west), _turned(middle - west) + _turned(east - middle)
        heights = [self._area_to(latitude) for latitude in (low, centre, high)]
        sign = np.sign(self._transform.determinant)
        origin = self._origin(np.concatenate([low, centre]), float(whole[owner == 0].sum()) * sign, heights[0][0])
        speeds = np.radians(4 * half - whole), np.radians(whole), np.radians(3 * whole - 4 * half)
        weights = (1, 4, 1)
        area = -sum(
            weight * ((height - origin) * speed).sum()
            for weight, height, speed in zip(weights, heights, speeds, strict=True)
        )
        lengths = self._geod.inv(west, low, middle, centre)[2], self._geod.inv(middle, centre, east, high)[2]
        return float(sign * area / 6), float(np.sum(lengths))

    def _origin(self, latitudes: np.ndarray, around: float, first: float) -> float:
        """Return the area per radian from which areas are measured: that of a pole inside or on the outline."""
        pole = np.sign(around) if abs(around) > 180 else 0.0
        nearest = latitudes[np.argmax(np.abs(latitudes))]
        if (90 - abs(nearest)) * METRES_PER_DEGREE < _AT_POLE:
            pole = np.sign(nearest)
        return float(self._area_to(np.array([90.0 * pole]))[0]) if pole else first

    def _parts(self, begin: np.ndarray, step: np.ndarray) -> np.ndarray:
        lengths = np.hypot(*(step * self._metres).T)
        if lengths.max() <= _SHORTEST:
            return np.ones(len(step), dtype=np.int64)
        _, ends = self._degrees(np.concatenate([begin, begin + step]))
        distances = ((90 - np.abs(ends)) * METRES_PER_DEGREE).reshape(2, -1).min(axis=0) - lengths / 2
        longest = np.clip(_OF_POLE * np.nan_to_num(distances, posinf=np.inf), _SHORTEST, _LONGEST)
        return np.maximum(np.ceil(lengths / longest), 1).astype(np.int64)

    def _degrees(self, corners: np.ndarray) -> np.ndarray:
        """Return (2, V) longitudes and latitudes."""
        x, y = self._transform * tuple(corners.T)
        return np.stack(self._to_degrees.transform(x, y))

    def _area_to(self, latitudes: np.ndarray) -> np.ndarray:
        return areas_per_radian(np.radians(latitudes), self._geod.a, self._geod.es)


def _turned(degrees: np.ndarray) -> np.ndarray:
    """Return differences of longitudes, wrapped to -180..180."""
    return (degrees + 180) % 360 - 180
