"""The planar map of a class raster during tracing: vertices, their links, and regions.

Vertices are pixel corners where a boundary turns, or where three or more regions meet; each links to its neighbours
along the boundary in up to four directions. So a boundary between two regions is stored once for both, and arcs
(boundaries between two junctions) need no records of their own. Regions are 4-connected sets of equal pixels, joined by
union-find. Slots of both tables are reused, so memory is proportional to the open regions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from satseg.files.mmap_arrays import mmap_array

VOID = -1
"""Value of pixels without polygons: nodata, outside, classes left out."""

NONE = -1

UP, RIGHT, DOWN, LEFT = 0, 1, 2, 3
"""Directions, clockwise on a raster whose rows go down; the first four columns of a vertex."""

X, Y, STATE, NEXT = 4, 5, 6, 7
"""Other columns of a vertex: column and row of the corner, flags, next vertex in a list of hole candidates."""

VERTEX_COLUMNS = 8

SECTORS = 7
"""Bits of STATE that count references to the vertex: the sectors around it whose regions are not yet emitted, or, once
it is dropped, the regions whose lists contain it."""

PINCH = 16
"""Flag: four boundaries meet and two opposite pixels are equal, so a ring may touch itself."""

WALKED = 32
"""Flag, shifted by a direction: a ring that reaches the vertex in that direction has been walked."""

ANCHOR = 512
"""Flag: an arc ends here, at a junction or where it leaves a cell of the lattice."""

SEEN = 1024
"""Flag: the vertex lies inside an arc that has been simplified."""

DROPPED = 2048
"""Flag: simplified away; its links lead to the remaining vertices on both sides."""

TURN = 12
"""First of two bits of STATE: the XOR of the two slots of a vertex that has two; 0 if it has more."""

ROUND = 1 << 30
"""Flag: the corner may be rounded. It is set in the columns of emitted rings."""

PARENT, ACTIVE, VALUE, SEED, HOLES, LAST_HOLE, MEMBER, GROUP, PART, FAMILY = range(10)
"""Columns of a region: union-find parent; runs of pixels in the last row; value of its pixels; its first vertex; head
and tail of the list of hole candidates; next slot in the ring of slots joined into it; union-find parent of the
features formed by 8-connected regions; next slot in the ring of slots of a feature; number of the region that it is a
piece of, or 0 (this one and the number of runs refer to the whole feature)."""

REGION_COLUMNS = 10

ROW, VERTICES_LEFT, REGIONS_LEFT, CLOSED, FRESH, LATTICE, FEATURES, FAMILIES, ROUNDS = range(9)
"""Counters: rows scanned, free slots of both tables, features closed but not yet emitted, vertices in the list of fresh
ones, side of the lattice's cells in pixels (0: none), column of regions that defines features (PARENT, or GROUP if they
are 8-connected), number of split regions, flag of corners to be rounded (ROUND or 0)."""

NO_CONFIDENCE = 255
"""Value of pixels whose confidence is not counted."""


class PlanarMap(NamedTuple):
    """State of a trace between two rows, in arrays only, for compiled code.

    Args:
        above: (W + 2,) int32 values of the last row, with VOID on both sides.
        labels: (W + 2,) int32 region slot of each pixel of the last row; undefined for VOID.
        hanging: (W + 1,) int32 vertex from which a vertical boundary extends down to the last row, per column.
        vertices: (N, 8) int32, see the columns above. A link is ``4 * vertex + slot``, the slot by which it is entered.
        fresh: (N,) int32 vertices of the current band of the lattice, by row; unused without a lattice.
        pinches: (N,) int64 position of a pinch vertex in the ring that is being walked.
        free_vertices: (N,) int32 stack of unused vertex slots.
        regions: (M, 10) int32, see the columns above.
        free_regions: (M,) int32 stack of unused region slots.
        pixels: (M,) int64 pixel count of each region slot.
        outline: (M,) int64 vertices around each feature, at its root slot; those of the last row may be at the slot of
            the first pixel of a run.
        histograms: (M, 256) uint32 pixels by 8-bit confidence of each region slot; (0, 256) without confidence.
        closed: (M,) int32 closed features, in the order of closing.
        families: (F,) int32 union-find parent of the split regions.
        counters: (9,) int64, see the columns above.
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
    outline: np.ndarray
    histograms: np.ndarray
    closed: np.ndarray
    families: np.ndarray
    counters: np.ndarray


def new_map(
    width: int, *, lattice: int = 0, diagonal: bool = False, confidence: bool = False, rounds: bool = False
) -> PlanarMap:
    """Return the empty map of a raster.

    Args:
        width: Columns.
        lattice: Side of the cells in pixels at whose borders arcs end; 0 for none.
        diagonal: Whether regions that touch at a corner form one feature.
        confidence: Whether histograms of confidence are kept.
        rounds: Whether corners are to be rounded.
    """
    slots = 2 * (width + 1024)  # for the worst two rows; tables grow if a map needs more
    by, flag = GROUP if diagonal else PARENT, ROUND if rounds else 0
    return PlanarMap(
        above=np.full(width + 2, VOID, dtype=np.int32),
        labels=np.full(width + 2, NONE, dtype=np.int32),
        hanging=np.full(width + 1, NONE, dtype=np.int32),
        vertices=mmap_array((slots, VERTEX_COLUMNS), dtype=np.int32),
        fresh=mmap_array(slots, dtype=np.int32),
        pinches=mmap_array(slots, dtype=np.int64),
        free_vertices=np.arange(slots, dtype=np.int32),
        regions=mmap_array((slots, REGION_COLUMNS), dtype=np.int32),
        free_regions=np.arange(slots, dtype=np.int32),
        pixels=mmap_array(slots, dtype=np.int64),
        outline=mmap_array(slots, dtype=np.int64),
        histograms=mmap_array((slots if confidence else 0, 256), dtype=np.uint32),
        closed=mmap_array(slots, dtype=np.int32),
        families=np.arange(2 * (width + 2), dtype=np.int32),
        counters=np.array([0, slots, slots, 0, 0, lattice, by, 0, flag], dtype=np.int64),
    )


def with_capacity(state: PlanarMap) -> PlanarMap:
    """Return the map with tables large enough for another row; contents and slots are unchanged."""
    needed = len(state.labels)
    if state.counters[VERTICES_LEFT] < needed:
        state = _more_vertices(state)
    if state.counters[REGIONS_LEFT] < needed:
        state = _more_regions(state)
    if state.counters[FAMILIES] + needed > len(state.families):
        known = len(state.families)
        state = state._replace(families=np.append(state.families, np.arange(known, 2 * known, dtype=np.int32)))
    return state


def sort_free_slots(state: PlanarMap) -> None:
    """Sort free slots so that they are taken in ascending order, for locality in memory."""
    for stack, left in ((state.free_vertices, VERTICES_LEFT), (state.free_regions, REGIONS_LEFT)):
        stack[: state.counters[left]][::-1].sort()  # slots are taken from the end


def _more_vertices(state: PlanarMap) -> PlanarMap:
    free = _more_slots(state.free_vertices, state.counters, VERTICES_LEFT)
    tables = {name: _doubled(getattr(state, name)) for name in ("vertices", "fresh", "pinches")}
    return state._replace(free_vertices=free, **tables)


def _more_regions(state: PlanarMap) -> PlanarMap:
    free = _more_slots(state.free_regions, state.counters, REGIONS_LEFT)
    tables = {name: _doubled(getattr(state, name)) for name in ("regions", "pixels", "outline", "histograms", "closed")}
    return state._replace(free_regions=free, **tables)


def _doubled(table: np.ndarray) -> np.ndarray:
    larger = mmap_array((2 * len(table), *table.shape[1:]), dtype=table.dtype)
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
def find(regions: np.ndarray, region: int, by: int) -> int:
    """Return the root slot of a region, by the union-find parents in a column."""
    while regions[region, by] != region:
        regions[region, by] = regions[regions[region, by], by]
        region = regions[region, by]
    return region


@njit(cache=True, nogil=True)
def join(
    regions: np.ndarray,
    vertices: np.ndarray,
    outline: np.ndarray,
    families: np.ndarray,
    counters: np.ndarray,
    one: int,
    two: int,
) -> None:
    """Join two regions; the root depends on the scene alone (the earlier first vertex)."""
    one, two = find(regions, one, PARENT), find(regions, two, PARENT)
    if one == two:
        return
    if _begins_first(regions, vertices, two, one):
        one, two = two, one
    regions[two, PARENT] = one
    regions[one, MEMBER], regions[two, MEMBER] = regions[two, MEMBER], regions[one, MEMBER]
    if regions[two, HOLES] != NONE:
        if regions[one, HOLES] == NONE:
            regions[one, HOLES] = regions[two, HOLES]
        else:
            vertices[regions[one, LAST_HOLE], NEXT] = regions[two, HOLES]
        regions[one, LAST_HOLE] = regions[two, LAST_HOLE]
    if counters[FEATURES] == PARENT:
        _merge_counts(regions, outline, families, one, two)
    else:
        join_features(regions, vertices, outline, families, one, two)


@njit(cache=True, nogil=True)
def join_features(
    regions: np.ndarray, vertices: np.ndarray, outline: np.ndarray, families: np.ndarray, one: int, two: int
) -> None:
    """Join the features of two regions, which remain separate polygons."""
    one, two = find(regions, one, GROUP), find(regions, two, GROUP)
    if one == two:
        return
    if _begins_first(regions, vertices, two, one):
        one, two = two, one
    regions[two, GROUP] = one
    regions[one, PART], regions[two, PART] = regions[two, PART], regions[one, PART]
    _merge_counts(regions, outline, families, one, two)


@njit(cache=True, nogil=True)
def _merge_counts(regions: np.ndarray, outline: np.ndarray, families: np.ndarray, one: int, two: int) -> None:
    regions[one, ACTIVE] += regions[two, ACTIVE]
    outline[one] += outline[two]
    outline[two] = 0
    if regions[two, FAMILY]:
        join_families(regions, families, one, regions[two, FAMILY])


@njit(cache=True, nogil=True)
def join_families(regions: np.ndarray, families: np.ndarray, feature: int, family: int) -> None:
    """Mark a feature as a piece of a split region; if it is a piece of another one already, join the two."""
    if regions[feature, FAMILY] == 0:
        regions[feature, FAMILY] = family
        return
    one, two = find_family(families, regions[feature, FAMILY]), find_family(families, family)
    families[max(one, two)] = min(one, two)


@njit(cache=True, nogil=True)
def find_family(families: np.ndarray, family: int) -> int:
    """Return the representative number of a split region."""
    while families[family] != family:
        family = families[family]
    return family


@njit(cache=True, nogil=True)
def _begins_first(regions: np.ndarray, vertices: np.ndarray, one: int, two: int) -> bool:
    first, second = regions[one, SEED], regions[two, SEED]
    if vertices[first, Y] != vertices[second, Y]:
        return vertices[first, Y] < vertices[second, Y]
    return vertices[first, X] < vertices[second, X]
