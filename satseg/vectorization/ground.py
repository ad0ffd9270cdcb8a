"""Areas and perimeters on the ellipsoid for polygons in pixels.

The ground scale of a raster (metres per pixel in each direction) varies smoothly, so it is measured on a grid of points
in geocentric coordinates, which have no singularities at poles or the antimeridian, and interpolated by cubics. Within
each polygon it is a polynomial through 3 x 3 points of the bounding box; areas are integrated along edges by Green's
theorem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from numba import njit
from pyproj import Geod, Transformer
from pyproj.exceptions import ProjError

from satseg.geo.crs import full_turn, geodesic, has_geodetic_axes, metres_per_unit, short_name
from satseg.vectorization.graticule import GAUSS, Graticule
from satseg.vectorization.wide import WideMeasures

if TYPE_CHECKING:
    from satseg.vectorization.regions import Regions

_NODES, _MOST_NODES = 65, 401
_SPACING = 100e3  # m between nodes at most, unless there would be too many
_WIDE = 250e3  # m; in larger polygons the scale of a CRS is not approximated by a polynomial
_STEP_M = 50.0  # of the central differences: large against rounding, small against the curvature of the ellipsoid
_FLAT = 1e-12  # pixels; half the side of a box at least


def measure(regions: Regions, transform: Affine, crs: str) -> tuple[np.ndarray, np.ndarray]:
    """Return areas and perimeters on the ellipsoid, (F,) square metres and (F,) metres.

    Edges are straight in the CRS of the raster: the area of a pixel of one degree is that between two parallels, not
    that between geodesics.

    Args:
        regions: Features of one or more polygons.
        transform: Pixel (column, row) to CRS coordinates (x, y).
        crs: Name or definition of the CRS.

    Raises:
        ValueError: The CRS has no geodetic datum, or is not defined at the regions.
    """
    if has_geodetic_axes(crs):
        _, geod = geodesic(crs)
        return Graticule(Affine.scale(2 * np.pi / full_turn(crs)) * transform, geod).measure(regions)
    low = regions.corners.min(axis=0)
    high = np.maximum(regions.corners.max(axis=0), low + 1)
    return Ground(transform, crs, columns=(low[0], high[0]), rows=(low[1], high[1])).measure(regions)


class Ground:
    """Measures polygons of a part of a raster.

    Args:
        transform: Pixel (column, row) to CRS coordinates (x, y).
        crs: Name or definition of a CRS with a geodetic datum.
        columns: First column and the end.
        rows: First row and the end.

    Raises:
        ValueError: The CRS has no geodetic datum, or is not defined in a part of the raster.
    """

    def __init__(self, transform: Affine, crs: str, *, columns: tuple[int, int], rows: tuple[int, int]) -> None:
        try:
            to_degrees, geod = geodesic(crs)
        except ProjError as error:
            raise ValueError(str(error)) from error
        self._metres = np.array(_sides(transform)) * metres_per_unit(crs)
        self._wide = WideMeasures(transform, to_degrees, geod, self._metres)
        across, down = (
            np.linspace(*ends, int(np.clip(np.ptp(ends) * metres / _SPACING, _NODES, _MOST_NODES)))
            for ends, metres in zip((columns, rows), self._metres, strict=True)
        )
        metric = _metric(transform, to_degrees, geod, *np.meshgrid(across, down, indexing="ij"))
        if not np.isfinite(metric).all():
            raise ValueError(f"{short_name(crs)} is not defined in a part of the raster")
        scale = np.sqrt(metric[0] * metric[2] - metric[1] ** 2)
        self._nodes = np.stack([scale, *metric])
        self._grid = np.array([across[0], down[0], across[1] - across[0], down[1] - down[0]])

    def measure(self, regions: Regions) -> tuple[np.ndarray, np.ndarray]:
        """Return (F,) square metres and (F,) metres on the ellipsoid.

        Edges are straight in the CRS of the raster; perimeters include holes.
        """
        areas, lengths = _measure(regions.corners, regions.rings, regions.polygons, self._nodes, self._grid)
        for polygon in self._wide_ones(regions):
            area, length = self._wide.measure(regions, polygon)
            if np.isfinite(area):
                areas[polygon], lengths[polygon] = area, length
        first = regions.features[:-1]
        return np.add.reduceat(areas, first), np.add.reduceat(lengths, first)

    def _wide_ones(self, regions: Regions) -> list[int]:
        """Return the numbers of the polygons that are too large for a polynomial."""
        starts = regions.rings[regions.polygons[:-1]]
        sizes = np.maximum.reduceat(regions.corners, starts) - np.minimum.reduceat(regions.corners, starts)
        return np.flatnonzero((sizes * self._metres > _WIDE).any(axis=1)).tolist()


def _sides(transform: Affine) -> tuple[float, float]:
    """Return the lengths of a pixel's sides in units of the CRS."""
    return float(np.hypot(transform.a, transform.d)), float(np.hypot(transform.b, transform.e))


def _metric(
    transform: Affine, to_degrees: Transformer, geod: Geod, columns: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Return E, F, G of the squared length E dx**2 + 2 F dx dy + G dy**2 of a step, NaN if the CRS is not defined.

    Steps are in columns and rows, lengths in metres; the first axis of the result is E, F, G.
    """
    middle = transform * (columns.mean(), rows.mean()), transform * (columns.mean() + 1, rows.mean())
    lon, lat = to_degrees.transform(*np.transpose(middle))
    metres = geod.inv(lon[0], lat[0], lon[1], lat[1])[2] if np.isfinite([*lon, *lat]).all() else np.nan
    step = _STEP_M / metres if metres > 0 else 1.0
    along = _position(transform, to_degrees, geod, columns + step, rows) - _position(
        transform, to_degrees, geod, columns - step, rows
    )
    down = _position(transform, to_degrees, geod, columns, rows + step) - _position(
        transform, to_degrees, geod, columns, rows - step
    )
    products = [(along * along).sum(-1), (along * down).sum(-1), (down * down).sum(-1)]
    return np.stack(products) / (2 * step) ** 2


def _position(
    transform: Affine, to_degrees: Transformer, geod: Geod, columns: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Return geocentric (x, y, z) in metres, on the last axis."""
    lon, lat = (np.radians(part) for part in to_degrees.transform(*(transform * (columns, rows))))
    with np.errstate(invalid="ignore"):
        normal = geod.a / np.sqrt(1 - geod.es * np.sin(lat) ** 2)
        return np.stack(
            [
                normal * np.cos(lat) * np.cos(lon),
                normal * np.cos(lat) * np.sin(lon),
                normal * (1 - geod.es) * np.sin(lat),
            ],
            axis=-1,
        )


@njit(cache=True, nogil=True)
def _measure(
    corners: np.ndarray, rings: np.ndarray, polygons: np.ndarray, nodes: np.ndarray, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    count = len(polygons) - 1
    areas, lengths = np.zeros(count), np.zeros(count)
    powers, box, weights = np.empty((4, 3, 3)), np.empty(4), np.empty((2, 3, 5))
    for polygon in range(count):
        first, end = rings[polygons[polygon]], rings[polygons[polygon] + 1]  # the outer ring holds the others
        _box(corners, first, end, box)
        _fit(nodes, grid, box, powers, weights)
        area, length = 0.0, 0.0
        per_column, per_row = 1 / max(box[2], _FLAT), 1 / max(box[3], _FLAT)
        for ring in range(polygons[polygon], polygons[polygon + 1]):
            for i in range(rings[ring], rings[ring + 1] - 1):
                dx, dy = corners[i + 1, 0] - corners[i, 0], corners[i + 1, 1] - corners[i, 1]
                half_du, half_dv = dx * per_column / 2, dy * per_row / 2
                u = (corners[i, 0] - box[0]) * per_column + half_du  # of its middle
                v = (corners[i, 1] - box[1]) * per_row + half_dv
                length += _length(powers, u, v, dx, dy)
                if dx == 0:
                    area += _column(powers, u, v, half_dv)
                elif dy != 0:
                    area += _strip(powers, u, v, half_du, half_dv)
        lengths[polygon], areas[polygon] = length, area * box[2] * box[3]
    return areas, lengths


@njit(cache=True, nogil=True)
def _box(corners: np.ndarray, first: int, end: int, box: np.ndarray) -> None:
    """Fill in the centre (column, row) and half the size of the bounding box of a ring."""
    for axis in range(2):
        low = high = corners[first, axis]
        for i in range(first, end):
            low, high = min(low, corners[i, axis]), max(high, corners[i, axis])
        box[axis], box[2 + axis] = (low + high) / 2, (high - low) / 2


@njit(cache=True, nogil=True)
def _fit(nodes: np.ndarray, grid: np.ndarray, box: np.ndarray, powers: np.ndarray, weights: np.ndarray) -> None:
    """Fill in the coefficients of u**i * v**j over a box, u and v in -1..1, for each quantity of the nodes."""
    for axis in range(2):
        for i in range(3):
            at = (box[axis] + (i - 1) * box[2 + axis] - grid[axis]) / grid[2 + axis]
            _weigh(at, nodes.shape[1 + axis], weights[axis, i])
    for k in range(4):
        for i in range(3):
            low, middle = _interpolate(nodes, k, weights, i, 0), _interpolate(nodes, k, weights, i, 1)
            high = _interpolate(nodes, k, weights, i, 2)
            powers[k, i, 0], powers[k, i, 1], powers[k, i, 2] = middle, (high - low) / 2, (low + high) / 2 - middle
        for j in range(3):
            low, middle, high = powers[k, 0, j], powers[k, 1, j], powers[k, 2, j]
            powers[k, 0, j], powers[k, 1, j], powers[k, 2, j] = middle, (high - low) / 2, (low + high) / 2 - middle


@njit(cache=True, nogil=True)
def _interpolate(nodes: np.ndarray, k: int, weights: np.ndarray, i: int, j: int) -> float:
    """Return quantity ``k`` at column ``i`` and row ``j`` of the 3 x 3 points of a box."""
    left, top, value = int(weights[0, i, 4]), int(weights[1, j, 4]), 0.0
    for a in range(4):
        along = 0.0
        for b in range(4):
            along += weights[1, j, b] * nodes[k, left + a, top + b]
        value += weights[0, i, a] * along
    return value


@njit(cache=True, nogil=True)
def _weigh(at: float, count: int, weights: np.ndarray) -> None:
    """Fill in Lagrange's weights of the cubic through four of ``count`` nodes around a point, and the first of them."""
    first = min(max(int(at) - 1, 0), count - 4)
    t = at - first
    weights[0] = (t - 1) * (t - 2) * (3 - t) / 6
    weights[1] = t * (t - 2) * (t - 3) / 2
    weights[2] = t * (t - 1) * (3 - t) / 2
    weights[3] = t * (t - 1) * (t - 2) / 6
    weights[4] = first


@njit(cache=True, nogil=True)
def _length(powers: np.ndarray, u: float, v: float, dx: float, dy: float) -> float:
    """Return the length of an edge, by the metric at its middle."""
    if dy == 0:
        return abs(dx) * np.sqrt(_value(powers, 1, u, v))
    if dx == 0:
        return abs(dy) * np.sqrt(_value(powers, 3, u, v))
    square = _value(powers, 1, u, v) * dx * dx + _value(powers, 3, u, v) * dy * dy
    return np.sqrt(square + 2 * _value(powers, 2, u, v) * dx * dy)


@njit(cache=True, nogil=True)
def _value(powers: np.ndarray, k: int, u: float, v: float) -> float:
    """Return quantity ``k`` at a point, without a loop, which would add reference counting to every call."""
    constant, linear = _factor(powers, k, 0, u), _factor(powers, k, 1, u)
    return constant + v * (linear + v * _factor(powers, k, 2, u))


@njit(cache=True, nogil=True)
def _factor(powers: np.ndarray, k: int, j: int, u: float) -> float:
    """Return the factor of v**j in quantity ``k``."""
    return powers[k, 0, j] + u * (powers[k, 1, j] + u * powers[k, 2, j])


@njit(cache=True, nogil=True)
def _across(powers: np.ndarray, j: int, u: float) -> float:
    """Integrate the factor of v**j in the first quantity, the ground area, from 0 to u."""
    return u * (powers[0, 0, j] + u * (powers[0, 1, j] / 2 + u * powers[0, 2, j] / 3))


@njit(cache=True, nogil=True)
def _column(powers: np.ndarray, u: float, v: float, half_dv: float) -> float:
    """Integrate the ground area between u = 0 and an edge along a column, given its middle."""
    square = v * v + half_dv * half_dv / 3  # the mean of v**2
    return 2 * half_dv * (_across(powers, 0, u) + v * _across(powers, 1, u) + square * _across(powers, 2, u))


@njit(cache=True, nogil=True)
def _strip(powers: np.ndarray, u: float, v: float, half_du: float, half_dv: float) -> float:
    """Integrate the ground area between u = 0 and any edge, given its middle; exact with three Gauss points."""
    du, dv = half_du * GAUSS, half_dv * GAUSS
    ends = _row(powers, u - du, v - dv) + _row(powers, u + du, v + dv)
    return (5 * ends + 8 * _row(powers, u, v)) * half_dv / 9


@njit(cache=True, nogil=True)
def _row(powers: np.ndarray, u: float, v: float) -> float:
    """Integrate the ground area from 0 to u along a row."""
    return _across(powers, 0, u) + v * (_across(powers, 1, u) + v * _across(powers, 2, u))
