"""Read a class raster row by row into a planar map.

A corner of four pixels is looked at once, when its lower right pixel arrives:

    top left    | top right           boundaries leave the corner up, right, down and left
    ------------+-------------        where the two pixels beside them differ
    bottom left | bottom right

All depends on the pixels alone and never on how many rows come at a time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from satseg.vectorization.planar import (
    ACTIVE,
    CLOSED,
    DOWN,
    HOLES,
    LAST_HOLE,
    LEFT,
    MEMBER,
    NEXT,
    NONE,
    PARENT,
    PINCH,
    REGIONS_LEFT,
    RIGHT,
    ROW,
    SEED,
    STATE,
    UP,
    VALUE,
    VERTICES_LEFT,
    VOID,
    PlanarMap,
    X,
    Y,
    find,
    join,
)


@njit(cache=True, nogil=True)
def scan_rows(state: PlanarMap, rows: np.ndarray, first: int) -> int:
    """Add rows to the map until they are used up or a table has no room for one more.

    Args:
        state: Map to extend.
        rows: (H, W + 1) int32 values; the last column is VOID.
        first: Row to begin with.

    Returns:
        The first row that was not added.
    """
    needed = len(state.labels)
    for i in range(first, rows.shape[0]):
        if state.counters[VERTICES_LEFT] < needed or state.counters[REGIONS_LEFT] < needed:
            return i
        _scan_row(state, rows[i])
    return rows.shape[0]


@njit(cache=True, nogil=True)
def _scan_row(state: PlanarMap, row: np.ndarray) -> None:
    above = state.above
    y = state.counters[ROW]
    from_left = NONE  # vertex at the left end of the horizontal boundary we are on
    run = NONE  # region of the run of equal pixels above that ends at the next boundary going up
    top_left = bottom_left = VOID
    for x in range(len(row)):
        top_right, bottom_right = above[x + 1], row[x]
        if top_left != top_right or top_right != bottom_right or bottom_left != bottom_right:
            quadrants = (top_left, top_right, bottom_right, bottom_left)
            from_left, run = _corner(state, x, y, quadrants, from_left, run)
        top_left, bottom_left = top_right, bottom_right
    above[1 : len(row) + 1] = row
    state.counters[ROW] = y + 1


@njit(cache=True, nogil=True)
def _corner(
    state: PlanarMap, x: int, y: int, quadrants: tuple[int, int, int, int], from_left: int, run: int
) -> tuple[int, int]:
    """Handle a corner where something ends or begins; return what goes on to the right."""
    top_left, top_right, bottom_right, bottom_left = quadrants
    up, right = top_left != top_right, top_right != bottom_right
    down, left = bottom_right != bottom_left, bottom_left != top_left
    labels = state.labels
    if up:
        if top_left != VOID:
            _end_run(state, run)
        run = labels[x]
    vertex = NONE
    if not (up and down and not left and not right) and not (left and right and not up and not down):
        vertex = _add_vertex(state, x, y, quadrants, from_left)
        if right:
            from_left = vertex
        if right and down and not up and not left and top_left != VOID:
            _add_hole(state, labels[x - 1], vertex)
    if bottom_right != VOID:
        if not down:
            if not right:
                join(state, labels[x - 1], labels[x])
            labels[x] = labels[x - 1]
        elif not right:
            state.regions[find(state.regions, labels[x]), ACTIVE] += 1
        else:
            labels[x] = _new_region(state, bottom_right, vertex)
    return from_left, run


@njit(cache=True, nogil=True)
def _add_vertex(state: PlanarMap, x: int, y: int, quadrants: tuple[int, int, int, int], from_left: int) -> int:
    """Make a vertex, link it with those above and to the left, and return its slot."""
    top_left, top_right, bottom_right, bottom_left = quadrants
    state.counters[VERTICES_LEFT] -= 1
    vertex = state.free_vertices[state.counters[VERTICES_LEFT]]
    vertices = state.vertices
    record = vertices[vertex]
    record[UP] = record[RIGHT] = record[DOWN] = record[LEFT] = NONE
    record[X], record[Y] = x, y
    edges = sectors = 0
    if top_left != top_right:
        edges += 1
        sectors += top_right != VOID
        above = state.hanging[x]
        record[UP] = 4 * above + DOWN
        vertices[above, DOWN] = 4 * vertex + UP
    if top_right != bottom_right:
        edges += 1
        sectors += bottom_right != VOID
        record[RIGHT] = 0  # set to where it leads when that vertex is found
    if bottom_right != bottom_left:
        edges += 1
        sectors += bottom_left != VOID
        record[DOWN] = 0
        state.hanging[x] = vertex
    if bottom_left != top_left:
        edges += 1
        sectors += top_left != VOID
        record[LEFT] = 4 * from_left + RIGHT
        vertices[from_left, RIGHT] = 4 * vertex + LEFT
    record[STATE] = sectors
    if edges == 4 and (
        (top_left == bottom_right and top_left != VOID) or (top_right == bottom_left and top_right != VOID)
    ):
        record[STATE] |= PINCH
    return vertex


@njit(cache=True, nogil=True)
def _add_hole(state: PlanarMap, region: int, vertex: int) -> None:
    region = find(state.regions, region)
    regions, vertices = state.regions, state.vertices
    vertices[vertex, NEXT] = NONE
    if regions[region, HOLES] == NONE:
        regions[region, HOLES] = vertex
    else:
        vertices[regions[region, LAST_HOLE], NEXT] = vertex
    regions[region, LAST_HOLE] = vertex


@njit(cache=True, nogil=True)
def _new_region(state: PlanarMap, value: int, seed: int) -> int:
    state.counters[REGIONS_LEFT] -= 1
    region = state.free_regions[state.counters[REGIONS_LEFT]]
    record = state.regions[region]
    record[PARENT] = record[MEMBER] = region
    record[ACTIVE] = 1
    record[VALUE] = value
    record[SEED] = seed
    record[HOLES] = record[LAST_HOLE] = NONE
    return region


@njit(cache=True, nogil=True)
def _end_run(state: PlanarMap, region: int) -> None:
    """Count off a run of the row above; the region has closed when no run is left at the front."""
    region = find(state.regions, region)
    state.regions[region, ACTIVE] -= 1
    if state.regions[region, ACTIVE] == 0:
        state.closed[state.counters[CLOSED]] = region
        state.counters[CLOSED] += 1
