"""The planar map of a class raster while it is traced: vertices, their links, and regions.

Corners of pixels where a boundary turns, or where three or more regions meet, are vertices; each knows its neighbours
along the boundary in up to four directions. So a boundary between two regions exists once, whoever walks along it, and
an arc (boundary between two junctions) needs no record of its own. Regions are 4-connected sets of equal pixels, joined
by union-find. Slots of both tables are used again once nothing needs them, so memory follows what is open.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

VOID = -1
"""Value of pixels that belong to no emitted region: nodata, outside, classes left out."""

NONE = -1

UP, RIGHT, DOWN, LEFT = 0, 1, 2, 3
"""Directions, clockwise on a raster whose rows go down; the first four columns of a vertex."""

X, Y, STATE, NEXT = 4, 5, 6, 7
"""Other columns of a vertex: column and row of the corner, flags, next vertex in a list of hole candidates."""

VERTEX_COLUMNS = 8

SECTORS = 7
"""Bits of STATE that count what still needs the vertex: the sectors around it whose regions are not yet emitted, or,
once it is dropped, the regions whose lists name it."""

PINCH = 16
"""Flag: four boundaries meet here and two opposite pixels are equal, so a ring may touch itself."""

WALKED = 32
"""Flag, shifted by a direction: a ring has been walked that reaches the vertex in that direction."""

ANCHOR = 512
"""Flag: an arc ends here, at a junction or where it leaves a cell of the lattice."""

SEEN = 1024
"""Flag: the vertex lies inside an arc that has been simplified."""

DROPPED = 2048
"""Flag: simplified away; its links lead to the vertices that are left on both sides."""

PARENT, ACTIVE, VALUE, SEED, HOLES, LAST_HOLE, MEMBER = 0, 1, 2, 3, 4, 5, 6
"""Columns of a region: union-find parent; runs of pixels at the front; value of its pixels; its first vertex; head and
tail of the list of hole candidates; next slot in the ring of slots that were joined into it."""

REGION_COLUMNS = 8

ROW, VERTICES_LEFT, REGIONS_LEFT, CLOSED, FRESH, LATTICE = 0, 1, 2, 3, 4, 5
"""Counters: rows seen, free slots of both tables, regions closed and not yet emitted, vertices in the list of fresh
ones, side of the lattice's cells in pixels (0: none)."""


class PlanarMap(NamedTuple):
    """State of a trace between two rows; arrays only, so that compiled code can take it.

    Args:
        above: (W + 2,) int32 values of the last row, with VOID on both sides.
        labels: (W + 2,) int32 region slot of each pixel of the last row; meaningless where VOID.
        hanging: (W + 1,) int32 vertex from which a vertical boundary hangs down to the front, per column of corners.
        vertices: (N, 8) int32, see the columns above. A link is ``4 * vertex + slot`` by which it is entered.
        fresh: (N,) int32 vertices of the current band of the lattice, in the order of rows; unused without a lattice.
        pinches: (N,) int64 place of a pinch vertex in the ring that is being walked.
        free_vertices: (N,) int32 stack of unused vertex slots.
        regions: (M, 8) int32, see the columns above.
        free_regions: (M,) int32 stack of unused region slots.
        pixels: (M,) int64 pixel count of each region slot.
        closed: (M,) int32 regions that have closed, in the order of closing.
        counters: (6,) int64, see the columns above.
    """

    above: np.ndarray
    labels: np.ndarray
    hanging: np.ndarray
    vertices: np.ndarray
    fresh: np.ndarray
    pinches: np.ndarray
    free_vertices: np.ndarray
    regions: np.ndarray
    free_regions: np.ndarray
    pixels: np.ndarray
    closed: np.ndarray
    counters: np.ndarray


def new_map(width: int, *, lattice: int = 0) -> PlanarMap:
    """Return the empty map of a raster with ``width`` columns, cut along a lattice of that many pixels if not 0."""
    slots = 4 * (width + 2)
    return PlanarMap(
        above=np.full(width + 2, VOID, dtype=np.int32),
        labels=np.full(width + 2, NONE, dtype=np.int32),
        hanging=np.full(width + 1, NONE, dtype=np.int32),
        vertices=np.empty((slots, VERTEX_COLUMNS), dtype=np.int32),
        fresh=np.empty(slots, dtype=np.int32),
        pinches=np.zeros(slots, dtype=np.int64),
        free_vertices=np.arange(slots, dtype=np.int32),
        regions=np.empty((slots, REGION_COLUMNS), dtype=np.int32),
        free_regions=np.arange(slots, dtype=np.int32),
        pixels=np.empty(slots, dtype=np.int64),
        closed=np.empty(slots, dtype=np.int32),
        counters=np.array([0, slots, slots, 0, 0, lattice], dtype=np.int64),
    )


def with_room(state: PlanarMap) -> PlanarMap:
    """Return the map with larger tables where they could not take another row; contents and slots stay."""
    needed = len(state.labels)
    if state.counters[VERTICES_LEFT] < needed:
        state = _more_vertices(state)
    if state.counters[REGIONS_LEFT] < needed:
        state = _more_regions(state)
    return state


def _more_vertices(state: PlanarMap) -> PlanarMap:
    free = _more_slots(state.free_vertices, state.counters, VERTICES_LEFT)
    tables = {name: _doubled(getattr(state, name)) for name in ("vertices", "fresh", "pinches")}
    return state._replace(free_vertices=free, **tables)


def _more_regions(state: PlanarMap) -> PlanarMap:
    free = _more_slots(state.free_regions, state.counters, REGIONS_LEFT)
    tables = {name: _doubled(getattr(state, name)) for name in ("regions", "pixels", "closed")}
    return state._replace(free_regions=free, **tables)


def _doubled(table: np.ndarray) -> np.ndarray:
    larger = np.zeros((2 * len(table), *table.shape[1:]), dtype=table.dtype)
    larger[: len(table)] = table
    return larger


def _more_slots(free: np.ndarray, counters: np.ndarray, counter: int) -> np.ndarray:
    size, left = len(free), int(counters[counter])
    stack = np.empty(2 * size, dtype=np.int32)
    stack[:left] = free[:left]
    stack[left : left + size] = np.arange(size, 2 * size, dtype=np.int32)
    counters[counter] = left + size
    return stack


@njit(cache=True, nogil=True)
def find(regions: np.ndarray, region: int) -> int:
    """Return the slot that stands for the region that ``region`` was joined into."""
    while regions[region, PARENT] != region:
        regions[region, PARENT] = regions[regions[region, PARENT], PARENT]
        region = regions[region, PARENT]
    return region


@njit(cache=True, nogil=True)
def join(regions: np.ndarray, vertices: np.ndarray, one: int, two: int) -> None:
    """Make one region of two; which slot stands for it follows from the scene alone (the earlier first vertex)."""
    one, two = find(regions, one), find(regions, two)
    if one == two:
        return
    first, second = regions[one, SEED], regions[two, SEED]
    if vertices[second, Y] < vertices[first, Y] or (
        vertices[second, Y] == vertices[first, Y] and vertices[second, X] < vertices[first, X]
    ):
        one, two = two, one
    regions[two, PARENT] = one
    regions[one, ACTIVE] += regions[two, ACTIVE]
    regions[one, MEMBER], regions[two, MEMBER] = regions[two, MEMBER], regions[one, MEMBER]
    if regions[two, HOLES] != NONE:
        if regions[one, HOLES] == NONE:
            regions[one, HOLES] = regions[two, HOLES]
        else:
            vertices[regions[one, LAST_HOLE], NEXT] = regions[two, HOLES]
        regions[one, LAST_HOLE] = regions[two, LAST_HOLE]
