"""Read a class raster row by row into a planar map.

A corner of four pixels is looked at once, when its lower right pixel arrives:

    top left    | top right           boundaries leave the corner up, right, down and left
    ------------+-------------        where the two pixels beside them differ
    bottom left | bottom right

Kernels take the arrays of the map one by one: handed on as a tuple, each would be counted in and out at every call.
All depends on the pixels alone and never on how many rows come at a time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from satseg.vectorization.planar import (
    ACTIVE,
    ANCHOR,
    CLOSED,
    DOWN,
    FRESH,
    HOLES,
    LAST_HOLE,
    LATTICE,
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
    above, labels, hanging, counters = state.above, state.labels, state.hanging, state.counters
    vertices, free_vertices = state.vertices, state.free_vertices
    regions, free_regions, closed = state.regions, state.free_regions, state.closed
    fresh, pixels, lattice = state.fresh, state.pixels, counters[LATTICE]
    needed = len(labels)
    for i in range(first, rows.shape[0]):
        if counters[VERTICES_LEFT] < needed or counters[REGIONS_LEFT] < needed:
            return i
        y = counters[ROW]
        from_left = NONE  # vertex at the left end of the horizontal boundary we are on
        run = NONE  # region of the run of equal pixels above that ends at the next boundary going up
        top_left = bottom_left = VOID
        begin = 0  # column where the current run of equal pixels begins
        cut_rows = lattice > 0 and y > 0 and y % lattice == 0
        for x in range(rows.shape[1]):
            top_right, bottom_right = above[x + 1], rows[i, x]
            if top_left != top_right or top_right != bottom_right or bottom_left != bottom_right:
                up, right = top_left != top_right, top_right != bottom_right
                down, left = bottom_right != bottom_left, bottom_left != top_left
                if up:
                    if top_left != VOID:
                        _end_run(regions, closed, counters, run)
                    run = labels[x]
                vertex = NONE
                cut_columns = lattice > 0 and x > 0 and x % lattice == 0
                turns = right != left or up != down or (up and right)
                if turns or (cut_rows and up) or (cut_columns and right):
                    vertex = _add_vertex(vertices, free_vertices, counters, x, y)
                    _link(vertices, hanging, vertex, x, from_left, up, right, down, left)
                    anchor = (cut_rows and down) or (cut_columns and right) or (up + right + down + left > 2)
                    vertices[vertex, STATE] = _sectors(top_left, top_right, bottom_right, bottom_left) + (
                        ANCHOR if anchor else 0
                    )
                    if lattice > 0:
                        fresh[counters[FRESH]] = vertex
                        counters[FRESH] += 1
                    if right:
                        from_left = vertex
                        if down and not up and not left and top_left != VOID:
                            _add_hole(regions, vertices, labels[x - 1], vertex)
                if down:
                    if bottom_left != VOID:
                        pixels[labels[x - 1]] += x - begin
                    begin = x
                if bottom_right != VOID:
                    if not down:
                        if not right:
                            join(regions, vertices, labels[x - 1], labels[x])
                        labels[x] = labels[x - 1]
                    elif not right:
                        regions[find(regions, labels[x]), ACTIVE] += 1
                    else:
                        labels[x] = _new_region(regions, free_regions, counters, bottom_right, vertex)
                        pixels[labels[x]] = 0
            top_left, bottom_left = top_right, bottom_right
            above[x + 1] = bottom_right
        counters[ROW] = y + 1
    return rows.shape[0]


@njit(cache=True, nogil=True)
def _add_vertex(vertices: np.ndarray, free_vertices: np.ndarray, counters: np.ndarray, x: int, y: int) -> int:
    counters[VERTICES_LEFT] -= 1
    vertex = free_vertices[counters[VERTICES_LEFT]]
    vertices[vertex, X] = x
    vertices[vertex, Y] = y
    return vertex


@njit(cache=True, nogil=True)
def _link(
    vertices: np.ndarray,
    hanging: np.ndarray,
    vertex: int,
    x: int,
    from_left: int,
    up: bool,
    right: bool,
    down: bool,
    left: bool,
) -> None:
    """Link a new vertex with those above and to the left; those to the right and below will link themselves."""
    vertices[vertex, UP] = vertices[vertex, LEFT] = NONE
    vertices[vertex, RIGHT] = 0 if right else NONE
    vertices[vertex, DOWN] = 0 if down else NONE
    if up:
        vertices[vertex, UP] = 4 * hanging[x] + DOWN
        vertices[hanging[x], DOWN] = 4 * vertex + UP
    if left:
        vertices[vertex, LEFT] = 4 * from_left + RIGHT
        vertices[from_left, RIGHT] = 4 * vertex + LEFT
    if down:
        hanging[x] = vertex


@njit(cache=True, nogil=True)
def _sectors(top_left: int, top_right: int, bottom_right: int, bottom_left: int) -> int:
    """Return the state of a new vertex: how many regions pass it, and whether one may touch itself there."""
    up, right = top_left != top_right, top_right != bottom_right
    down, left = bottom_right != bottom_left, bottom_left != top_left
    sectors = (up and top_right != VOID) + (right and bottom_right != VOID)
    sectors += (down and bottom_left != VOID) + (left and top_left != VOID)
    if up and right and down and left:
        if top_left == bottom_right and top_left != VOID:
            sectors |= PINCH
        if top_right == bottom_left and top_right != VOID:
            sectors |= PINCH
    return sectors


@njit(cache=True, nogil=True)
def _add_hole(regions: np.ndarray, vertices: np.ndarray, region: int, vertex: int) -> None:
    region = find(regions, region)
    vertices[vertex, NEXT] = NONE
    if regions[region, HOLES] == NONE:
        regions[region, HOLES] = vertex
    else:
        vertices[regions[region, LAST_HOLE], NEXT] = vertex
    regions[region, LAST_HOLE] = vertex


@njit(cache=True, nogil=True)
def _new_region(regions: np.ndarray, free_regions: np.ndarray, counters: np.ndarray, value: int, seed: int) -> int:
    counters[REGIONS_LEFT] -= 1
    region = free_regions[counters[REGIONS_LEFT]]
    regions[region, PARENT] = regions[region, MEMBER] = region
    regions[region, ACTIVE] = 1
    regions[region, VALUE] = value
    regions[region, SEED] = seed
    regions[region, HOLES] = regions[region, LAST_HOLE] = NONE
    return region


@njit(cache=True, nogil=True)
def _end_run(regions: np.ndarray, closed: np.ndarray, counters: np.ndarray, region: int) -> None:
    """Count off a run of the row above; the region has closed when no run is left at the front."""
    region = find(regions, region)
    regions[region, ACTIVE] -= 1
    if regions[region, ACTIVE] == 0:
        closed[counters[CLOSED]] = region
        counters[CLOSED] += 1
