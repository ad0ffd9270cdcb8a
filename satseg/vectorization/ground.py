"""Areas and perimeters on the ellipsoid for polygons given in pixels, many at a time.

A raster's ground scale (metres per pixel in each direction) varies smoothly, so it is measured on a grid of points by
way of geocentric positions, which know neither poles nor antimeridian, and interpolated in between. Over each polygon
it is a polynomial through 3 x 3 points of its bounding box; areas are integrated along edges by Green's theorem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from scipy.interpolate import RectBivariateSpline

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
        metric = _metric(transform, to_degrees, geod, *np.meshgrid(across, down))
        if not np.isfinite(metric).all():
            raise ValueError(f"part of the raster lies outside the area where {crs} is defined")
        scale = np.sqrt(metric[0] * metric[2] - metric[1] ** 2)
        self._scale = RectBivariateSpline(across, down, scale.T, s=0)
        self._metric = [RectBivariateSpline(across, down, part.T, s=0) for part in metric]

    def areas(self, regions: Regions) -> np.ndarray:
        """Return (P,) square metres on the ellipsoid; edges are straight in the raster's CRS."""
        centres, halves = _boxes(regions.corners, regions.rings, regions.polygons)
        powers = _polynomials(self._scale, centres, halves)
        return _integrate(regions.corners, regions.rings, regions.polygons, centres, halves, powers)

    def perimeters(self, regions: Regions) -> np.ndarray:
        """Return (P,) metres on the ellipsoid along all rings, holes included."""
        centres, halves = _boxes(regions.corners, regions.rings, regions.polygons)
        powers = np.stack([_polynomials(part, centres, halves) for part in self._metric], axis=1)
        return _measure(regions.corners, regions.rings, regions.polygons, centres, halves, powers)


def _polynomials(spline: RectBivariateSpline, centres: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Return (P, 3, 3) coefficients of u**i * v**j over each box, u and v in -1..1 along columns and rows."""
    steps = np.array([-1.0, 0.0, 1.0])
    columns = centres[:, 0, None, None] + halves[:, 0, None, None] * steps[:, None]
    rows = centres[:, 1, None, None] + halves[:, 1, None, None] * steps
    values = spline.ev(*np.broadcast_arrays(columns, rows))
    to_powers = np.array([[0.0, 1.0, 0.0], [-0.5, 0.0, 0.5], [0.5, -1.0, 0.5]])
    return to_powers @ values @ to_powers.T


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
def _boxes(corners: np.ndarray, rings: np.ndarray, polygons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre and half the size of each polygon's bounding box, (P, 2) as (column, row)."""
    centres = np.empty((len(polygons) - 1, 2))
    halves = np.empty((len(polygons) - 1, 2))
    for polygon in range(len(polygons) - 1):
        first, end = rings[polygons[polygon]], rings[polygons[polygon] + 1]  # the outer ring holds the others
        for axis in range(2):
            low = high = np.float64(corners[first, axis])
            for i in range(first, end):
                low, high = min(low, corners[i, axis]), max(high, corners[i, axis])
            centres[polygon, axis] = (low + high) / 2
            halves[polygon, axis] = (high - low) / 2
    return centres, halves


@njit(cache=True, nogil=True)
def _integrate(
    corners: np.ndarray,
    rings: np.ndarray,
    polygons: np.ndarray,
    centres: np.ndarray,
    halves: np.ndarray,
    powers: np.ndarray,
) -> np.ndarray:
    areas = np.zeros(len(polygons) - 1)
    for polygon in range(len(polygons) - 1):
        (column, row), (half_width, half_height) = centres[polygon], halves[polygon]
        total = 0.0
        for ring in range(polygons[polygon], polygons[polygon + 1]):
            for i in range(rings[ring], rings[ring + 1] - 1):
                u, v = (corners[i, 0] - column) / half_width, (corners[i, 1] - row) / half_height
                to_u = (corners[i + 1, 0] - column) / half_width
                to_v = (corners[i + 1, 1] - row) / half_height
                if to_v != v:
                    total += _edge(u, v, to_u, to_v, powers[polygon])
        areas[polygon] = total * half_width * half_height
    return areas


@njit(cache=True, nogil=True)
def _measure(
    corners: np.ndarray,
    rings: np.ndarray,
    polygons: np.ndarray,
    centres: np.ndarray,
    halves: np.ndarray,
    powers: np.ndarray,
) -> np.ndarray:
    """Add up the lengths of edges by the metric in the middle of each."""
    lengths = np.zeros(len(polygons) - 1)
    for polygon in range(len(polygons) - 1):
        for ring in range(polygons[polygon], polygons[polygon + 1]):
            for i in range(rings[ring], rings[ring + 1] - 1):
                dx, dy = corners[i + 1, 0] - corners[i, 0], corners[i + 1, 1] - corners[i, 1]
                u = (corners[i, 0] + dx / 2 - centres[polygon, 0]) / halves[polygon, 0]
                v = (corners[i, 1] + dy / 2 - centres[polygon, 1]) / halves[polygon, 1]
                square = _value(powers[polygon, 0], u, v) * dx * dx
                square += 2 * _value(powers[polygon, 1], u, v) * dx * dy
                square += _value(powers[polygon, 2], u, v) * dy * dy
                lengths[polygon] += np.sqrt(square)
    return lengths


@njit(cache=True, nogil=True)
def _value(powers: np.ndarray, u: float, v: float) -> float:
    total = 0.0
    for j in range(2, -1, -1):
        total = total * v + powers[0, j] + u * (powers[1, j] + u * powers[2, j])
    return total


@njit(cache=True, nogil=True)
def _edge(u: float, v: float, to_u: float, to_v: float, powers: np.ndarray) -> float:
    """Integrate the antiderivative along u of the polynomial over v; three Gauss points are exact here."""
    total = 0.0
    for at, weight in ((-0.7745966692414834, 5.0), (0.0, 8.0), (0.7745966692414834, 5.0)):
        p = u + (to_u - u) * (1 + at) / 2
        q = v + (to_v - v) * (1 + at) / 2
        value = 0.0
        for j in range(2, -1, -1):
            value = value * q + p * (powers[0, j] + p * (powers[1, j] / 2 + p * powers[2, j] / 3))
        total += weight * value
    return total * (to_v - v) / 18
