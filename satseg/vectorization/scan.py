"""Scan a class raster row by row into a planar map.

Each corner of four pixels is examined once, when its lower right pixel arrives:

    top left    | top right           boundaries leave the corner up, right, down and left
    ------------+-------------        where the two pixels beside them differ
    bottom left | bottom right

Inner kernels take the arrays of the map one by one, and as few as possible: numba counts references of each array
passed at every call, also inside a tuple. The result depends on the pixels alone, not on how many rows come at a time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from satseg.vectorization.planar import (
    ACTIVE,
    ANCHOR,
    CLOSED,
    DOWN,
    FAMILIES,
    FAMILY,
    FEATURES,
    FRESH,
    GROUP,
    HOLES,
    LAST_HOLE,
    LATTICE,
    LEFT,
    MEMBER,
    NEXT,
    NO_CONFIDENCE,
    NONE,
    PARENT,
    PART,
    PINCH,
    REGIONS_LEFT,
    RIGHT,
    ROUNDS,
    ROW,
    SEED,
    STATE,
    TURN,
    UP,
    VALUE,
    VERTICES_LEFT,
    VOID,
    PlanarMap,
    X,
    Y,
    find,
    join,
    join_families,
    join_features,
)


@njit(cache=True, nogil=True)
def scan_rows(state: PlanarMap, rows: np.ndarray, confidence: np.ndarray, first: int) -> int:
    """Add rows to the map until they are used up or a table is too small for one more.

    Args:
        state: Map to extend.
        rows: (H, W + 1) int32 values; the last column is VOID.
        confidence: (H, W) uint8, ``NO_CONFIDENCE`` if not counted; unused if the map has no histograms.
        first: Row to begin with.

    Returns:
        The first row that was not added.
    """
    needed = len(state.labels)
    columns = np.empty(needed, dtype=np.int32)
    for i in range(first, rows.shape[0]):
        if state.counters[VERTICES_LEFT] < needed or state.counters[REGIONS_LEFT] < needed:
            return i
        count = _find_corners(state.above, rows[i], columns)
        _scan_row(state, rows[i], columns[:count])
        state.above[1:] = rows[i]
        state.counters[ROW] += 1
        if len(state.histograms):
            _count_confidence(state, rows[i], confidence[i])
    return rows.shape[0]


@njit(cache=True, nogil=True)
def _find_corners(above: np.ndarray, row: np.ndarray, columns: np.ndarray) -> int:
    """List the corners whose four pixels are not all equal, without branches; return their number."""
    count = 0
    bottom_left = VOID
    for x in range(len(row)):
        columns[count] = x
        count += (above[x] != above[x + 1]) | (above[x + 1] != row[x]) | (bottom_left != row[x])
        bottom_left = row[x]
    return count


@njit(cache=True, nogil=True)
def _scan_row(state: PlanarMap, row: np.ndarray, columns: np.ndarray) -> None:
    """Add a row, given the corners on its upper side that do not lie inside a region.

    Vertices are counted by runs: those on the upper side of a run when it ends, for the region of its first pixel; that
    count, and those on its lower side, when the run above ends, for the feature to which it belongs by then. So the
    root slot of a feature has all of its vertices except those on the upper side of the last row.
    """
    above, labels, regions, pixels, outline = state.above, state.labels, state.regions, state.pixels, state.outline
    vertices, free_vertices, hanging, fresh = state.vertices, state.free_vertices, state.hanging, state.fresh
    free_regions, closed, families, counters = state.free_regions, state.closed, state.families, state.counters
    lattice, by, histograms = counters[LATTICE], counters[FEATURES], state.histograms
    cut_rows = lattice > 0 and counters[ROW] > 0 and counters[ROW] % lattice == 0
    rounds = counters[ROUNDS] if lattice == 0 else 0  # with a lattice, simplification sets the flag
    from_left = NONE  # vertex at the left end of the current horizontal boundary
    run = NONE  # region of the run of equal pixels above that ends at the next boundary going up
    begin = 0  # column where the current run of equal pixels begins
    label = NONE  # region of its first pixel
    corners_above = corners_below = 0  # vertices around the run above so far, and around the current one
    for x in columns:
        top_left, top_right = above[x], above[x + 1]
        bottom_left, bottom_right = row[x - 1] if x > 0 else VOID, row[x]
        up, right = top_left != top_right, top_right != bottom_right
        down, left = bottom_right != bottom_left, bottom_left != top_left
        cut_columns = lattice > 0 and x > 0 and x % lattice == 0
        vertex, upper = NONE, labels[x]
        if right != left or up != down or (up and right) or (cut_rows and up) or (cut_columns and right):
            flags = _flags(top_left, top_right, bottom_right, bottom_left)
            flags |= ANCHOR if (cut_rows and down) or (cut_columns and right) else 0
            flags |= rounds if flags & ANCHOR == 0 else 0
            counters[VERTICES_LEFT] -= 1
            vertex = free_vertices[counters[VERTICES_LEFT]]
            _put_vertex(vertices, vertex, x, counters[ROW], flags)
            _link(vertices, vertex, hanging[x] if up else NONE, from_left if left else NONE, right, down)
            if lattice > 0:
                fresh[counters[FRESH]] = vertex
                counters[FRESH] += 1
            hanging[x] = vertex  # used only if a boundary goes down
            from_left = vertex
            if right and down and not up and not left and top_left != VOID:
                _add_hole(regions, vertices, labels[x - 1], vertex)
        if vertex != NONE:
            corners_above += left and top_left != VOID
            corners_below += down and bottom_left != VOID
        if down:
            if bottom_left != VOID:
                pixels[labels[x - 1]] += x - begin
                outline[label] += corners_below
            begin, corners_below = x, 0
        if bottom_right != VOID:
            if not down and not right:
                join(regions, vertices, outline, families, counters, labels[x - 1], upper)
            labels[x] = labels[x - 1] if not down else upper
            if down and right:
                labels[x] = _new_region(
                    regions, free_regions, pixels, outline, histograms, counters, bottom_right, vertex
                )
            elif down:
                regions[find(regions, upper, by), ACTIVE] += 1
        if by == GROUP and up and right and down and left:
            if top_left == bottom_right != VOID:
                join_features(regions, vertices, outline, families, run, labels[x])
            if top_right == bottom_left != VOID:
                join_features(regions, vertices, outline, families, upper, labels[x - 1])
        if down:
            label = labels[x]
        if up:
            if top_left != VOID:
                feature = find(regions, run, by)
                if feature != run:  # joined into another one since its corners were counted
                    corners_above += outline[run]
                    outline[run] = 0
                outline[feature] += corners_above
                regions[feature, ACTIVE] -= 1
                if regions[feature, ACTIVE] == 0:
                    closed[counters[CLOSED]] = feature
                    counters[CLOSED] += 1
            run, corners_above = upper, 0
        if vertex != NONE:
            corners_above += up and top_right != VOID
            corners_below += right and bottom_right != VOID


@njit(cache=True, nogil=True)
def _put_vertex(vertices: np.ndarray, vertex: int, column: int, row: int, flags: int) -> None:
    vertices[vertex, X], vertices[vertex, Y], vertices[vertex, STATE] = column, row, flags


@njit(cache=True, nogil=True)
def _flags(top_left: int, top_right: int, bottom_right: int, bottom_left: int) -> int:
    """Return the state of a new vertex: references by regions, its turn, and whether a ring may touch it twice."""
    up, right = top_left != top_right, top_right != bottom_right
    down, left = bottom_right != bottom_left, bottom_left != top_left
    state = (up and top_right != VOID) + (right and bottom_right != VOID)
    state += (down and bottom_left != VOID) + (left and top_left != VOID)
    degree = up + right + down + left
    if degree == 2:
        return state + (((RIGHT * right) ^ (DOWN * down) ^ (LEFT * left)) << TURN)
    if degree == 4 and (
        (top_left == bottom_right and top_left != VOID) or (top_right == bottom_left and top_right != VOID)
    ):
        state += PINCH
    return state + ANCHOR


@njit(cache=True, nogil=True)
def _link(vertices: np.ndarray, vertex: int, above: int, before: int, right: bool, down: bool) -> None:
    """Link a new vertex with those above and to the left; later ones to the right and below link themselves."""
    vertices[vertex, UP] = vertices[vertex, LEFT] = NONE
    vertices[vertex, RIGHT] = 0 if right else NONE
    vertices[vertex, DOWN] = 0 if down else NONE
    if above != NONE:
        vertices[vertex, UP] = 4 * above + DOWN
        vertices[above, DOWN] = 4 * vertex + UP
    if before != NONE:
        vertices[vertex, LEFT] = 4 * before + RIGHT
        vertices[before, RIGHT] = 4 * vertex + LEFT


@njit(cache=True, nogil=True)
def _add_hole(regions: np.ndarray, vertices: np.ndarray, region: int, vertex: int) -> None:
    region = find(regions, region, PARENT)
    vertices[vertex, NEXT] = NONE
    if regions[region, HOLES] == NONE:
        regions[region, HOLES] = vertex
    else:
        vertices[regions[region, LAST_HOLE], NEXT] = vertex
    regions[region, LAST_HOLE] = vertex


@njit(cache=True, nogil=True)
def _new_region(
    regions: np.ndarray,
    free_regions: np.ndarray,
    pixels: np.ndarray,
    outline: np.ndarray,
    histograms: np.ndarray,
    counters: np.ndarray,
    value: int,
    seed: int,
) -> int:
    counters[REGIONS_LEFT] -= 1
    region = free_regions[counters[REGIONS_LEFT]]
    regions[region, PARENT] = regions[region, MEMBER] = regions[region, GROUP] = regions[region, PART] = region
    regions[region, ACTIVE] = 1
    regions[region, VALUE] = value
    regions[region, SEED] = seed
    regions[region, HOLES] = regions[region, LAST_HOLE] = NONE
    regions[region, FAMILY] = 0
    pixels[region] = outline[region] = 0
    histograms[region : region + 1] = 0  # empty without confidence
    return region


@njit(cache=True, nogil=True)
def _count_confidence(state: PlanarMap, row: np.ndarray, confidence: np.ndarray) -> None:
    for x in range(len(confidence)):
        if row[x] != VOID and confidence[x] != NO_CONFIDENCE:
            state.histograms[state.labels[x], confidence[x]] += 1


@njit(cache=True, nogil=True)
def cut_giants(state: PlanarMap, limit: int, cut: np.ndarray) -> bool:
    """End features with more vertices than ``limit`` at the last row: what follows below becomes another piece.

    Their pixels of the last row get unique values, so that the next row finds a boundary there.

    Args:
        state: Map.
        limit: Maximum number of vertices of a feature that continues.
        cut: (2, W) int32, filled in with the number of the region that continues below each pixel, or 0; and its value.

    Returns:
        Whether any was cut; if so, :func:`continue_cut` must be called after the next row.
    """
    regions, labels, outline = state.regions, state.labels, state.outline
    by, width = state.counters[FEATURES], cut.shape[1]
    cut[:] = 0
    for x in range(width):
        feature = find(regions, labels[x], by) if state.above[x + 1] != VOID else NONE
        if feature != NONE and feature != labels[x]:
            outline[feature] += outline[labels[x]]
            outline[labels[x]] = 0
    any_cut = False
    for x in range(width):
        value = state.above[x + 1]
        feature = find(regions, labels[x], by) if value != VOID else NONE
        if feature != NONE and outline[feature] > limit:
            if regions[feature, FAMILY] == 0:
                state.counters[FAMILIES] += 1
                regions[feature, FAMILY] = state.counters[FAMILIES]
            cut[0, x], cut[1, x] = regions[feature, FAMILY], value
            state.above[x + 1] = VOID - 1 - feature  # not from the value: the largest has no counterpart below VOID
            any_cut = True
    return any_cut


@njit(cache=True, nogil=True)
def continue_cut(state: PlanarMap, cut: np.ndarray) -> None:
    """Mark the features below the pixels that were cut off as pieces of the same regions."""
    width, by = cut.shape[1], state.counters[FEATURES]
    reach = 1 if by == GROUP else 0
    for x in range(width):
        if cut[0, x]:
            for below in range(max(x - reach, 0), min(x + reach + 1, width)):
                if state.above[below + 1] == cut[1, x]:
                    join_families(
                        state.regions, state.families, find(state.regions, state.labels[below], by), cut[0, x]
                    )
