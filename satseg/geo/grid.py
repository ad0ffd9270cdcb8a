"""Pixel grids of rasters: position, ground resolution, and comparison of two grids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from pyproj.exceptions import ProjError

from satseg.errors import SceneError, one_line
from satseg.geo.crs import (
    crs_of_raster,
    full_turn,
    geodesic,
    is_geographic,
    is_planar,
    parse_crs,
    prime_meridian,
    same_crs,
    short_name,
)
from satseg.records import SceneInfo

_BEYOND = 1.0  # units past a pole: grids referenced by cell centres reach over it by half a cell
_POLE = 90.0  # degrees, the largest latitude
_GRAIN = 1e-3  # m; no aerial or satellite image has smaller pixels
_REMEMBERED = 64  # grids: every thread that reads a scene opens it, and PROJ is slow in each new thread
_FAR = 15.0  # degrees outside the area of use of a CRS beyond which a location is reported as doubtful

TOLERANCE = 0.01
"""Pixels by which corners of one grid may differ, where coordinates were rounded."""


@dataclass(frozen=True)
class Grid:
    """The pixel grid of a raster.

    Args:
        width: Columns.
        height: Rows.
        transform: Pixel (column, row) to CRS coordinates (x, y); the identity without a geotransform.
        crs: ``EPSG:...`` or WKT; None if it has none, or no geotransform.
    """

    width: int
    height: int
    transform: Affine
    crs: str | None

    @classmethod
    def of(cls, dataset: Any) -> Grid:
        """Return the grid of an open rasterio dataset.

        A CRS is ignored if there is no geotransform, or if it is not planar (geocentric, vertical).

        Raises:
            SceneError: The geotransform is singular or not finite, or PROJ does not know the CRS.
        """
        transform = dataset.transform
        if not np.isfinite(transform[:6]).all() or transform.determinant == 0:
            raise SceneError(
                f"{dataset.name} has an invalid geotransform: "
                f"{', '.join(f'{value:g}' for value in transform.to_gdal())}.",
                hint="Assign its corners: gdal_edit.py -a_ullr LEFT TOP RIGHT BOTTOM FILE",
            )
        try:
            crs = None if transform.is_identity else crs_of_raster(dataset)
        except ProjError as error:
            raise SceneError(f"{dataset.name} has a CRS that PROJ does not know: {one_line(error)}.") from error
        return cls(dataset.width, dataset.height, transform, crs if crs is None or is_planar(crs) else None)

    @classmethod
    def of_scene(cls, scene: SceneInfo) -> Grid:
        """Return the grid of a scene."""
        return cls(scene.width, scene.height, scene.transform, scene.crs)

    @property
    def placed(self) -> bool:
        """Whether it has a geotransform."""
        return not self.transform.is_identity

    def corners(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y of the upper left, upper right, lower right and lower left corner, (4,) float64 each."""
        columns = np.array([0.0, self.width, self.width, 0.0])
        rows = np.array([0.0, 0.0, self.height, self.height])
        x, y = self.transform * (columns, rows)
        return np.asarray(x), np.asarray(y)


def misfit(one: Grid, other: Grid) -> float:
    """Return the largest distance between corresponding corners of two grids of equal CRS and shape, in pixels."""
    here = ~one.transform * one.corners()
    return float(np.abs(np.subtract(corners_on(other, one), here)).max())


def corners_on(grid: Grid, other: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and rows of the corners of a grid on another one of the same CRS, (4,) float64 each.

    They are in the order of :meth:`Grid.corners`; 0 is the upper left corner of the other grid.
    """
    columns, rows = ~other.transform * turned_towards(grid, other).corners()
    return np.asarray(columns), np.asarray(rows)


def same_grid(one: Grid, other: Grid) -> bool:
    """Tell whether two grids have the same shape, position and, if both have one, CRS."""
    if (one.width, one.height) != (other.width, other.height):
        return False
    if one.crs is not None and other.crs is not None and not same_crs(one.crs, other.crs):
        return False
    return misfit(one, other) <= TOLERANCE


def turned_towards(grid: Grid, other: Grid) -> Grid:
    """Return a grid with its longitudes shifted by whole turns to match another's (258 for -102)."""
    if not (is_geographic(grid.crs) and is_geographic(other.crs)):
        return grid
    assert grid.crs is not None
    assert other.crs is not None
    turn, turn_there = full_turn(grid.crs), full_turn(other.crs)
    turns = round(other.corners()[0].mean() / turn_there - grid.corners()[0].mean() / turn)
    moved = Affine.translation(turns * turn, 0) * grid.transform
    return Grid(grid.width, grid.height, moved, grid.crs)


def at_seam(grid: Grid, other: Grid) -> bool:
    """Tell whether another grid crosses the edge of one where that continues on its opposite edge, around the globe."""
    if not (is_geographic(grid.crs) and same_crs(grid.crs, other.crs)):
        return False
    assert grid.crs is not None
    pixel, turn = abs(grid.transform.a), full_turn(grid.crs)
    west, east = grid.corners()[0].min() - pixel, grid.corners()[0].max() + pixel
    left, right = other.corners()[0].min(), other.corners()[0].max()
    return bool((left < west and left + turn < east) or (right > east and right - turn > west))


@lru_cache(maxsize=_REMEMBERED)
def ground_sampling_distance(crs: str, transform: Affine, width: int, height: int) -> tuple[float, float] | None:
    """Measure metres per pixel along x and along y on the ellipsoid, at the centre of a raster.

    Args:
        crs: CRS of the raster.
        transform: Pixel to CRS coordinates.
        width: Columns.
        height: Rows.

    Returns:
        Metres between the centre and the next pixel along a row, and along a column; None if the CRS has no geodetic
        datum.
    """
    columns = np.array([0.0, 1.0, 0.0]) + width / 2
    rows = np.array([0.0, 0.0, 1.0]) + height / 2
    try:
        to_degrees, geod = geodesic(crs)
        lon, lat = to_degrees.transform(*(transform * (columns, rows)))
        _, _, metres = geod.inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
    except ProjError:
        return None
    if not np.isfinite(metres).all() or (metres <= 0).any():
        return None
    return float(metres[0]), float(metres[1])


@lru_cache(maxsize=_REMEMBERED)
def doubt(grid: Grid, stated: str | None) -> str | None:
    """Describe what seems wrong with the georeferencing of a raster, with the numbers; None if it is plausible.

    Args:
        grid: Its grid.
        stated: The CRS in its file.
    """
    if grid.crs is None:
        if stated is None:
            return None
        why = "which is not a planar CRS" if grid.placed else "but no geotransform"
        return (
            f"is not georeferenced: it has the CRS {short_name(stated)}, {why}; the position and size of its pixels on "
            "the ground are unknown"
        )
    x, y = grid.corners()
    pixel = abs(grid.transform.determinant) ** 0.5
    if not is_geographic(grid.crs) and max(np.abs(x).max() / 2, np.abs(y).max()) <= _POLE and pixel < _GRAIN:
        return _warned(f"{_extent(x, y)} with pixels of {pixel:.3g} units (degrees labelled as metres?)")
    return doubt_of_points(x, y, grid.crs)


def doubt_of_points(x: np.ndarray, y: np.ndarray, crs: str | None) -> str | None:
    """Describe what seems wrong with the position of points, as :func:`doubt` does."""
    problem = crs and _misplaced(x, y, crs)
    return problem and _warned(problem)


def _warned(problem: str) -> str:
    return f"{problem}: its georeferencing seems to be wrong, so that lengths and areas are unreliable"


def _extent(x: np.ndarray, y: np.ndarray) -> str:
    return f"lies at x {x.min():.10g} to {x.max():.10g} and y {y.min():.10g} to {y.max():.10g}"


def _misplaced(x: np.ndarray, y: np.ndarray, crs: str) -> str | None:
    where = _extent(x, y)
    if is_geographic(crs):
        turn = full_turn(crs)
        beyond = (np.abs(y) > turn / 4 + _BEYOND).any() or (np.abs(x) > 2 * turn).any()
        return f"{where}, which are not longitudes and latitudes (metres labelled as degrees?)" if beyond else None
    try:
        to_degrees, _ = geodesic(crs)
    except ProjError:
        return None
    lon, lat = to_degrees.transform(np.append(x, x.mean()), np.append(y, y.mean()))
    known = np.isfinite(lon) & np.isfinite(lat)  # corners of a map of the whole globe may lie outside it
    if not known.any():
        return f"{where}, where {short_name(crs)} is not defined"
    lon, lat = lon[known] + prime_meridian(crs), lat[known]
    area = parse_crs(crs).area_of_use
    if area is None:
        return None
    middle = lon.flat[0] + np.mean((lon - lon.flat[0] + 180) % 360 - 180)  # also across the antimeridian
    east = (float(middle) - area.west) % 360
    aside = max(0.0, min(east - (area.east - area.west) % 360, 360 - east)) if area.east - area.west < 360 else 0.0
    above = max(area.south - float(np.mean(lat)), float(np.mean(lat)) - area.north, 0.0)
    if max(aside, above) <= _FAR:
        return None
    return f"{where}, {max(aside, above):.0f} degrees outside the area of use of {short_name(crs)} ({area.name})"
