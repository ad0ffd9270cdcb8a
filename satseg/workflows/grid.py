"""A common pixel grid for polygons that are compared with polygons."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import shapely
from affine import Affine
from pyproj.exceptions import ProjError

from satseg.errors import UsageError, one_line
from satseg.geo.crs import full_turn, is_geographic, point_transform, short_name
from satseg.geo.grid import ground_sampling_distance
from satseg.geo.polygons import Bounds
from satseg.geo.scene_projection import lattice
from satseg.labels.vector_labels import VectorLabels
from satseg.raster.area import AreaOfInterest
from satseg.records import BandSpec, SceneInfo

_LARGEST = 2**31 - 1  # rows or columns that GDAL counts


def common_grid(
    labels: VectorLabels, mapped: VectorLabels, gsd: float, areas: Sequence[AreaOfInterest] = ()
) -> SceneInfo:
    """Return a grid that holds the polygons of two files as far as they are compared, in the CRS of the second.

    Args:
        labels: Polygons in any CRS.
        mapped: Polygons in the CRS that the grid gets.
        gsd: Ground metres per pixel at the centre.
        areas: Where they are compared: inside all of them.

    Raises:
        UsageError: A file states no CRS that relates it to the ground, or the grid would be larger than GDAL counts.
    """
    if labels.crs is None or mapped.crs is None:
        bare = (labels if labels.crs is None else mapped).path
        raise UsageError(f"{bare} states no CRS, so that its polygons have no size in metres.")
    near = mapped.store.extent
    boxes = near, _extent_in(mapped.crs, labels.path, labels.crs, labels.store.extent, near)
    left, bottom = (min(box[i] for box in boxes) for i in (0, 1))
    right, top = (max(box[i] for box in boxes) for i in (2, 3))
    for area in areas:
        box = _extent_in(
            mapped.crs, area.path, area.crs or mapped.crs, tuple(shapely.total_bounds(area.geometries)), near
        )
        left, bottom, right, top = max(left, box[0]), max(bottom, box[1]), min(right, box[2]), min(top, box[3])
    if not (left < right and bottom < top):
        raise UsageError(f"{labels.path} and {mapped.path} do not meet where they are to be compared.")
    unit = max(right - left, top - bottom) * 1e-4  # short, since a metre is not everywhere as many degrees
    centre = Affine(unit, 0, (left + right) / 2, 0, -unit, (bottom + top) / 2)
    metres = ground_sampling_distance(mapped.crs, centre, 0, 0)
    if metres is None:
        raise UsageError(f"The CRS of {mapped.path} has no relation to the ground.")
    across, down = (gsd * unit / length for length in metres)
    width, height = math.ceil((right - left) / across), math.ceil((top - bottom) / down)
    if max(width, height) > _LARGEST:
        raise UsageError(f"With pixels of {gsd:g} m the grid would be {width:,} x {height:,} px.")
    return SceneInfo(
        path=f"the grid of {gsd:g} m",
        width=width,
        height=height,
        bands=BandSpec(("class",), "uint8", (1.0,), (0.0,)),
        nodata=None,
        has_mask=False,
        crs=mapped.crs,
        transform=Affine(across, 0, left, 0, -down, top),
        gsd=(gsd, gsd),
    )


def _extent_in(crs: str, path: str, own: str, extent: Bounds, beside: Bounds) -> Bounds:
    """Return the bounds of polygons in another CRS; longitudes count from the side from which ``beside`` does."""
    try:
        transform = point_transform(own, crs)
    except ProjError as error:
        raise UsageError(f"{path} cannot be brought to the CRS of the map: {one_line(error)}.") from error
    x, y = transform(*lattice(shapely.box(*extent)))
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        raise UsageError(f"{path} lies where {short_name(crs)} is not defined.")
    x, y = x[known], y[known]
    if is_geographic(crs):
        turn, middle = full_turn(crs), (beside[0] + beside[2]) / 2
        x = x + turn * np.round((middle - x) / turn)
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())
