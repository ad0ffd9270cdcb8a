"""Trace a class raster, which arrives in strips of rows, into polygons that share their boundaries."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from satseg.vectorization.planar import FAMILIES, ROUND, ROW, VOID, find_family, new_map, sort_free_slots, with_capacity
from satseg.vectorization.regions import Regions, concatenate, to_shapely
from satseg.vectorization.rings import emit_closed
from satseg.vectorization.scan import continue_cut, cut_giants, scan_rows
from satseg.vectorization.simplify import CELL, simplify_band
from satseg.vectorization.smooth import smooth as smooth_corners

if TYPE_CHECKING:
    from affine import Affine

log = logging.getLogger("satseg")

NO_ROW = -1

_STRIP_ROWS = 256

_MOST_VERTICES = 2**62  # compiled code counts in 64 bits

ROWS_AT_ONCE = 16  # rows after which closed regions are emitted, so that tables fit into the processor's cache


class Tracer:
    """Takes rows and returns the polygons of closed regions, whatever the height of the strips.

    Regions are 4-connected pixels of equal value, each a feature of one polygon. With ``diagonal``, regions that touch
    at a corner form one feature of several polygons, the same polygons as without: so features that cross at a corner
    do not overlap.

    Vertices are where a boundary turns and where three or more regions meet, and nowhere else. So polygons form a valid
    coverage, and each is valid by the OGC's rules, also after simplification.

    Args:
        width: Columns of the raster.
        tolerance: Maximum distance of a simplified boundary from the pixel edges, in columns and rows; None keeps the
            edges.
        diagonal: Whether regions are 8-connected.
        smooth: Whether corners are rounded, by half a pixel or by the tolerance.
        confidence: Whether rows have confidence.
        max_vertices: Features with more vertices are split at the next row of the lattice, and returned by
            :meth:`pieces`; None splits none. Counted before simplification; a corner to be rounded counts as three.
        closed: Whether the left and right borders coincide, so that corners on them must not be rounded.
    """

    def __init__(
        self,
        width: int,
        *,
        tolerance: tuple[float, float] | None = None,
        diagonal: bool = False,
        smooth: bool = False,
        confidence: bool = False,
        max_vertices: int | None = None,
        closed: bool = False,
    ) -> None:
        _announce_compilation()
        self._width = width
        self._state = new_map(
            width, lattice=CELL if tolerance else 0, diagonal=diagonal, confidence=confidence, rounds=smooth
        )
        self._scale = 1 / np.array(tolerance) if tolerance else None
        self._occupied = np.zeros((CELL + 1, width + 1) if tolerance else 0, dtype=np.uint8)
        self._radius = (self._scale if self._scale is not None else np.full(2, 2.0)) if smooth else None
        self._carried = 0
        self._closed = closed
        self._max_vertices = _limit(max_vertices, smooth)
        self._cut = np.zeros((2, width), dtype=np.int32)
        self._pieces = Pieces()

    def push(self, values: np.ndarray, confidence: np.ndarray | None = None) -> Regions:
        """Take the next rows, at least one.

        Args:
            values: (H, W) integers in the range of int32; -1 for pixels without polygons.
            confidence: (H, W) uint8, probability times 254; 255 if not counted.

        Returns:
            Features that have closed, if any.
        """
        if confidence is None:
            confidence = np.empty((len(values), 0), dtype=np.uint8)
        parts, top = [Regions.none()], 0
        while top < len(values):
            end = top + ROWS_AT_ONCE - self._row % ROWS_AT_ONCE
            rows = np.full((len(values[top:end]), self._width + 1), VOID, dtype=np.int32)
            rows[:, :-1] = values[top:end]
            parts += self._scan(rows, confidence[top:end])
            top = end
        return self._pieces.keep(concatenate(parts))

    def finish(self) -> Regions:
        """Return the features that reach the last row."""
        height = self._row
        self._max_vertices = None
        parts = self._scan(np.full((1, self._width + 1), VOID, dtype=np.int32), np.full((1, 0), 0, dtype=np.uint8))
        if self._scale is not None and height % CELL:
            parts.append(self._emit_band(height - height % CELL, NO_ROW))
        return self._pieces.keep(concatenate(parts))

    def pieces(self) -> Iterator[Regions]:
        """Yield the pieces of split features, after :meth:`finish`; pieces of one feature have the same family."""
        families = self._state.families
        known = np.array([find_family(families, i) for i in range(self._state.counters[FAMILIES] + 1)])
        return self._pieces.read(known)

    @property
    def _row(self) -> int:
        return int(self._state.counters[ROW])

    def _scan(self, rows: np.ndarray, confidence: np.ndarray) -> list[Regions]:
        """Scan rows, those on the lattice one by one; when simplifying, features are emitted only after these."""
        first, at, parts = self._row, 0, [Regions.none()]
        for row in range(max(first + -first % CELL, CELL), first + len(rows), CELL):
            self._scan_all(rows[at : row - first], confidence[at : row - first])
            at = row - first + 1
            cut = self._max_vertices is not None and cut_giants(self._state, self._max_vertices, self._cut)
            self._scan_all(rows[at - 1 : at], confidence[at - 1 : at])
            if cut:
                continue_cut(self._state, self._cut)
            if self._scale is not None:
                parts.append(self._emit_band(row - CELL, row))
        self._scan_all(rows[at:], confidence[at:])
        if self._scale is None:
            parts.append(self._emit())
        return parts

    def _scan_all(self, rows: np.ndarray, confidence: np.ndarray) -> None:
        done = 0
        while done < len(rows):
            self._state = with_capacity(self._state)
            done = scan_rows(self._state, rows, confidence, done)

    def _emit_band(self, top: int, bottom: int) -> Regions:
        self._carried = simplify_band(self._state, self._occupied, top, bottom, self._carried, self._scale)
        return self._emit()

    def _emit(self) -> Regions:
        regions = Regions(*emit_closed(self._state))
        sort_free_slots(self._state)
        if self._radius is None:
            return regions
        if self._closed:
            columns = regions.corners[:, 0] & ~ROUND
            on_border = (columns == 0) | (columns == self._width)
            regions.corners[on_border, 0] = columns[on_border]
        return smooth_corners(regions, self._radius)


class Pieces:
    """Holds the pieces of split features on disk until the end of the map."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._count = 0

    def keep(self, regions: Regions) -> Regions:
        """Store the pieces among features; return the others."""
        pieces = regions.families > 0
        if not pieces.any():
            return regions
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - gone when it is closed, or collected
        kept = regions.where(pieces)
        for entry in fields(Regions):
            np.save(self._file, getattr(kept, entry.name))
        self._count += 1
        return regions.where(~pieces)

    def read(self, families: np.ndarray) -> Iterator[Regions]:
        """Yield the pieces in order.

        Args:
            families: Representative of each number of a family.
        """
        if self._file is None:
            return
        self._file.seek(0)
        for _ in range(self._count):
            found = Regions(*(np.load(self._file) for _ in fields(Regions)))
            yield replace(found, families=families[found.families])
        self._file.close()


def _limit(max_vertices: int | None, smooth: bool) -> int | None:
    if max_vertices is None:
        return None
    return min(max_vertices // (3 if smooth else 1), _MOST_VERTICES)  # a rounded corner has three vertices


@cache
def _announce_compilation() -> None:
    """Explain once why the first map takes longer, if numba has no compiled code of the tracer yet."""
    kept = getattr(scan_rows, "stats", None)  # absent if numba's compilation is disabled
    if kept is not None and not any(Path(kept.cache_path).glob("scan.scan_rows-*.nbi")):
        log.info("The tracer is being compiled for this processor, which takes up to a minute, once.")


def trace(
    values: np.ndarray, transform: Affine, *, tolerance: tuple[float, float] | None = None, smooth: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Trace a raster in memory.

    Args:
        values: (H, W) integers in the range of int32; -1 for pixels without polygons.
        transform: Pixel (column, row) to CRS coordinates (x, y).
        tolerance: Maximum distance of a simplified boundary from the pixel edges, in columns and rows; None keeps the
            edges.
        smooth: Whether corners are rounded.

    Returns:
        (P,) shapely polygons and their values (P,) int32, in the order in which regions close.
    """
    tracer = Tracer(values.shape[1], tolerance=tolerance, smooth=smooth)
    strips = [values[top : top + _STRIP_ROWS] for top in range(0, len(values), _STRIP_ROWS)]
    polygons, found = [np.empty(0, dtype=object)], [np.empty(0, dtype=np.int32)]
    with ThreadPoolExecutor(1) as pool:  # compiled code releases the GIL while shapely holds it
        for regions in chain(pool.map(tracer.push, strips), map(Tracer.finish, [tracer])):
            polygons.append(to_shapely(regions, transform))
            found.append(regions.values)
    return np.concatenate(polygons), np.concatenate(found)
