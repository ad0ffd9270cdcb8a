"""Simplify the arcs of a planar map, each once, so that neighbours match exactly.

Arcs are split at junctions and where they cross the lattice, rows and columns of the scene a fixed number of pixels
apart. So an arc lies in one cell, and a band of cells is simplified when its last row has arrived, whatever the height
of the strips.

Arcs are simplified by the algorithm of Douglas and Peucker (1973), with two rules that preserve topology. A shortcut is
taken only if the area between it and the path that it replaces contains no raw vertex of another arc: then no two
shortcuts cross, in whatever order they are taken, since of two that cross one would have a vertex in the area of the
other. And an arc with vertices between its ends keeps at least one of them, a closed one three, so no ring collapses.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from satseg.vectorization.planar import (
    ANCHOR,
    DOWN,
    DROPPED,
    FRESH,
    LATTICE,
    NONE,
    RIGHT,
    ROUND,
    ROUNDS,
    SEEN,
    STATE,
    VERTICES_LEFT,
    PlanarMap,
    X,
    Y,
)
from satseg.vectorization.smooth import foot

CELL = 128
"""Side of the lattice's cells in pixels."""

VERTEX, ENTRY, EXIT, COLUMN, LINE, KEPT = 0, 1, 2, 3, 4, 5
"""Columns of a path: vertex, slots by which it is entered and left, its column and row, whether it is kept."""


@njit(cache=True, nogil=True)
def simplify_band(
    state: PlanarMap, occupied: np.ndarray, top: int, bottom: int, carried: int, scale: np.ndarray
) -> int:
    """Simplify all arcs of a band whose last row of corners has been scanned.

    Args:
        state: Map; its dropped vertices are freed unless they are in the list of a region.
        occupied: (rows of the band + 1, W + 1) uint8 workspace; row 0 holds the raw vertices of the row ``top``.
        top: First row of corners.
        bottom: Last row of corners, or -1 if the map ends with this band.
        carried: Number of fresh vertices from the row ``top``, already simplified on their other sides.
        scale: (2,) float64 tolerances per column and row.

    Returns:
        Number of fresh vertices on the row ``bottom``, carried over to the next band, for which ``occupied`` is ready.
    """
    vertices, fresh, counters, free_vertices = state.vertices, state.fresh, state.counters, state.free_vertices
    count = counters[FRESH]
    for i in range(carried, count):
        occupied[vertices[fresh[i], Y] - top, vertices[fresh[i], X]] = 1
    path = np.empty((count + 2, 6), dtype=np.int32)
    todo = np.empty((count + 2, 3), dtype=np.int32)
    reach = np.empty((2, counters[LATTICE] + 1), dtype=np.int64)
    for i in range(count):
        vertex = fresh[i]
        if vertices[vertex, STATE] & ANCHOR:
            for slot in range(4):
                known = i < carried and slot != DOWN
                ahead = vertices[vertex, Y] == bottom and slot == DOWN
                if vertices[vertex, slot] == NONE or known or ahead:
                    continue
                if vertices[vertices[vertex, slot] >> 2, STATE] & (ANCHOR | SEEN):  # nothing to thin, or done before
                    continue
                length = _follow(vertices, vertex, slot, path)
                _thin(path, length, todo, occupied, top, reach, scale)
                _relink(vertices, free_vertices, counters, path, length)
                _mark_round(vertices, counters, path, length, occupied, top, scale)
    for i in range(carried, count):
        vertex = fresh[i]
        if vertices[vertex, STATE] & (ANCHOR | SEEN | DROPPED) == 0:  # the first vertex of a ring without anchors
            length = _follow(vertices, vertex, RIGHT, path)
            _thin(path, length, todo, occupied, top, reach, scale)
            _relink(vertices, free_vertices, counters, path, length)
            _mark_round(vertices, counters, path, length, occupied, top, scale)
    return _carry(state, occupied, top, bottom, carried) if bottom >= 0 else 0


@njit(cache=True, nogil=True)
def _carry(state: PlanarMap, occupied: np.ndarray, top: int, bottom: int, carried: int) -> int:
    """Keep the vertices of the row ``bottom`` for the next band."""
    fresh, vertices = state.fresh, state.vertices
    last = occupied[bottom - top].copy()
    occupied[:] = 0
    occupied[0] = last
    kept = 0
    for i in range(carried, state.counters[FRESH]):
        vertex = fresh[i]
        if vertices[vertex, Y] == bottom and vertices[vertex, STATE] & ANCHOR:
            fresh[kept] = vertex
            kept += 1
    state.counters[FRESH] = kept
    return kept


@njit(cache=True, nogil=True)
def _follow(vertices: np.ndarray, start: int, slot: int, path: np.ndarray) -> int:
    """Fill the path from a vertex by one of its slots to the next anchor, or back to itself; return its length."""
    path[0, VERTEX], path[0, ENTRY], path[0, EXIT] = start, NONE, slot
    length = 1
    while True:
        link = vertices[path[length - 1, VERTEX], path[length - 1, EXIT]]
        vertex, entry = link >> 2, link & 3
        path[length, VERTEX], path[length, ENTRY] = vertex, entry
        length += 1
        if vertices[vertex, STATE] & ANCHOR or vertex == start:
            break
        vertices[vertex, STATE] |= SEEN
        for exit_slot in range(4):
            if exit_slot != entry and vertices[vertex, exit_slot] != NONE:
                path[length - 1, EXIT] = exit_slot
    for i in range(length):
        path[i, COLUMN], path[i, LINE] = vertices[path[i, VERTEX], X], vertices[path[i, VERTEX], Y]
        path[i, KEPT] = 0
    path[0, KEPT] = path[length - 1, KEPT] = 1
    return length


@njit(cache=True, nogil=True)
def _thin(
    path: np.ndarray,
    length: int,
    todo: np.ndarray,
    occupied: np.ndarray,
    top: int,
    reach: np.ndarray,
    scale: np.ndarray,
) -> None:
    """Mark the vertices that are kept."""
    closed = path[0, VERTEX] == path[length - 1, VERTEX]
    todo[0, 0], todo[0, 1], todo[0, 2] = 0, length - 1, 2 if closed else 1
    count = 1
    while count:
        count -= 1
        first, last, splits = todo[count, 0], todo[count, 1], todo[count, 2]
        if last - first < 2:
            continue
        middle, square = _farthest(path, first, last, scale)
        if splits == 0 and square <= 1.0 and _is_clear(path, first, last, occupied, top, reach):
            continue
        path[middle, KEPT] = 1
        todo[count, 0], todo[count, 1], todo[count, 2] = first, middle, max(splits - 1, 0)
        todo[count + 1, 0], todo[count + 1, 1], todo[count + 1, 2] = middle, last, max(splits - 1, 0)
        count += 2


@njit(cache=True, nogil=True)
def _farthest(path: np.ndarray, first: int, last: int, scale: np.ndarray) -> tuple[int, float]:
    """Return the vertex farthest from the shortcut, and its squared distance in units of the tolerance."""
    x, y = path[first, COLUMN] * scale[0], path[first, LINE] * scale[1]
    dx, dy = path[last, COLUMN] * scale[0] - x, path[last, LINE] * scale[1] - y
    length = dx * dx + dy * dy
    middle, largest = first + 1, -1.0
    for i in range(first + 1, last):
        px, py = path[i, COLUMN] * scale[0] - x, path[i, LINE] * scale[1] - y
        along = 0.0
        if length > 0:
            along = min(max((px * dx + py * dy) / length, 0.0), 1.0)
        square = (px - along * dx) ** 2 + (py - along * dy) ** 2
        if square > largest:
            middle, largest = i, square
    return middle, largest


@njit(cache=True, nogil=True)
def _is_clear(path: np.ndarray, first: int, last: int, occupied: np.ndarray, top: int, reach: np.ndarray) -> bool:
    """Tell whether no vertex of another arc lies between a shortcut and the path it replaces, or on it.

    All corners between the two are examined, column by column (row by row if the shortcut is steep).
    """
    steep = abs(path[last, LINE] - path[first, LINE]) > abs(path[last, COLUMN] - path[first, COLUMN])
    u, v = (LINE, COLUMN) if steep else (COLUMN, LINE)
    low = high = path[first, u]
    for i in range(first + 1, last + 1):
        low, high = min(low, path[i, u]), max(high, path[i, u])
    _reach_of_shortcut(path, first, last, u, v, low, high, reach)
    for i in range(first, last):
        for at in range(min(path[i, u], path[i + 1, u]), max(path[i, u], path[i + 1, u]) + 1):
            reach[0, at - low] = min(reach[0, at - low], path[i, v], path[i + 1, v])
            reach[1, at - low] = max(reach[1, at - low], path[i, v], path[i + 1, v])
    own = last - first + 1
    for at in range(low, high + 1):
        for across in range(reach[0, at - low], reach[1, at - low] + 1):
            own -= occupied[at - top, across] if steep else occupied[across - top, at]
    return own >= 0


@njit(cache=True, nogil=True)
def _reach_of_shortcut(
    path: np.ndarray, first: int, last: int, u: int, v: int, low: int, high: int, reach: np.ndarray
) -> None:
    """Set the reach to the corners that lie on the shortcut itself, exactly."""
    for at in range(low, high + 1):
        reach[0, at - low], reach[1, at - low] = 2**31, -1
    begin, end = (first, last) if path[first, u] <= path[last, u] else (last, first)
    run = path[end, u] - path[begin, u]
    for at in range(path[begin, u], path[end, u] + 1):
        if run > 0:
            rise = (at - path[begin, u]) * (path[end, v] - path[begin, v])
            reach[0, at - low] = path[begin, v] - (-rise) // run
            reach[1, at - low] = path[begin, v] + rise // run
        else:
            reach[0, at - low] = reach[1, at - low] = path[begin, v]


@njit(cache=True, nogil=True)
def _relink(
    vertices: np.ndarray, free_vertices: np.ndarray, counters: np.ndarray, path: np.ndarray, length: int
) -> None:
    """Link the vertices that are kept, and drop those between them."""
    before = 0
    for i in range(1, length):
        if not path[i, KEPT]:
            continue
        back, on = 4 * path[before, VERTEX] + path[before, EXIT], 4 * path[i, VERTEX] + path[i, ENTRY]
        vertices[path[before, VERTEX], path[before, EXIT]] = on
        vertices[path[i, VERTEX], path[i, ENTRY]] = back
        for k in range(before + 1, i):
            _drop(vertices, free_vertices, counters, path, k, back, on)
        before = i


@njit(cache=True, nogil=True)
def _drop(
    vertices: np.ndarray,
    free_vertices: np.ndarray,
    counters: np.ndarray,
    path: np.ndarray,
    k: int,
    back: int,
    on: int,
) -> None:
    """Drop a vertex; one that is in the lists of regions stays in the table until they are emitted."""
    vertex = path[k, VERTEX]
    vertices[vertex, path[k, ENTRY]] = back
    vertices[vertex, path[k, EXIT]] = on
    vertices[vertex, STATE] |= DROPPED
    if vertices[vertex, RIGHT] == NONE or vertices[vertex, DOWN] == NONE:
        free_vertices[counters[VERTICES_LEFT]] = vertex
        counters[VERTICES_LEFT] += 1


@njit(cache=True, nogil=True)
def _mark_round(
    vertices: np.ndarray,
    counters: np.ndarray,
    path: np.ndarray,
    length: int,
    occupied: np.ndarray,
    top: int,
    scale: np.ndarray,
) -> None:
    """Mark the kept corners that can be rounded: the area cut off contains no raw vertex of another arc.

    That area is bounded by the arc on two sides, so another arc can only enter and leave it through the third side,
    with a vertex inside.
    """
    if counters[ROUNDS] == 0:
        return
    kept = np.flatnonzero(path[:length, KEPT])
    for k in range(1, len(kept) - 1):
        if _corner_is_clear(path, kept[k - 1], kept[k], kept[k + 1], occupied, top, scale):
            vertices[path[kept[k], VERTEX], STATE] |= ROUND


@njit(cache=True, nogil=True)
def _corner_is_clear(
    path: np.ndarray, before: int, at: int, after: int, occupied: np.ndarray, top: int, scale: np.ndarray
) -> bool:
    px, py = path[at, COLUMN], path[at, LINE]
    ax, ay = foot(px, py, path[before, COLUMN], path[before, LINE], scale[0], scale[1])
    bx, by = foot(px, py, path[after, COLUMN], path[after, LINE], scale[0], scale[1])
    foreign = 0
    for x in range(int(np.floor(min(ax, bx, px))), int(np.ceil(max(ax, bx, px))) + 1):
        for y in range(int(np.floor(min(ay, by, py))), int(np.ceil(max(ay, by, py))) + 1):
            if 0 <= y - top < occupied.shape[0] and 0 <= x < occupied.shape[1]:
                foreign += occupied[y - top, x] and _is_inside(x - px, y - py, ax - px, ay - py, bx - px, by - py)
    for i in range(before, after + 1):
        foreign -= _is_inside(path[i, COLUMN] - px, path[i, LINE] - py, ax - px, ay - py, bx - px, by - py)
    return foreign <= 0


@njit(cache=True, nogil=True)
def _is_inside(x: float, y: float, ax: float, ay: float, bx: float, by: float) -> bool:
    """Tell whether a point lies in a triangle whose third corner is the origin, or on its border."""
    whole = ax * by - ay * bx
    if whole == 0:
        return False
    u, v = (x * by - y * bx) / whole, (ax * y - ay * x) / whole
    return u >= -1e-9 and v >= -1e-9 and u + v <= 1 + 1e-9
