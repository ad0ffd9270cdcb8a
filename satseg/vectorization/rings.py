"""Walk the boundaries of closed regions in a planar map and emit their rings."""

from __future__ import annotations

import numpy as np
from numba import njit

from satseg.records import CERTAIN
from satseg.vectorization.planar import (
    CLOSED,
    DROPPED,
    FAMILY,
    HOLES,
    LEFT,
    MEMBER,
    NEXT,
    NONE,
    PARENT,
    PART,
    PINCH,
    REGIONS_LEFT,
    ROUND,
    SECTORS,
    SEED,
    STATE,
    TURN,
    UP,
    VALUE,
    VERTICES_LEFT,
    WALKED,
    PlanarMap,
    X,
    Y,
)

_Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@njit(cache=True, nogil=True)
def emit_closed(state: PlanarMap) -> _Arrays:
    """Return the polygons of all closed features, in the order of closing, and free their slots.

    The outer ring is first and runs clockwise as displayed (rows down), holes run counterclockwise; rings are closed.
    A ring that would touch itself at a pixel corner is split there, so all rings are simple.

    Returns:
        Corners (V, 2) int32 as (column, row), with the flag ROUND in columns; first corner of each ring and the end
        (R + 1,) int64; first ring of each polygon and the end (P + 1,) int64; first polygon of each feature and the end
        (F + 1,) int64; value (F,) int32; pixels (F,) int64; mean, minimum and 5th percentile of the confidence (F, 3)
        float32, NaN if unknown; number of the split region that it is a piece of, or 0 (F,) int64.
    """
    regions, vertices, pinches, counters = state.regions, state.vertices, state.pinches, state.counters
    free, count = state.free_vertices, counters[CLOSED]
    corners, rings = np.empty((1024, 2), dtype=np.int32), np.zeros(count + 16, dtype=np.int64)
    polygons, features = np.zeros(count + 16, dtype=np.int64), np.zeros(count + 1, dtype=np.int64)
    values, pixels, families = np.empty(count, np.int32), np.zeros(count, np.int64), np.empty(count, np.int64)
    confidence, histogram = np.full((count, 3), np.nan, dtype=np.float32), np.zeros(256, dtype=np.int64)
    loops, loop_ends = np.empty((64, 2), dtype=np.int32), np.empty(16, dtype=np.int64)
    num_rings, num_polygons, histograms = 0, 0, state.histograms
    for i in range(count):
        feature = slot = state.closed[i]
        values[i], families[i] = regions[feature, VALUE], regions[feature, FAMILY]
        histogram[:] = 0
        while True:
            if regions[slot, PARENT] == slot:
                corners, rings, num_rings, loops, loop_ends = _emit_rings(
                    regions, vertices, pinches, free, counters, slot, corners, rings, num_rings, loops, loop_ends
                )
                polygons = _grow(polygons, num_polygons + 2)
                num_polygons += 1
                polygons[num_polygons] = num_rings
                pixels[i] += _free_region(
                    regions, vertices, free, counters, state.free_regions, state.pixels, histograms, slot, histogram
                )
            slot = regions[slot, PART]
            if slot == feature:
                break
        features[i + 1] = num_polygons
        if len(histograms):
            _summarise(histogram, confidence[i])
    counters[CLOSED] = 0
    ends = rings[: num_rings + 1], polygons[: num_polygons + 1], features
    return corners[: rings[num_rings]], ends[0], ends[1], ends[2], values, pixels, confidence, families


@njit(cache=True, nogil=True)
def _emit_rings(
    regions: np.ndarray,
    vertices: np.ndarray,
    pinches: np.ndarray,
    free_vertices: np.ndarray,
    counters: np.ndarray,
    region: int,
    corners: np.ndarray,
    rings: np.ndarray,
    num_rings: int,
    loops: np.ndarray,
    loop_ends: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, int, np.ndarray, np.ndarray]:
    """Append the rings of a region; return the arrays, which may be reallocated, and the number of rings."""
    hole = regions[region, HOLES]
    start, direction = _entry(vertices, regions[region, SEED], UP)
    while start != NONE:
        first = rings[num_rings]
        corners, end, loops, loop_ends, num_loops = _walk(
            vertices, pinches, free_vertices, counters, start, direction, corners, first, loops, loop_ends
        )
        rings = _grow(rings, num_rings + 2 + num_loops)
        num_rings += 1
        rings[num_rings] = end
        if num_loops:
            corners = _append_loops(corners, rings, num_rings, loops, loop_ends, num_loops)
            num_rings += num_loops
        start = NONE
        while hole != NONE and start == NONE:
            start, direction = _entry(vertices, hole, LEFT)
            if vertices[start, STATE] & (WALKED << direction):
                start = NONE
            hole = vertices[hole, NEXT]
    return corners, rings, num_rings, loops, loop_ends


@njit(cache=True, nogil=True)
def _summarise(histogram: np.ndarray, confidence: np.ndarray) -> None:
    """Fill in mean, minimum and 5th percentile (the smallest value that a twentieth of the pixels do not exceed)."""
    count, total, seen = 0, 0, 0
    for value in range(len(histogram)):
        count += histogram[value]
        total += value * histogram[value]
    if count == 0:
        return
    confidence[0] = total / count / CERTAIN
    for value in range(len(histogram)):
        if seen == 0 and histogram[value]:
            confidence[1] = value / CERTAIN
        seen += histogram[value]
        if 20 * seen >= count:
            confidence[2] = value / CERTAIN
            return


@njit(cache=True, nogil=True)
def _walk(
    vertices: np.ndarray,
    pinches: np.ndarray,
    free_vertices: np.ndarray,
    counters: np.ndarray,
    start: int,
    arrived: int,
    corners: np.ndarray,
    first: int,
    loops: np.ndarray,
    loop_ends: np.ndarray,
) -> tuple[np.ndarray, int, np.ndarray, np.ndarray, int]:
    """Walk one boundary with the region on the right hand, from a vertex reached in direction ``arrived``.

    Returns:
        Corners with the ring from ``first`` on; its end; the loops split off, each closed; the end of each loop; their
        number.
    """
    end, num_loops = first, 0
    vertex, direction = start, arrived
    while True:
        if end + 2 >= len(corners):
            corners = _grow_corners(corners, end + 2)
        state = vertices[vertex, STATE]
        corners[end, 0], corners[end, 1] = vertices[vertex, X] | (state & ROUND), vertices[vertex, Y]
        end += 1
        if state & PINCH:
            place = pinches[vertex]
            if first <= place < end - 1 and _same(corners, place, end - 1):
                loops, loop_ends = _split_off(corners, place, end, loops, loop_ends, num_loops)
                num_loops += 1
                end = place + 1
            else:
                pinches[vertex] = end - 1
        state = (state | (WALKED << direction)) - 1  # one of its sectors is done
        vertices[vertex, STATE] = state
        if state & SECTORS == 0:
            free_vertices[counters[VERTICES_LEFT]] = vertex
            counters[VERTICES_LEFT] += 1
        turn = (state >> TURN) & 3  # nearly always two boundaries meet, and there is only one way on
        direction = (direction + 2) & 3 ^ turn if turn else _leave(vertices, vertex, direction)
        link = vertices[vertex, direction]
        vertex, direction = link >> 2, (link + 2) & 3
        if vertex == start and direction == arrived:
            break
    corners[end, 0], corners[end, 1] = corners[first, 0], corners[first, 1]
    return corners, end + 1, loops, loop_ends, num_loops


@njit(cache=True, nogil=True)
def _leave(vertices: np.ndarray, vertex: int, direction: int) -> int:
    """Return the direction that follows the pixel on the right hand: right, else ahead, else left."""
    if vertices[vertex, (direction + 1) & 3] != NONE:
        return (direction + 1) & 3
    if vertices[vertex, direction] != NONE:
        return direction
    return (direction + 3) & 3


@njit(cache=True, nogil=True)
def _split_off(
    corners: np.ndarray, begin: int, end: int, loops: np.ndarray, loop_ends: np.ndarray, num_loops: int
) -> tuple[np.ndarray, np.ndarray]:
    """Append a closed loop to those split off before."""
    used = loop_ends[num_loops - 1] if num_loops else 0
    loops = _grow_corners(loops, used + end - begin)
    loops[used : used + end - begin] = corners[begin:end]
    loop_ends = _grow(loop_ends, num_loops + 1)
    loop_ends[num_loops] = used + end - begin
    return loops, loop_ends


@njit(cache=True, nogil=True)
def _append_loops(
    corners: np.ndarray,
    rings: np.ndarray,
    num_rings: int,
    loops: np.ndarray,
    loop_ends: np.ndarray,
    num_loops: int,
) -> np.ndarray:
    """Append loops as further rings, for which ``rings`` must have capacity."""
    end = rings[num_rings]
    corners = _grow_corners(corners, end + loop_ends[num_loops - 1])
    for i in range(loop_ends[num_loops - 1]):
        corners[end + i, 0], corners[end + i, 1] = loops[i, 0], loops[i, 1]
    for loop in range(num_loops):
        rings[num_rings + 1 + loop] = end + loop_ends[loop]
    return corners


@njit(cache=True, nogil=True)
def _entry(vertices: np.ndarray, vertex: int, direction: int) -> tuple[int, int]:
    """Return vertex and direction where a ring is entered; a dropped vertex leads to the next one."""
    if vertices[vertex, STATE] & DROPPED == 0:
        return vertex, direction
    link = vertices[vertex, _leave(vertices, vertex, direction)]
    return link >> 2, (link + 2) & 3


@njit(cache=True, nogil=True)
def _free_region(
    regions: np.ndarray,
    vertices: np.ndarray,
    free_vertices: np.ndarray,
    counters: np.ndarray,
    free_regions: np.ndarray,
    pixels: np.ndarray,
    histograms: np.ndarray,
    region: int,
    histogram: np.ndarray,
) -> int:
    """Free the slots of a region, and of the dropped vertices in its lists.

    Returns:
        Its pixel count; its confidence is added to ``histogram``.
    """
    hole = regions[region, HOLES]
    while hole != NONE:
        _release(vertices, free_vertices, counters, hole)
        hole = vertices[hole, NEXT]
    count, slot = 0, region
    while True:
        _release(vertices, free_vertices, counters, regions[slot, SEED])
        count += pixels[slot]
        if len(histograms):
            histogram += histograms[slot]
        free_regions[counters[REGIONS_LEFT]] = slot
        counters[REGIONS_LEFT] += 1
        slot = regions[slot, MEMBER]
        if slot == region:
            return count


@njit(cache=True, nogil=True)
def _release(vertices: np.ndarray, free_vertices: np.ndarray, counters: np.ndarray, vertex: int) -> None:
    if vertices[vertex, STATE] & DROPPED:
        vertices[vertex, STATE] -= 1
        if vertices[vertex, STATE] & SECTORS == 0:
            free_vertices[counters[VERTICES_LEFT]] = vertex
            counters[VERTICES_LEFT] += 1


@njit(cache=True, nogil=True)
def _same(corners: np.ndarray, one: int, two: int) -> bool:
    return corners[one, 0] == corners[two, 0] and corners[one, 1] == corners[two, 1]


@njit(cache=True, nogil=True)
def _grow(array: np.ndarray, needed: int) -> np.ndarray:
    if needed <= len(array):
        return array
    larger = np.zeros(2 * needed, dtype=array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True, nogil=True)
def _grow_corners(corners: np.ndarray, needed: int) -> np.ndarray:
    if needed <= len(corners):
        return corners
    larger = np.empty((2 * needed, 2), dtype=np.int32)
    larger[: len(corners)] = corners
    return larger
