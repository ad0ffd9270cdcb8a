"""Trace a class raster that arrives in strips of rows into polygons that share every boundary."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from satseg.vectorization.planar import ROW, VOID, new_map, with_room
from satseg.vectorization.regions import Regions, concatenate, to_shapely
from satseg.vectorization.rings import emit_closed
from satseg.vectorization.scan import scan_rows
from satseg.vectorization.simplify import CELL, simplify_band

if TYPE_CHECKING:
    from affine import Affine

NO_ROW = -1

_STRIP_ROWS = 256

ROWS_AT_ONCE = 64  # closed regions are handed out this often, so that tables stay small enough for the cache


class Tracer:
    """Rows in, polygons of closed regions out. Neither depends on the height of the strips.

    Regions are 4-connected pixels of equal value. Vertices lie where a boundary turns and where three or more regions
    meet; all others are left out, so polygons form a valid coverage, and each is valid by the OGC's rules. So they
    stay when they are simplified.

    Args:
        width: Columns of the raster.
        tolerance: How far a simplified boundary may be from the pixels' edges, as columns and rows; None keeps them.
    """

    def __init__(self, width: int, *, tolerance: tuple[float, float] | None = None) -> None:
        self._width = width
        self._state = new_map(width, lattice=CELL if tolerance else 0)
        self._scale = 1 / np.array(tolerance) if tolerance else None
        self._occupied = np.zeros((CELL + 1, width + 1) if tolerance else 0, dtype=np.uint8)
        self._carried = 0

    def push(self, values: np.ndarray) -> Regions:
        """Take the next rows, at least one.

        Args:
            values: (H, W) integers that fit into int32; -1 where nothing is to be emitted.

        Returns:
            Regions that have closed, which may be none.
        """
        parts = []
        for top in range(0, len(values), ROWS_AT_ONCE):
            strip = values[top : top + ROWS_AT_ONCE]
            rows = np.full((len(strip), self._width + 1), VOID, dtype=np.int32)
            rows[:, :-1] = strip
            parts += self._scan(rows)
        return concatenate(parts)

    def finish(self) -> Regions:
        """Return the regions that reach the last row."""
        height = int(self._state.counters[ROW])
        parts = self._scan(np.full((1, self._width + 1), VOID, dtype=np.int32))
        if self._scale is not None and height % CELL:
            parts.append(self._emit_band(height - height % CELL, NO_ROW))
        return concatenate(parts)

    def _scan(self, rows: np.ndarray) -> list[Regions]:
        """Scan rows; with a lattice, regions come out only after the last row of corners of each band."""
        if self._scale is None:
            self._scan_all(rows)
            return [Regions(*emit_closed(self._state))]
        before = int(self._state.counters[ROW])
        ends = [row for row in range(before, before + len(rows)) if row and row % CELL == 0]
        parts = [Regions.none()]
        for row in ends:
            self._scan_all(rows[: row + 1 - before])
            rows, before = rows[row + 1 - before :], row + 1
            parts.append(self._emit_band(row - CELL, row))
        self._scan_all(rows)
        return parts

    def _scan_all(self, rows: np.ndarray) -> None:
        done = 0
        while done < len(rows):
            self._state = with_room(self._state)
            done = scan_rows(self._state, rows, done)

    def _emit_band(self, top: int, bottom: int) -> Regions:
        self._carried = simplify_band(self._state, self._occupied, top, bottom, self._carried, self._scale)
        return Regions(*emit_closed(self._state))


def trace(
    values: np.ndarray, transform: Affine, *, tolerance: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Trace a raster in memory.

    Args:
        values: (H, W) integers that fit into int32; -1 where nothing is to be emitted.
        transform: Pixel (column, row) to CRS coordinates (x, y).
        tolerance: How far a simplified boundary may be from the pixels' edges, as columns and rows; None keeps them.

    Returns:
        (P,) shapely polygons and their values (P,) int32, in the order in which regions close.
    """
    tracer = Tracer(values.shape[1], tolerance=tolerance)
    strips = [values[top : top + _STRIP_ROWS] for top in range(0, len(values), _STRIP_ROWS)]
    polygons, found = [np.empty(0, dtype=object)], [np.empty(0, dtype=np.int32)]
    with ThreadPoolExecutor(1) as pool:  # compiled code lets go of the interpreter while shapely holds it
        for regions in chain(pool.map(tracer.push, strips), map(Tracer.finish, [tracer])):
            polygons.append(to_shapely(regions, transform))
            found.append(regions.values)
    return np.concatenate(polygons), np.concatenate(found)
