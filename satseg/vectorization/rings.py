"""Walk the boundaries of closed regions in a planar map and hand out their rings."""

from __future__ import annotations

import numpy as np
from numba import njit

from satseg.vectorization.planar import (
    CLOSED,
    HOLES,
    LEFT,
    MEMBER,
    NEXT,
    NONE,
    PINCH,
    REGIONS_LEFT,
    SECTORS,
    SEED,
    STATE,
    UP,
    VALUE,
    VERTICES_LEFT,
    WALKED,
    PlanarMap,
    X,
    Y,
)


@njit(cache=True, nogil=True)
def emit_closed(state: PlanarMap) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the polygons of all closed regions, in the order of closing, and give their slots back.

    The outer ring comes first and runs clockwise as the raster is seen (rows down), holes counterclockwise; both end
    where they began. A ring that would touch itself at a pixel corner is split there, so all rings are simple.

    Returns:
        Corners (V, 2) int32 as (column, row); first corner of each ring and the end (R + 1,) int64; first ring of each
        polygon and the end (P + 1,) int64; value (P,) int32; pixels (P,) int64.
    """
    count = state.counters[CLOSED]
    corners = np.empty((1024, 2), dtype=np.int32)
    rings = np.zeros(count + 16, dtype=np.int64)
    loops = np.empty((64, 2), dtype=np.int32)
    loop_ends = np.empty(16, dtype=np.int64)
    polygons = np.zeros(count + 1, dtype=np.int64)
    values = np.empty(count, dtype=np.int32)
    pixels = np.zeros(count, dtype=np.int64)
    num_rings = 0
    for i in range(count):
        region = state.regions[state.closed[i]]
        start, direction, hole = region[SEED], UP, region[HOLES]
        while start != NONE:
            first = rings[num_rings]
            corners, end, loops, loop_ends, num_loops = _walk(state, start, direction, corners, first, loops, loop_ends)
            rings = _room(rings, num_rings + 2 + num_loops)
            num_rings += 1
            rings[num_rings] = end
            corners = _room_for_corners(corners, end + (loop_ends[num_loops - 1] if num_loops else 0))
            for loop in range(num_loops):
                begin = loop_ends[loop - 1] if loop else 0
                length = loop_ends[loop] - begin
                corners[end : end + length] = loops[begin : begin + length]
                end += length
                num_rings += 1
                rings[num_rings] = end
            while hole != NONE and state.vertices[hole, STATE] & WALKED:
                hole = state.vertices[hole, NEXT]
            start, direction = hole, LEFT
        polygons[i + 1] = num_rings
        values[i] = region[VALUE]
        for ring in range(polygons[i], num_rings):
            pixels[i] += _twice_area(corners, rings[ring], rings[ring + 1])
        pixels[i] //= 2
        _free_region(state, state.closed[i])
    state.counters[CLOSED] = 0
    return corners[: rings[num_rings]], rings[: num_rings + 1], polygons, values, pixels


@njit(cache=True, nogil=True)
def _walk(
    state: PlanarMap,
    start: int,
    arrived: int,
    corners: np.ndarray,
    first: int,
    loops: np.ndarray,
    loop_ends: np.ndarray,
) -> tuple[np.ndarray, int, np.ndarray, np.ndarray, int]:
    """Walk one boundary with the region on the right hand, from a vertex reached in direction ``arrived``.

    Returns:
        Corners with the ring from ``first`` on; its end; the loops that were split off, each closed; the end of each
        loop; their number.
    """
    vertices = state.vertices
    end, num_loops = first, 0
    vertex, direction = start, arrived
    while True:
        if end + 2 >= len(corners):
            corners = _room_for_corners(corners, end + 2)
        corners[end, 0], corners[end, 1] = vertices[vertex, X], vertices[vertex, Y]
        end += 1
        if vertices[vertex, STATE] & PINCH:
            place = state.pinches[vertex]
            if first <= place < end - 1 and _same(corners, place, end - 1):
                loops, loop_ends = _split_off(corners, place, end, loops, loop_ends, num_loops)
                num_loops += 1
                end = place + 1
            else:
                state.pinches[vertex] = end - 1
        direction = _leave(state, vertex, direction)
        link = vertices[vertex, direction]
        vertex, direction = link >> 2, (link + 2) & 3
        if vertex == start and direction == arrived:
            break
    corners[end] = corners[first]
    return corners, end + 1, loops, loop_ends, num_loops


@njit(cache=True, nogil=True)
def _leave(state: PlanarMap, vertex: int, direction: int) -> int:
    """Tick a sector of a vertex off and return the direction that keeps close to the pixel on the right hand."""
    record = state.vertices[vertex]
    if direction == LEFT:
        record[STATE] |= WALKED
    record[STATE] -= 1
    if record[STATE] & SECTORS == 0:
        state.free_vertices[state.counters[VERTICES_LEFT]] = vertex
        state.counters[VERTICES_LEFT] += 1
    for turn in (1, 0, 3):
        if record[(direction + turn) & 3] != NONE:
            return (direction + turn) & 3
    return NONE


@njit(cache=True, nogil=True)
def _split_off(
    corners: np.ndarray, begin: int, end: int, loops: np.ndarray, loop_ends: np.ndarray, num_loops: int
) -> tuple[np.ndarray, np.ndarray]:
    """Copy a closed loop behind those that were split off before."""
    used = loop_ends[num_loops - 1] if num_loops else 0
    loops = _room_for_corners(loops, used + end - begin)
    loops[used : used + end - begin] = corners[begin:end]
    loop_ends = _room(loop_ends, num_loops + 1)
    loop_ends[num_loops] = used + end - begin
    return loops, loop_ends


@njit(cache=True, nogil=True)
def _free_region(state: PlanarMap, region: int) -> None:
    slot = region
    while True:
        state.free_regions[state.counters[REGIONS_LEFT]] = slot
        state.counters[REGIONS_LEFT] += 1
        slot = state.regions[slot, MEMBER]
        if slot == region:
            return


@njit(cache=True, nogil=True)
def _same(corners: np.ndarray, one: int, two: int) -> bool:
    return corners[one, 0] == corners[two, 0] and corners[one, 1] == corners[two, 1]


@njit(cache=True, nogil=True)
def _twice_area(corners: np.ndarray, begin: int, end: int) -> int:
    total = 0
    for i in range(begin, end - 1):
        total += np.int64(corners[i, 0]) * corners[i + 1, 1] - np.int64(corners[i + 1, 0]) * corners[i, 1]
    return total


@njit(cache=True, nogil=True)
def _room(array: np.ndarray, needed: int) -> np.ndarray:
    if needed <= len(array):
        return array
    larger = np.zeros(2 * needed, dtype=array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True, nogil=True)
def _room_for_corners(corners: np.ndarray, needed: int) -> np.ndarray:
    if needed <= len(corners):
        return corners
    larger = np.empty((2 * needed, 2), dtype=np.int32)
    larger[: len(corners)] = corners
    return larger
