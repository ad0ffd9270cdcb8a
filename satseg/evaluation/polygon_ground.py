"""The ground on which polygons are compared: areas, the CRS of the labels, and the squares that are resampled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from pyproj.exceptions import ProjError

from satseg.errors import LabelError, one_line
from satseg.evaluation.object_counts import CountedObjects
from satseg.geo.crs import PointTransform, full_turn, is_geographic, point_transform, same_crs, short_name
from satseg.geo.polygons import repair, reproject
from satseg.labels.vector_labels import VectorLabels
from satseg.raster.area import AreaOfInterest

SQUARES = 8
"""Squares along the longer side of the extent of the labels."""
_PIECES = 256  # of an area's longest edge, so that it stays straight in its own CRS
_FAR = 2**20  # squares to either side, beyond which all are one


@dataclass(frozen=True, eq=False)
class Ground:
    """Area of the comparison, in the CRS of the labels.

    Args:
        areas: The comparison is inside all of these polygons; empty for everywhere.
    """

    areas: Sequence[shapely.Geometry]

    @classmethod
    def of(cls, areas: Sequence[AreaOfInterest], labels: VectorLabels) -> Ground:
        """Transform areas to the CRS of the labels; edges stay straight in their own CRS."""
        brought = []
        for area in areas:
            mover = mover_of(area.path, area.crs, labels)
            geometries = area.geometries
            if mover is not None:
                left, bottom, right, top = shapely.total_bounds(geometries)
                pieces = shapely.segmentize(geometries, max(right - left, top - bottom) / _PIECES)
                geometries = reproject(pieces, mover)
            joined = shapely.union_all(geometries[~shapely.is_missing(geometries)])
            shapely.prepare(joined)
            brought.append(joined)
        return cls(brought)

    def cut(self, geometries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clip polygons to the areas.

        Returns:
            The clipped polygons, None if nothing is left; and a bool array, whether most of a polygon lies outside.
            Missing geometries are not outside.
        """
        whole = shapely.area(geometries)
        for area in self.areas:
            meeting = shapely.intersects(area, geometries)
            crossing = meeting & ~shapely.covers(area, geometries)
            geometries = geometries.copy()
            geometries[~meeting] = None
            geometries[crossing] = repair(shapely.intersection(geometries[crossing], area))
        return geometries, np.nan_to_num(shapely.area(geometries)) < whole / 2


def mover_of(path: str, source: str | None, labels: VectorLabels) -> PointTransform | None:
    """Return the transformation from the CRS of a file to that of the labels; None if they are the same."""
    target = labels.crs
    if source is None or target is None or (same_crs(source, target) and not is_geographic(target)):
        return None
    try:
        transform = point_transform(source, target)
    except ProjError as error:
        raise LabelError(
            f"{path} ({short_name(source)}) cannot be transformed to the CRS of {labels.path} "
            f"({short_name(target)}): {one_line(error)}."
        ) from error
    if not is_geographic(target):
        return transform
    left, _, right, _ = labels.store.extent
    middle, turn = (left + right) / 2, full_turn(target)

    def move(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shift longitudes by full turns to those of the labels."""
        x, y = transform(x, y)
        return x + turn * np.round((middle - x) / turn), y

    return move


@dataclass(frozen=True)
class Squares:
    """A grid of squares over the extent of the labels; what is counted of an object belongs to that of its centre.

    Args:
        left: Left edge of the first column, in the CRS of the labels.
        bottom: Lower edge of the first row.
        side: Side of a square.
    """

    left: float
    bottom: float
    side: float

    @classmethod
    def over(cls, labels: VectorLabels) -> Squares:
        """Return the squares for some labels."""
        if not labels.store.count:
            return cls(0.0, 0.0, 1.0)
        left, bottom, right, top = labels.store.extent
        return cls(left, bottom, max(right - left, top - bottom) / SQUARES or 1.0)

    def places(self, geometries: np.ndarray) -> np.ndarray:
        """Return the (n,) int64 number of the square of each geometry."""
        left, bottom, right, top = np.nan_to_num(shapely.bounds(geometries)).T
        columns = self._at((left + right) / 2 - self.left)
        rows = self._at((bottom + top) / 2 - self.bottom)
        return rows * (2 * _FAR) + columns

    def part(self, counted: CountedObjects) -> Iterator[tuple[tuple[int, ...], CountedObjects]]:
        """Yield the squares in which something is counted, as (row, column), and what is counted there."""
        for place in np.unique(counted.places).tolist():
            yield divmod(place, 2 * _FAR), counted.where(counted.places == place)

    def _at(self, distances: np.ndarray) -> np.ndarray:
        steps = np.floor(distances / self.side)
        return (np.clip(steps, -_FAR, _FAR - 1) + _FAR).astype(np.int64)
