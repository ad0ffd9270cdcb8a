"""Drop vertices of polygons that form a coverage, so that they still form one.

A vertex between two edges may be dropped if no other vertex lies in the triangle that is cut off: then the new edge
crosses none. Its neighbours must not have an edge yet, or a polygon or a gap would vanish. The vertex whose loss moves
outlines the least from where they were goes first, as Visvalingam and Whyatt (1993) do with areas.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np
from numba import njit

from satseg.vectorization.noding import NEAR, Rings, to_polygons

_NONE = -1


class _Graph(NamedTuple):
    """Vertices and edges of all polygons, each once.

    Args:
        places: (N, 2) float64 places of the vertices.
        kept: (N,) bool, whether a vertex has not been dropped.
        first: (N + 1,) int64 first of the edges that meet in each vertex, and the end.
        meeting: (M,) int64 edges.
        ends: (E, 2) int64 vertices of each edge.
        dropped: (E, 2) int64 first and last of the dropped vertices for which each edge stands, or NONE.
        following: (N,) int64 dropped vertex after a dropped one, or NONE.
    """

    places: np.ndarray
    kept: np.ndarray
    first: np.ndarray
    meeting: np.ndarray
    ends: np.ndarray
    dropped: np.ndarray
    following: np.ndarray


class _Grid(NamedTuple):
    """Vertices by cells of side 1, row by row.

    Args:
        cells: (N,) int64 cells, ascending.
        vertices: (N,) int64 vertex in each of them.
        origin: (2,) float64 corner of the first cell.
        columns: Cells in a row.
    """

    cells: np.ndarray
    vertices: np.ndarray
    origin: np.ndarray
    columns: int


def coarsened(polygons: np.ndarray, movable: np.ndarray, tolerance: float) -> np.ndarray:
    """Return polygons with fewer vertices.

    Args:
        polygons: (P,) shapely polygons that form a valid coverage; none is empty.
        movable: (M, 2) float64 places of the vertices that may be dropped; others only go where an outline is straight.
        tolerance: How far an outline may move.
    """
    import shapely

    _, corners, (rings, ends) = shapely.to_ragged_array(polygons)
    opening = np.ones(len(corners), dtype=bool)
    opening[rings[1:] - 1] = False
    keys, first, numbers = np.unique(_as_complex(corners[opening]), return_index=True, return_inverse=True)
    outlines = Rings(numbers, rings - np.arange(len(rings)))
    graph = _graph(corners[opening][first], outlines)
    most = np.where(np.isin(keys, _as_complex(movable)), tolerance, NEAR)
    grid = _grid(graph.places)
    while _coarsen(graph, most, grid):
        pass
    return to_polygons(graph.places, outlines.where(graph.kept[numbers]), ends)


def _as_complex(points: np.ndarray) -> np.ndarray:
    """Return (N,) complex128 for points (N, 2), which are compared more easily."""
    return np.ascontiguousarray(points).view(np.complex128).ravel()


def _graph(places: np.ndarray, rings: Rings) -> _Graph:
    ends = np.unique(np.sort(np.column_stack([rings.points, rings.following()])), axis=0)
    return _Graph(
        places=places,
        kept=np.ones(len(places), dtype=bool),
        first=np.append(0, np.cumsum(np.bincount(ends.ravel(), minlength=len(places)))),
        meeting=np.argsort(ends.ravel(), kind="stable") // 2,
        ends=ends,
        dropped=np.full(ends.shape, _NONE),
        following=np.full(len(places), _NONE),
    )


def _grid(places: np.ndarray) -> _Grid:
    origin = places.min(axis=0)
    column, row = (places - origin).astype(np.int64).T
    columns = int(column.max()) + 1
    cells = row * columns + column
    order = np.argsort(cells, kind="stable")
    return _Grid(cells[order], order, origin, columns)


@njit(cache=True, nogil=True)
def _coarsen(graph: _Graph, most: np.ndarray, grid: _Grid) -> bool:
    """Drop vertices (N,) whose loss moves outlines by at most so much; return whether there are any."""
    todo = [(_move(graph, i), i) for i in range(len(most)) if _is_between(graph, i)]
    heapify(todo)
    before = graph.kept.sum()
    while len(todo):
        move, i = heappop(todo)
        if move > most[i] or not graph.kept[i] or move != _move(graph, i):  # the latter has changed since
            continue
        a, b = _neighbours(graph, i)
        if _is_clear(graph, a, i, b, grid) and not _has_edge(graph, a, b):
            _drop(graph, a, i, b)
            for k in (a, b):
                if _is_between(graph, k):
                    heappush(todo, (_move(graph, k), k))
    return bool(graph.kept.sum() < before)


@njit(cache=True, nogil=True)
def _is_between(graph: _Graph, i: int) -> bool:
    """Tell whether a vertex is there, between two edges."""
    return bool(graph.kept[i] and graph.first[i + 1] - graph.first[i] == 2)


@njit(cache=True, nogil=True)
def _other_end(graph: _Graph, edge: int, vertex: int) -> int:
    return int(graph.ends[edge, 0] + graph.ends[edge, 1] - vertex)


@njit(cache=True, nogil=True)
def _neighbours(graph: _Graph, i: int) -> tuple[int, int]:
    """Return the neighbours of a vertex between two edges."""
    one, other = graph.meeting[graph.first[i]], graph.meeting[graph.first[i] + 1]
    return _other_end(graph, one, i), _other_end(graph, other, i)


@njit(cache=True, nogil=True)
def _move(graph: _Graph, i: int) -> float:
    """Return how far an edge between the neighbours of a vertex would be from all that it would stand for."""
    a, b = _neighbours(graph, i)
    largest = _square(graph.places, a, b, i)
    for edge in graph.meeting[graph.first[i] : graph.first[i] + 2]:
        k = graph.dropped[edge, 0]
        while k != _NONE:
            largest = max(largest, _square(graph.places, a, b, k))
            k = graph.following[k]
    return float(np.sqrt(largest))


@njit(cache=True, nogil=True)
def _square(places: np.ndarray, a: int, b: int, k: int) -> float:
    """Return the squared distance of a vertex from the edge between two."""
    dx, dy = places[b, 0] - places[a, 0], places[b, 1] - places[a, 1]
    px, py = places[k, 0] - places[a, 0], places[k, 1] - places[a, 1]
    length = dx * dx + dy * dy
    along = min(max((px * dx + py * dy) / length, 0.0), 1.0) if length > 0 else 0.0
    return float((px - along * dx) ** 2 + (py - along * dy) ** 2)


@njit(cache=True, nogil=True)
def _has_edge(graph: _Graph, a: int, b: int) -> bool:
    """Tell whether there is an edge between two vertices."""
    found = False
    for edge in graph.meeting[graph.first[a] : graph.first[a + 1]]:
        found |= _other_end(graph, edge, a) == b
    return found


@njit(cache=True, nogil=True)
def _drop(graph: _Graph, a: int, i: int, b: int) -> None:
    """Drop a vertex, and join its neighbours."""
    one, other = graph.meeting[graph.first[i]], graph.meeting[graph.first[i] + 1]
    graph.ends[one, 0], graph.ends[one, 1] = a, b
    for k in range(graph.first[b], graph.first[b + 1]):
        if graph.meeting[k] == other:
            graph.meeting[k] = one
    _stand_for(graph, one, i, i)
    _stand_for(graph, one, graph.dropped[other, 0], graph.dropped[other, 1])
    graph.kept[i] = False


@njit(cache=True, nogil=True)
def _stand_for(graph: _Graph, edge: int, first: int, last: int) -> None:
    """Let an edge stand for dropped vertices as well."""
    if first == _NONE:
        return
    if graph.dropped[edge, 0] == _NONE:
        graph.dropped[edge, 0] = first
    else:
        graph.following[graph.dropped[edge, 1]] = first
    graph.dropped[edge, 1] = last


@njit(cache=True, nogil=True)
def _is_clear(graph: _Graph, a: int, i: int, b: int, grid: _Grid) -> bool:
    """Tell whether no other vertex lies in the triangle of three, or on it."""
    corners = np.stack((graph.places[a], graph.places[i], graph.places[b]))
    left, top = corners[:, 0].min() - NEAR - grid.origin[0], corners[:, 1].min() - NEAR - grid.origin[1]
    right, bottom = corners[:, 0].max() + NEAR - grid.origin[0], corners[:, 1].max() + NEAR - grid.origin[1]
    first, last = max(int(left), 0), min(int(right), grid.columns - 1)
    for row in range(max(int(top), 0), int(bottom) + 1):
        low = np.searchsorted(grid.cells, row * grid.columns + first)
        high = np.searchsorted(grid.cells, row * grid.columns + last, side="right")
        for vertex in grid.vertices[low:high]:
            if graph.kept[vertex] and vertex not in (a, i, b) and _is_inside(graph.places[vertex], corners):
                return False
    return True


@njit(cache=True, nogil=True)
def _is_inside(point: np.ndarray, corners: np.ndarray) -> bool:
    """Tell whether a point lies in a triangle or near it."""
    low, high = np.inf, -np.inf  # distances to the left of its edges
    for k in range(3):
        x, y = corners[k - 1]
        dx, dy = corners[k, 0] - x, corners[k, 1] - y
        length = np.hypot(dx, dy)
        if length > 0:
            off = (dx * (point[1] - y) - dy * (point[0] - x)) / length
            low, high = min(low, off), max(high, off)
    return low >= -NEAR or high <= NEAR
