"""Areas of polygons on the ellipsoid."""

from __future__ import annotations

import numpy as np
import shapely
from pyproj import Proj

from satseg.geo.crs import geodesic, is_local, is_planar, metres_per_unit
from satseg.geo.polygons import is_finite, reproject


def ground_areas(geometries: np.ndarray, crs: str | None) -> np.ndarray:
    """Measure the areas of geometries, which should be close together, on the ellipsoid of their CRS.

    Args:
        geometries: (N,) geometries; the area of None and of anything but polygons is 0.
        crs: Their CRS, or None.

    Returns:
        (N,) float64 square metres, NaN if unknown.
    """
    areas = np.full(len(geometries), np.nan)
    if crs is not None and is_local(crs):
        return np.nan_to_num(shapely.area(geometries)) * metres_per_unit(crs) ** 2
    if crs is None or not is_planar(crs):
        return areas
    usable = is_finite(geometries) & ~shapely.is_missing(geometries) & ~shapely.is_empty(geometries)
    areas[~usable] = 0.0
    if not usable.any():
        return areas
    to_degrees, geod = geodesic(crs)
    left, bottom, right, top = shapely.total_bounds(geometries[usable])
    lon, lat = to_degrees.transform((left + right) / 2, (bottom + top) / 2)
    if not np.isfinite([lon, lat]).all():
        areas[usable] = np.nan
        return areas
    flat = Proj(proj="laea", lon_0=lon, lat_0=lat, a=geod.a, b=geod.b)  # equal-area
    moved = reproject(geometries[usable], lambda x, y: flat(*to_degrees.transform(x, y)))
    areas[usable] = np.where(shapely.area(geometries[usable]) > 0, shapely.area(moved), 0.0)
    return areas
