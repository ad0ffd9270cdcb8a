"""Polygons of closed regions as ragged arrays, from the tracer to the writers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from affine import Affine

BATCH_POLYGONS = 65_536
BATCH_VERTICES = 2**20


@dataclass(frozen=True, eq=False)
class Regions:
    """Polygons in the order in which their regions closed: by last row, then from left to right.

    Args:
        corners: (V, 2) (column, row) of the vertices, pixel corners counted from the raster's upper left one. Every
            ring ends where it began; the first ring of a polygon is its outer one and runs clockwise as the raster is
            seen, the others are holes and run counterclockwise.
        rings: (R + 1,) int64 first vertex of each ring, and the end.
        polygons: (P + 1,) int64 first ring of each polygon, and the end.
        values: (P,) int32 raster value.
        pixels: (P,) int64 pixel count.
    """

    corners: np.ndarray
    rings: np.ndarray
    polygons: np.ndarray
    values: np.ndarray
    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def none(cls) -> Regions:
        """Return no polygons at all."""
        corners, ends = np.empty((0, 2), dtype=np.int32), np.zeros(1, dtype=np.int64)
        return cls(corners, ends, ends, np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))

    def cut(self, first: int, last: int) -> Regions:
        """Return polygons ``first`` to ``last`` (not included), sharing memory with this one."""
        polygons = self.polygons[first : last + 1]
        rings = self.rings[polygons[0] : polygons[-1] + 1]
        return Regions(
            corners=self.corners[rings[0] : rings[-1]],
            rings=rings - rings[0],
            polygons=polygons - polygons[0],
            values=self.values[first:last],
            pixels=self.pixels[first:last],
        )


def concatenate(parts: Sequence[Regions]) -> Regions:
    """Return all polygons of one or more parts in order."""
    if len(parts) == 1:
        return parts[0]
    return Regions(
        corners=np.concatenate([part.corners for part in parts]),
        rings=_chain([part.rings for part in parts]),
        polygons=_chain([part.polygons for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        pixels=np.concatenate([part.pixels for part in parts]),
    )


def _chain(offsets: Sequence[np.ndarray]) -> np.ndarray:
    starts = np.cumsum([0, *(part[-1] for part in offsets)])
    shifted = [part[:-1] + start for part, start in zip(offsets, starts, strict=False)]
    return np.concatenate([*shifted, starts[-1:]])


class Batches:
    """Cut a stream of polygons into batches that depend on the polygons only, not on how they arrived."""

    def __init__(self) -> None:
        self._pending: list[Regions] = []

    def add(self, regions: Regions) -> Iterator[Regions]:
        """Take more polygons; yield the batches that are full."""
        self._pending.append(regions)
        if sum(map(len, self._pending)) < BATCH_POLYGONS and (
            sum(len(part.corners) for part in self._pending) < BATCH_VERTICES
        ):
            return
        waiting = concatenate(self._pending)
        first = 0
        while last := _full_batch(waiting, first):
            yield waiting.cut(first, last)
            first = last
        self._pending = [waiting.cut(first, len(waiting))]

    def finish(self) -> Iterator[Regions]:
        """Yield what is left, if anything."""
        if any(map(len, self._pending)):
            yield concatenate(self._pending)
        self._pending = []


def _full_batch(regions: Regions, first: int) -> int:
    """Return the end of the batch that begins at ``first``, or 0 if it is not yet full."""
    ends = regions.rings[regions.polygons]
    by_vertices = int(np.searchsorted(ends, ends[first] + BATCH_VERTICES))
    last = min(first + BATCH_POLYGONS, by_vertices)
    return last if last <= len(regions) else 0


def coordinates(regions: Regions, transform: Affine) -> np.ndarray:
    """Return (V, 2) float64 (x, y) in CRS units; outer rings counterclockwise on the ground, holes clockwise.

    The same corner gets the same coordinates wherever it occurs, to the bit.
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


def to_shapely(regions: Regions, transform: Affine) -> np.ndarray:
    """Return (P,) shapely polygons in CRS units."""
    import shapely

    points = coordinates(regions, transform)
    return shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, (regions.rings, regions.polygons))


def to_wkb(points: np.ndarray, rings: np.ndarray, polygons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encode polygons as well-known binary.

    Args:
        points: (V, 2) float64 (x, y).
        rings: (R + 1,) first point of each ring, and the end.
        polygons: (P + 1,) first ring of each polygon, and the end.

    Returns:
        All bytes, uint8, one polygon after another; (P + 1,) int64 first byte of each polygon, and the end.
    """
    per_ring = 4 + 16 * np.diff(rings)
    ends = np.concatenate([[0], np.cumsum(per_ring)])[polygons] + 9 * np.arange(len(polygons))
    data = np.empty(ends[-1], dtype=np.uint8)
    _fill_wkb(data, ends, points.view(np.uint8).reshape(-1), rings, polygons)
    return data, ends


@njit(cache=True, nogil=True)
def _fill_wkb(data: np.ndarray, ends: np.ndarray, points: np.ndarray, rings: np.ndarray, polygons: np.ndarray) -> None:
    for polygon in range(len(polygons) - 1):
        at = ends[polygon]
        data[at] = 1  # little endian
        _put_uint32(data, at + 1, 3)
        _put_uint32(data, at + 5, polygons[polygon + 1] - polygons[polygon])
        at += 9
        for ring in range(polygons[polygon], polygons[polygon + 1]):
            _put_uint32(data, at, rings[ring + 1] - rings[ring])
            size = 16 * (rings[ring + 1] - rings[ring])
            data[at + 4 : at + 4 + size] = points[16 * rings[ring] : 16 * rings[ring + 1]]
            at += 4 + size


@njit(cache=True, nogil=True)
def _put_uint32(data: np.ndarray, at: int, value: int) -> None:
    for i in range(4):
        data[at + i] = (value >> (8 * i)) & 255
