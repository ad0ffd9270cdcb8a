"""Trace a class raster that arrives in strips of rows into polygons that share every boundary."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from satseg.vectorization.pieces import Pieces
from satseg.vectorization.planar import FAMILIES, ROUND, ROW, VOID, find_family, new_map, sort_free_slots, with_room
from satseg.vectorization.regions import Regions, concatenate, to_shapely
from satseg.vectorization.rings import emit_closed
from satseg.vectorization.scan import cut_giants, hand_on, scan_rows
from satseg.vectorization.simplify import CELL, simplify_band
from satseg.vectorization.smooth import smooth as smooth_corners

if TYPE_CHECKING:
    from affine import Affine

log = logging.getLogger("satseg")

NO_ROW = -1

_STRIP_ROWS = 256

_MOST_VERTICES = 2**62  # compiled code counts in 64 bits

ROWS_AT_ONCE = 16  # closed regions are handed out this often, so that tables stay small enough for the cache


class Tracer:
    """Rows in, polygons of closed regions out. Neither depends on the height of the strips.

    Regions are 4-connected pixels of equal value, each a feature of one polygon. With ``diagonal``, regions that touch
    at a corner are one feature of several polygons, which are the same: so where two such features cross at a corner,
    both hold together and nothing overlaps.

    Vertices lie where a boundary turns and where three or more regions meet; all others are left out, so polygons form
    a valid coverage, and each is valid by the OGC's rules. So they stay when they are simplified.

    Args:
        width: Columns of the raster.
        tolerance: How far a simplified boundary may be from the pixels' edges, as columns and rows; None keeps them.
        diagonal: Whether regions are 8-connected.
        smooth: Whether corners are rounded, by half a pixel or by the tolerance.
        confidence: Whether rows come with confidence.
        max_vertices: Features that have more are cut at the next row of the lattice, and :meth:`pieces` hands them out;
            None cuts none. Counted before they are simplified; a corner that may be rounded counts as three.
        closed: Whether the left border is the right one, so that corners on it stay where the other side knows them.
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
        _tell_of_compiling()
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
            values: (H, W) integers that fit into int32; -1 where nothing is to be emitted.
            confidence: (H, W) uint8, probability times 254; 255 where it does not count.

        Returns:
            Features that have closed, which may be none.
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
        """Yield the pieces of features that were cut, after the end; those of one feature have one family."""
        families = self._state.families
        known = np.array([find_family(families, i) for i in range(self._state.counters[FAMILIES] + 1)])
        return self._pieces.hand_out(known)

    @property
    def _row(self) -> int:
        return int(self._state.counters[ROW])

    def _scan(self, rows: np.ndarray, confidence: np.ndarray) -> list[Regions]:
        """Scan rows, those of the lattice each for itself; to simplify, features come out only after these."""
        first, at, parts = self._row, 0, [Regions.none()]
        for row in range(max(first + -first % CELL, CELL), first + len(rows), CELL):
            self._scan_all(rows[at : row - first], confidence[at : row - first])
            at = row - first + 1
            cut = self._max_vertices is not None and cut_giants(self._state, self._max_vertices, self._cut)
            self._scan_all(rows[at - 1 : at], confidence[at - 1 : at])
            if cut:
                hand_on(self._state, self._cut)
            if self._scale is not None:
                parts.append(self._emit_band(row - CELL, row))
        self._scan_all(rows[at:], confidence[at:])
        if self._scale is None:
            parts.append(self._emit())
        return parts

    def _scan_all(self, rows: np.ndarray, confidence: np.ndarray) -> None:
        done = 0
        while done < len(rows):
            self._state = with_room(self._state)
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


def _limit(max_vertices: int | None, smooth: bool) -> int | None:
    if max_vertices is None:
        return None
    return min(max_vertices // (3 if smooth else 1), _MOST_VERTICES)  # a rounded corner is three vertices


@cache
def _tell_of_compiling() -> None:
    """Say once why the first map takes longer, where numba keeps no compiled code of the tracer yet."""
    kept = getattr(scan_rows, "stats", None)  # numba can be told not to compile
    if kept is not None and not any(Path(kept.cache_path).glob("scan.scan_rows-*.nbi")):
        log.info("The tracer is compiled for this processor, once: that takes up to a minute.")


def trace(
    values: np.ndarray, transform: Affine, *, tolerance: tuple[float, float] | None = None, smooth: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Trace a raster in memory.

    Args:
        values: (H, W) integers that fit into int32; -1 where nothing is to be emitted.
        transform: Pixel (column, row) to CRS coordinates (x, y).
        tolerance: How far a simplified boundary may be from the pixels' edges, as columns and rows; None keeps them.
        smooth: Whether corners are rounded.

    Returns:
        (P,) shapely polygons and their values (P,) int32, in the order in which regions close.
    """
    tracer = Tracer(values.shape[1], tolerance=tolerance, smooth=smooth)
    strips = [values[top : top + _STRIP_ROWS] for top in range(0, len(values), _STRIP_ROWS)]
    polygons, found = [np.empty(0, dtype=object)], [np.empty(0, dtype=np.int32)]
    with ThreadPoolExecutor(1) as pool:  # compiled code lets go of the interpreter while shapely holds it
        for regions in chain(pool.map(tracer.push, strips), map(Tracer.finish, [tracer])):
            polygons.append(to_shapely(regions, transform))
            found.append(regions.values)
    return np.concatenate(polygons), np.concatenate(found)
