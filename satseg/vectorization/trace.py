"""Trace a class raster that arrives in strips of rows into polygons that share every boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from satseg.vectorization.planar import VOID, new_map, with_room
from satseg.vectorization.regions import Regions, concatenate, to_shapely
from satseg.vectorization.rings import emit_closed
from satseg.vectorization.scan import scan_rows

if TYPE_CHECKING:
    from affine import Affine

ROWS_AT_ONCE = 64  # closed regions are handed out this often, so that tables stay small enough for the cache


class Tracer:
    """Rows in, polygons of closed regions out. Neither depends on the height of the strips.

    Regions are 4-connected pixels of equal value. Vertices lie where a boundary turns and where three or more regions
    meet; all others are left out, so polygons form a valid coverage, and each is valid by the OGC's rules.

    Args:
        width: Columns of the raster.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._state = new_map(width)

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
            parts.append(self._scan(rows))
        return concatenate(parts)

    def finish(self) -> Regions:
        """Return the regions that reach the last row."""
        return self._scan(np.full((1, self._width + 1), VOID, dtype=np.int32))

    def _scan(self, rows: np.ndarray) -> Regions:
        done = 0
        while done < len(rows):
            self._state = with_room(self._state)
            done = scan_rows(self._state, rows, done)
        return Regions(*emit_closed(self._state))


def trace(values: np.ndarray, transform: Affine) -> tuple[np.ndarray, np.ndarray]:
    """Trace a raster in memory.

    Args:
        values: (H, W) integers that fit into int32; -1 where nothing is to be emitted.
        transform: Pixel (column, row) to CRS coordinates (x, y).

    Returns:
        (P,) shapely polygons and their values (P,) int32, in the order in which regions close.
    """
    tracer = Tracer(values.shape[1])
    regions = concatenate([tracer.push(values), tracer.finish()])
    return to_shapely(regions, transform), regions.values
