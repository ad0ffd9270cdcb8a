"""Areas and perimeters on the ellipsoid for polygons given in pixels, many at a time.

A raster's ground scale (metres per pixel in each direction) varies smoothly, so it is measured on a grid of points by
way of geocentric positions, which know neither poles nor antimeridian, and interpolated in between by cubics. Over
each polygon it is a polynomial through 3 x 3 points of its bounding box; areas are integrated along edges by Green's
theorem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError

if TYPE_CHECKING:
    from affine import Affine

    from satseg.vectorization.regions import Regions

_NODES = 65
_STEP_M = 50.0  # of the central differences: large against rounding, small against the curvature of the ellipsoid


class Ground:
    """The ground below a part of a raster.

    Args:
        transform: Pixel (column, row) to CRS coordinates (x, y).
        crs: Anything pyproj understands; must relate to the ground.
        columns: First column and the end.
        rows: First row and the end.

    Raises:
        ValueError: The CRS does not relate to the ground, or the raster lies where it is not defined.
    """

    def __init__(self, transform: Affine, crs: str, *, columns: tuple[int, int], rows: tuple[int, int]) -> None:
        source = CRS.from_user_input(crs)
        geod = source.get_geod()
        if geod is None or source.geodetic_crs is None:
            raise ValueError(f"{crs} does not relate to the ground")
        try:
            to_degrees = Transformer.from_crs(source, source.geodetic_crs, always_xy=True)
        except ProjError as error:
            raise ValueError(str(error)) from error
        across = np.linspace(*columns, _NODES)
        down = np.linspace(*rows, _NODES)
        metric = _metric(transform, to_degrees, geod, *np.meshgrid(across, down, indexing="ij"))
        if not np.isfinite(metric).all():
            raise ValueError(f"part of the raster lies outside the area where {crs} is defined")
        scale = np.sqrt(metric[0] * metric[2] - metric[1] ** 2)
        self._nodes = np.stack([scale, *metric], axis=-1)
        self._grid = np.array([across[0], down[0], across[1] - across[0], down[1] - down[0]])

    def measure(self, regions: Regions) -> tuple[np.ndarray, np.ndarray]:
        """Return (F,) square metres and (F,) metres on the ellipsoid.

        Edges are straight in the raster's CRS; perimeters go along all rings, holes included.
        """
        first = regions.features[:-1]
        found = _measure(regions.corners, regions.rings, regions.polygons, self._nodes, self._grid)
        return np.add.reduceat(found[0], first), np.add.reduceat(found[1], first)


def _metric(
    transform: Affine, to_degrees: Transformer, geod: Geod, columns: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Return E, F, G of the squared length E dx**2 + 2 F dx dy + G dy**2 of a step, NaN where the CRS is not defined.

    Steps are in columns and rows, lengths in metres; the first axis of the result is E, F, G.
    """
    middle = transform * (columns.mean(), rows.mean()), transform * (columns.mean() + 1, rows.mean())
    lon, lat = to_degrees.transform(*np.transpose(middle))
    metres = geod.inv(lon[0], lat[0], lon[1], lat[1])[2] if np.isfinite([*lon, *lat]).all() else np.nan
    step = max(1.0, _STEP_M / metres) if metres > 0 else 1.0
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
    powers, box = np.empty((4, 3, 3)), np.empty(4)
    for polygon in range(count):
        first, end = rings[polygons[polygon]], rings[polygons[polygon] + 1]  # the outer ring holds the others
        _box(corners, first, end, box)
        _fit(nodes, grid, box, powers)
        area = 0.0
        for ring in range(polygons[polygon], polygons[polygon + 1]):
            for i in range(rings[ring], rings[ring + 1] - 1):
                dx, dy = corners[i + 1, 0] - corners[i, 0], corners[i + 1, 1] - corners[i, 1]
                u, v = (corners[i, 0] - box[0]) / box[2], (corners[i, 1] - box[1]) / box[3]
                half_du, half_dv = dx / box[2] / 2, dy / box[3] / 2
                lengths[polygon] += _length(powers, u + half_du, v + half_dv, dx, dy)
                if dy != 0:
                    area += _strip(powers[0], u, v, half_du, half_dv)
        areas[polygon] = area * box[2] * box[3]
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
def _fit(nodes: np.ndarray, grid: np.ndarray, box: np.ndarray, powers: np.ndarray) -> None:
    """Fill in the coefficients of u**i * v**j over a box, u and v in -1..1, for each quantity of the nodes."""
    values = np.empty((4, 3, 3))
    across, down = np.empty(4), np.empty(4)
    for i in range(3):
        left = _weigh((box[0] + (i - 1) * box[2] - grid[0]) / grid[2], nodes.shape[0], across)
        for j in range(3):
            top = _weigh((box[1] + (j - 1) * box[3] - grid[1]) / grid[3], nodes.shape[1], down)
            values[:, i, j] = 0.0
            for a in range(4):
                for b in range(4):
                    weight = across[a] * down[b]
                    for k in range(4):
                        values[k, i, j] += weight * nodes[left + a, top + b, k]
    for k in range(4):
        for j in range(3):  # along u, in place
            low, middle, high = values[k, 0, j], values[k, 1, j], values[k, 2, j]
            values[k, 0, j], values[k, 1, j], values[k, 2, j] = middle, (high - low) / 2, (low + high) / 2 - middle
        for i in range(3):  # along v
            low, middle, high = values[k, i, 0], values[k, i, 1], values[k, i, 2]
            powers[k, i, 0], powers[k, i, 1], powers[k, i, 2] = middle, (high - low) / 2, (low + high) / 2 - middle


@njit(cache=True, nogil=True)
def _weigh(at: float, count: int, weights: np.ndarray) -> int:
    """Fill in the weights of the cubic through four of ``count`` nodes around a place; return the first of them."""
    first = min(max(int(at) - 1, 0), count - 4)
    for a in range(4):
        weights[a] = 1.0
        for b in range(4):
            if b != a:
                weights[a] *= (at - first - b) / (a - b)
    return first


@njit(cache=True, nogil=True)
def _length(powers: np.ndarray, u: float, v: float, dx: float, dy: float) -> float:
    """Return the length of an edge by the metric in its middle."""
    if dy == 0:
        return abs(dx) * np.sqrt(_value(powers[1], u, v))
    if dx == 0:
        return abs(dy) * np.sqrt(_value(powers[3], u, v))
    square = _value(powers[1], u, v) * dx * dx + _value(powers[3], u, v) * dy * dy
    return np.sqrt(square + 2 * _value(powers[2], u, v) * dx * dy)


@njit(cache=True, nogil=True)
def _value(powers: np.ndarray, u: float, v: float) -> float:
    total = 0.0
    for j in range(2, -1, -1):
        total = total * v + powers[0, j] + u * (powers[1, j] + u * powers[2, j])
    return total


@njit(cache=True, nogil=True)
def _strip(powers: np.ndarray, u: float, v: float, half_du: float, half_dv: float) -> float:
    """Integrate the polynomial between u = 0 and an edge; three Gauss points are exact here."""
    total = 0.0
    for at, weight in ((-0.7745966692414834, 5.0), (0.0, 8.0), (0.7745966692414834, 5.0)):
        p, q = u + half_du * (1 + at), v + half_dv * (1 + at)
        value = 0.0
        for j in range(2, -1, -1):
            value = value * q + p * (powers[0, j] + p * (powers[1, j] / 2 + p * powers[2, j] / 3))
        total += weight * value
    return total * half_dv / 9
