"""Bring polygons from the CRS of their map into another one, so that they stay a coverage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from pyproj import Transformer
from pyproj.exceptions import ProjError

from satseg.errors import OutputError, one_line
from satseg.geo.crs import parse_crs, parse_map_crs

if TYPE_CHECKING:
    from satseg.vectorization.table import Batch

_EARTH_RADIUS = 6.4e6
_BEND = 0.01  # pixels by which an edge may bend on its way to another CRS


class Reprojection:
    """The way from one CRS to another, for vertices.

    A vertex comes out the same, to the bit, in every polygon that has it. Long edges get vertices on the way, the same
    ones in both polygons beside them: a straight line of one CRS is a curve in another, and might run over a vertex
    beside it.

    Args:
        src_crs: CRS of the polygons as they come.
        dst_crs: CRS to bring them to.
        pixel: Side of a pixel of their map in units of ``src_crs``.
        metres: The same in metres on the ground.

    Raises:
        UsageError: ``dst_crs`` is no CRS that polygons can be in.
        OutputError: There is no way between the two.
    """

    def __init__(self, src_crs: str, dst_crs: str, *, pixel: float, metres: float) -> None:
        target = parse_map_crs(dst_crs)
        self._wraps = target.is_geographic
        self._name = dst_crs
        # An edge of length L bends by about L**2 / (8 R), since parallels and meridians do by 1 / R.
        self._longest = pixel * max(1.0, (8 * _BEND * _EARTH_RADIUS / metres) ** 0.5)
        try:
            self._transformer = Transformer.from_crs(parse_crs(src_crs), target, always_xy=True)
        except ProjError as error:
            raise OutputError(
                f"There is no way from the map's CRS to {dst_crs}: {one_line(error)}.",
                hint="Choose another CRS. GeoJSON needs longitude and latitude; the other formats do not.",
            ) from error

    def apply(self, batch: Batch) -> Batch:
        """Return the polygons with (x, y) in the other CRS; one across the antimeridian goes on beyond 180 degrees.

        Raises:
            OutputError: A vertex lies where the CRS is not defined.
        """
        points, rings = _densify(batch.points, batch.rings, self._longest)
        x, y = self._transformer.transform(points[:, 0], points[:, 1])
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise OutputError(f"Part of the map lies outside the area where {self._name} is defined.")
        if self._wraps:
            x = _unwrapped(x, rings[batch.polygons[batch.features[:-1]]])
        return replace(batch, points=np.column_stack([x, y]), rings=rings)


def _unwrapped(longitudes: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return longitudes without a jump inside any polygon, given the first vertex of each."""
    wide = np.maximum.reduceat(longitudes, starts) - np.minimum.reduceat(longitudes, starts) > 180
    if not wide.any():
        return longitudes
    crossing = np.repeat(wide, np.diff(np.append(starts, len(longitudes))))
    return np.where(crossing & (longitudes < 0), longitudes + 360, longitudes)


@njit(cache=True, nogil=True)
def _densify(points: np.ndarray, rings: np.ndarray, longest: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut edges longer than ``longest`` into equal parts, counted from the end with the lower coordinates."""
    extra = 0
    for ring in range(len(rings) - 1):
        for i in range(rings[ring], rings[ring + 1] - 1):
            extra += _parts(points, i, longest) - 1
    if extra == 0:
        return points, rings
    out, ends = np.empty((len(points) + extra, 2)), np.zeros_like(rings)
    count = 0
    for ring in range(len(rings) - 1):
        for i in range(rings[ring], rings[ring + 1]):
            out[count] = points[i]
            count += 1
            parts = _parts(points, i, longest) if i + 1 < rings[ring + 1] else 1
            low, high = i, i + 1
            forward = parts == 1 or (points[low, 0], points[low, 1]) < (points[high, 0], points[high, 1])
            if not forward:
                low, high = high, low
            for part in range(1, parts):
                share = (part if forward else parts - part) / parts
                out[count] = points[low] + share * (points[high] - points[low])
                count += 1
        ends[ring + 1] = count
    return out, ends


@njit(cache=True, nogil=True)
def _parts(points: np.ndarray, i: int, longest: float) -> int:
    length = np.hypot(points[i + 1, 0] - points[i, 0], points[i + 1, 1] - points[i, 1])
    return max(1, int(np.ceil(length / longest)))
