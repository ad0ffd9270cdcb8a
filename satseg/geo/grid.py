"""Grids of rasters: where their pixels lie, and whether two of them are one."""

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
    greenwich,
    has_place,
    is_geographic,
    parse_crs,
    same_crs,
    short_name,
)
from satseg.records import SceneInfo

_TOLERANCE = 0.01  # px that corners of one grid may differ, where coordinates were rounded
_BEYOND = 1.0  # units past a pole: grids that count their cells by centres reach over it by half a cell
_POLE = 90.0  # degrees, the largest latitude
_GRAIN = 1e-3  # m; nobody sees as little from above
_REMEMBERED = 64  # grids: every thread that reads a scene opens it, and PROJ takes its time in each new thread
_FAR = 15.0  # degrees outside of the area of use of a CRS, from which a place is doubted


@dataclass(frozen=True)
class Grid:
    """The pixels of a raster and their place on the ground.

    Args:
        width: Columns.
        height: Rows.
        transform: Pixel (column, row) to CRS coordinates (x, y); the identity where it is not placed.
        crs: ``EPSG:...`` or WKT; None where it states none or is not placed.
    """

    width: int
    height: int
    transform: Affine
    crs: str | None

    @classmethod
    def of(cls, dataset: Any) -> Grid:
        """Return the grid of an open rasterio dataset.

        A CRS without a geotransform says nothing, nor does one that is none of a plane: they count as none.

        Raises:
            SceneError: The pixels have no size, lie on one line, or lie at no finite place; PROJ does not know the CRS.
        """
        transform = dataset.transform
        if not np.isfinite(transform[:6]).all() or transform.determinant == 0:
            raise SceneError(
                f"{dataset.name} gives its pixels no size or no place: its geotransform is "
                f"{', '.join(f'{value:g}' for value in transform.to_gdal())}.",
                hint="Say where it lies: gdal_edit.py -a_ullr LEFT TOP RIGHT BOTTOM FILE",
            )
        try:
            crs = None if transform.is_identity else crs_of_raster(dataset)
        except ProjError as error:
            raise SceneError(f"{dataset.name} states a CRS that PROJ does not know: {one_line(error)}.") from error
        return cls(dataset.width, dataset.height, transform, crs if crs is None or has_place(crs) else None)

    @classmethod
    def of_scene(cls, scene: SceneInfo) -> Grid:
        """Return the grid of a scene."""
        return cls(scene.width, scene.height, scene.transform, scene.crs)

    @property
    def placed(self) -> bool:
        """Whether it says where its pixels lie."""
        return not self.transform.is_identity

    def corners(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y of the upper left, upper right, lower right and lower left corner, (4,) float64 each."""
        columns = np.array([0.0, self.width, self.width, 0.0])
        rows = np.array([0.0, 0.0, self.height, self.height])
        x, y = self.transform * (columns, rows)
        return np.asarray(x), np.asarray(y)


def misfit(one: Grid, other: Grid) -> float:
    """Return by how many pixels of ``one`` the corners of two grids of one CRS and shape differ at most."""
    there = ~one.transform * turned_towards(other, one).corners()
    here = ~one.transform * one.corners()
    return float(np.abs(np.subtract(there, here)).max())


def same_grid(one: Grid, other: Grid) -> bool:
    """Tell whether two rasters have the same pixels: shape, place and, where both state one, CRS."""
    if (one.width, one.height) != (other.width, other.height):
        return False
    if one.crs is not None and other.crs is not None and not same_crs(one.crs, other.crs):
        return False
    return misfit(one, other) <= _TOLERANCE


def turned_towards(grid: Grid, other: Grid) -> Grid:
    """Return a grid whose longitudes count on the same turn of the globe as another's (258 for -102)."""
    if not (is_geographic(grid.crs) and is_geographic(other.crs)):
        return grid
    assert grid.crs is not None
    assert other.crs is not None
    turn, turn_there = full_turn(grid.crs), full_turn(other.crs)
    turns = round(other.corners()[0].mean() / turn_there - grid.corners()[0].mean() / turn)
    moved = Affine.translation(turns * turn, 0) * grid.transform
    return Grid(grid.width, grid.height, moved, grid.crs)


def at_seam(grid: Grid, other: Grid) -> bool:
    """Tell whether another grid sticks out of one in longitude where that goes on a turn of the globe further."""
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
        Metres between the centre and the next pixel along a row, and along a column; None where the CRS has no
        relation to the ground.
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
    """Say what is wrong with the place that a raster states, with the numbers; None where it may be right.

    Args:
        grid: Its grid.
        stated: The CRS that its file states.
    """
    if grid.crs is None:
        if stated is None:
            return None
        why = "which is no CRS of a plane" if grid.placed else "but has no geotransform"
        return (
            f"is not georeferenced: it states {short_name(stated)}, {why}; its pixels have neither place nor size on "
            "the ground"
        )
    x, y = grid.corners()
    pixel = abs(grid.transform.determinant) ** 0.5
    if not is_geographic(grid.crs) and max(np.abs(x).max() / 2, np.abs(y).max()) <= _POLE and pixel < _GRAIN:
        return _told(f"{_spell(x, y)} with pixels of {pixel:.3g} units (degrees labelled as metres?)")
    return doubt_of_points(x, y, grid.crs)


def doubt_of_points(x: np.ndarray, y: np.ndarray, crs: str | None) -> str | None:
    """Say what is wrong with points that something says to lie at, as :func:`doubt` does."""
    problem = crs and _misplaced(x, y, crs)
    return problem and _told(problem)


def _told(problem: str) -> str:
    return f"{problem}: it seems to be georeferenced wrongly, and what is measured on the ground is too"


def _spell(x: np.ndarray, y: np.ndarray) -> str:
    return f"lies at x {x.min():.10g} to {x.max():.10g} and y {y.min():.10g} to {y.max():.10g}"


def _misplaced(x: np.ndarray, y: np.ndarray, crs: str) -> str | None:
    where = _spell(x, y)
    if is_geographic(crs):
        turn = full_turn(crs)
        beyond = (np.abs(y) > turn / 4 + _BEYOND).any() or (np.abs(x) > 2 * turn).any()
        return f"{where}, which are no longitudes and latitudes (metres labelled as degrees?)" if beyond else None
    try:
        to_degrees, _ = geodesic(crs)
    except ProjError:
        return None
    lon, lat = to_degrees.transform(np.append(x, x.mean()), np.append(y, y.mean()))
    known = np.isfinite(lon) & np.isfinite(lat)  # corners of a whole globe may lie beside it
    if not known.any():
        return f"{where}, where {short_name(crs)} is not defined"
    lon, lat = lon[known] + greenwich(crs), lat[known]
    area = parse_crs(crs).area_of_use
    if area is None:
        return None
    middle = lon.flat[0] + np.mean((lon - lon.flat[0] + 180) % 360 - 180)  # also across the antimeridian
    east = (float(middle) - area.west) % 360
    aside = max(0.0, min(east - (area.east - area.west) % 360, 360 - east)) if area.east - area.west < 360 else 0.0
    above = max(area.south - float(np.mean(lat)), float(np.mean(lat)) - area.north, 0.0)
    if max(aside, above) <= _FAR:
        return None
    return f"{where}, which is {max(aside, above):.0f} degrees from where {short_name(crs)} is used ({area.name})"
