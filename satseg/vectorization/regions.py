"""Features of closed regions as ragged arrays, passed from the tracer to the writers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from affine import Affine

BATCH_FEATURES = 65_536
BATCH_VERTICES = 2**20


@dataclass(frozen=True, eq=False)
class Regions:
    """Features of one or more polygons each, in the order in which they closed: by last row, then left to right.

    Args:
        corners: (V, 2) (column, row) of the vertices in pixels from the upper left corner of the raster; int32, or
            float64 if corners are rounded. Rings are closed; the first ring of a polygon is its outer one and runs
            clockwise as displayed, the others are holes and run counterclockwise.
        rings: (R + 1,) int64 first vertex of each ring, and the end.
        polygons: (P + 1,) int64 first ring of each polygon, and the end.
        features: (F + 1,) int64 first polygon of each feature, and the end.
        values: (F,) int32 raster value.
        pixels: (F,) int64 pixel count.
        confidence: (F, 3) float32 mean, minimum and 5th percentile of the confidence in 0..1, NaN if unknown.
        families: (F,) int64 number of the split region that a feature is a piece of, 0 if it is whole.
    """

    corners: np.ndarray
    rings: np.ndarray
    polygons: np.ndarray
    features: np.ndarray
    values: np.ndarray
    pixels: np.ndarray
    confidence: np.ndarray
    families: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def none(cls) -> Regions:
        """Return an empty set of features."""
        ends, numbers = np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64)
        corners, confidence = np.empty((0, 2), dtype=np.int32), np.empty((0, 3), dtype=np.float32)
        return cls(corners, ends, ends, ends, numbers.astype(np.int32), numbers, confidence, numbers)

    def cut(self, first: int, last: int) -> Regions:
        """Return features ``first`` to ``last`` (exclusive), sharing memory with these."""
        features = self.features[first : last + 1]
        polygons = self.polygons[features[0] : features[-1] + 1]
        rings = self.rings[polygons[0] : polygons[-1] + 1]
        return Regions(
            self.corners[rings[0] : rings[-1]],
            rings - rings[0],
            polygons - polygons[0],
            features - features[0],
            *(part[first:last] for part in (self.values, self.pixels, self.confidence, self.families)),
        )

    def where(self, wanted: np.ndarray) -> Regions:
        """Return the features where ``wanted`` (F,) is true."""
        borders = np.flatnonzero(np.diff(wanted, prepend=False, append=False))
        return concatenate([Regions.none(), *(self.cut(*run) for run in borders.reshape(-1, 2))])


def concatenate(parts: Sequence[Regions]) -> Regions:
    """Return all features of one or more parts in order."""
    parts = [part for part in parts if len(part)] or parts[:1]  # an empty one may have corners of another type
    if len(parts) == 1:
        return parts[0]

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    return Regions(
        joined("corners"),
        *(_chain([getattr(part, name) for part in parts]) for name in ("rings", "polygons", "features")),
        *(joined(name) for name in ("values", "pixels", "confidence", "families")),
    )


def _chain(offsets: Sequence[np.ndarray]) -> np.ndarray:
    starts = np.cumsum([0, *(part[-1] for part in offsets)])
    shifted = [part[:-1] + start for part, start in zip(offsets, starts, strict=False)]
    return np.concatenate([*shifted, starts[-1:]])


class Batches:
    """Splits a stream of features into batches that depend on the features alone, not on how they arrive."""

    def __init__(self) -> None:
        self._pending: list[Regions] = []
        self._features = self._vertices = 0

    def add(self, regions: Regions) -> Iterator[Regions]:
        """Add features; yield full batches."""
        if not len(regions):
            return
        self._pending.append(regions)
        self._features += len(regions)
        self._vertices += len(regions.corners)
        if self._features < BATCH_FEATURES and self._vertices < BATCH_VERTICES:
            return
        waiting = concatenate(self._pending)
        first = 0
        while last := _full_batch(waiting, first):
            yield waiting.cut(first, last)
            first = last
        rest = waiting.cut(first, len(waiting))
        self._pending, self._features, self._vertices = [rest], len(rest), len(rest.corners)

    def finish(self) -> Iterator[Regions]:
        """Yield the remaining features, if any."""
        if any(map(len, self._pending)):
            yield concatenate(self._pending)
        self._pending = []


def _full_batch(regions: Regions, first: int) -> int:
    """Return the end of the batch that begins at ``first``, or 0 if it is not full."""
    ends = regions.rings[regions.polygons[regions.features]]
    by_vertices = int(np.searchsorted(ends, ends[first] + BATCH_VERTICES))
    last = min(first + BATCH_FEATURES, by_vertices)
    return last if last <= len(regions) else 0


def coordinates(regions: Regions, transform: Affine) -> np.ndarray:
    """Return (V, 2) float64 (x, y) in CRS units, with outer rings counterclockwise on the ground and holes clockwise.

    Equal corners have equal coordinates, to the bit.
    """
    coefficients = np.array([transform.c, transform.a, transform.b, transform.f, transform.d, transform.e])
    return _coordinates(regions.corners, regions.rings, coefficients, transform.determinant < 0)


@njit(cache=True, nogil=True)
def _coordinates(corners: np.ndarray, rings: np.ndarray, t: np.ndarray, backwards: bool) -> np.ndarray:
    out = np.empty((len(corners), 2), dtype=np.float64)
    for ring in range(len(rings) - 1):
        first, end = rings[ring], rings[ring + 1]
        for i in range(first, end):
            k = first + end - 1 - i if backwards else i
            column, row = np.float64(corners[i, 0]), np.float64(corners[i, 1])
            out[k, 0] = t[0] + column * t[1] + row * t[2]
            out[k, 1] = t[3] + column * t[4] + row * t[5]
    return out


def to_shapely(regions: Regions, transform: Affine, *, multi: bool = False) -> np.ndarray:
    """Return (F,) shapely polygons in CRS units; with ``multi``, multipolygons."""
    import shapely

    points, offsets = coordinates(regions, transform), (regions.rings, regions.polygons)
    if multi:
        return shapely.from_ragged_array(shapely.GeometryType.MULTIPOLYGON, points, (*offsets, regions.features))
    return shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, offsets)
