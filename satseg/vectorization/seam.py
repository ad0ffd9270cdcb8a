"""The seam of a map of the whole globe, where its left and right borders coincide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from affine import Affine
from pyproj.exceptions import ProjError

from satseg.geo.crs import geodesic, is_geographic
from satseg.vectorization.regions import Regions

_SAME = 1e-3  # pixels


class Seam:
    """The meridian at which both borders of a map lie.

    Edges along it get a vertex at each row of pixels, since the vertices on the other side are not known. This is not
    needed on other maps, nor if polygons are cut at that meridian anyway.

    Args:
        transform: Pixel to CRS coordinates.
        crs: CRS of the map, or None.
        shape: Columns and rows.
        dst_crs: CRS of the polygons, or None for that of the map. A projection may join them at the antimeridian.
    """

    def __init__(self, transform: Affine, crs: str | None, shape: tuple[int, int], dst_crs: str | None = None) -> None:
        self._width = shape[0]
        joined = dst_crs is not None and not is_geographic(dst_crs)
        self.is_one = crs is not None and _meets_itself(transform, crs, shape, at_antimeridian=joined)
        """Whether there is one."""

    def noded(self, regions: Regions) -> Regions:
        """Return regions with a vertex at each row of pixels along both borders."""
        if not self.is_one or not len(regions):
            return regions
        columns, rows = regions.corners.T
        along = (columns[:-1] == columns[1:]) & ((columns[:-1] == 0) | (columns[:-1] == self._width))
        along[regions.rings[1:-1] - 1] = False  # from one ring to the next
        low, high = np.minimum(rows[:-1], rows[1:]), np.maximum(rows[:-1], rows[1:])
        missing = np.where(along, np.maximum(np.ceil(high) - np.floor(low) - 1, 0), 0).astype(np.int64)
        after = np.repeat(np.arange(len(missing)), missing)
        number = np.arange(len(after)) - np.repeat(np.cumsum(missing) - missing, missing)
        goes_down = rows[after] < rows[after + 1]
        between = np.where(goes_down, np.floor(rows[after]) + 1 + number, np.ceil(rows[after]) - 1 - number)
        corners = np.column_stack([columns[after], between]).astype(regions.corners.dtype)
        moved = np.concatenate([[0], np.cumsum(missing), [missing.sum()]])
        return replace(
            regions,
            corners=np.insert(regions.corners, after + 1, corners, axis=0),
            rings=regions.rings + moved[regions.rings],
        )


def _meets_itself(transform: Affine, crs: str, shape: tuple[int, int], *, at_antimeridian: bool) -> bool:
    rows = np.linspace(0.25, 0.75, 3) * shape[1]
    try:
        to_degrees, _ = geodesic(crs)
        places = [to_degrees.transform(*(transform * (np.full(3, column), rows))) for column in (0.0, 1.0, shape[0])]
    except ProjError:
        return False
    (left, left_latitude), (beside, _), (right, right_latitude) = places
    if not np.isfinite(places).all():
        return False
    pixel = np.abs(np.mod(beside - left + 180, 360) - 180)
    apart = np.abs(np.mod(right - left + 180, 360) - 180)
    same = (apart <= _SAME * pixel) & (np.abs(right_latitude - left_latitude) <= _SAME * pixel)
    elsewhere = np.abs(np.abs(left) - 180) > _SAME * pixel
    return bool((pixel > 0).all() and same.all() and (at_antimeridian or elsewhere.all()))
