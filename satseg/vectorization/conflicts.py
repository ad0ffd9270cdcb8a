"""Find regularized outlines that cannot be used, and move walls that reach into a neighbour."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from satseg.vectorization.arcs import Arcs
from satseg.vectorization.drawing import Drawing, Outlines
from satseg.vectorization.noding import NEAR
from satseg.vectorization.sides import NONE

_LEAST_IOU = 0.75

_SAME = 1e-9  # distance of points, as a share of the shortest side, that does not make another polygon

_GAP = 0.03  # between walls that have drawn back, as a share of the shortest side

_DEEPEST = 1.0  # how far a wall draws back at once, as a share of the shortest side


class Usability:
    """Tells which polygons can be used, and remembers those that have not changed.

    Args:
        traced: (P,) shapely polygons as they were traced, in units of the shortest side.
    """

    def __init__(self, traced: np.ndarray) -> None:
        import shapely

        self._traced = traced
        self._last = np.full(len(traced), shapely.Polygon())
        self._unusable = np.ones(len(traced), dtype=bool)

    def unusable(self, polygons: np.ndarray) -> np.ndarray:
        """Return which polygons (P,) are empty, invalid, or far from what was traced."""
        import shapely

        new = ~shapely.equals_exact(polygons, self._last, _SAME)
        self._unusable[new] = _unusable(polygons[new], self._traced[new])
        self._last = polygons.copy()
        return self._unusable


def _unusable(polygons: np.ndarray, traced: np.ndarray) -> np.ndarray:
    import shapely

    from satseg.geo.polygons import intersection_over_union

    usable = shapely.is_valid(polygons) & (shapely.area(polygons) > 0)
    usable[usable] = intersection_over_union(polygons[usable], traced[usable]) >= _LEAST_IOU
    return ~usable


def conflicting_pairs(polygons: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return pairs (N, 2) int64 of polygons that overlap, or touch without having the same vertices.

    Args:
        polygons: (P,) shapely polygons.
        drawn: (P,) bool, which are new; pairs of others are left out.
    """
    import shapely

    tree = shapely.STRtree(polygons)
    nearby = np.unique(tree.query(polygons[drawn])[1])
    wrong = shapely.coverage_invalid_edges(polygons[nearby])
    conflicting = ~shapely.is_empty(wrong)
    ones, others = tree.query(wrong[conflicting], predicate="intersects")
    pairs = np.sort(np.column_stack([nearby[conflicting][ones], others]))
    pairs = pairs[drawn[pairs].any(axis=1)]
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    return pairs[[not shapely.coverage_is_valid(polygons[pair]) for pair in pairs]]


def separate(outlines: Outlines, drawing: Drawing, arcs: Arcs, polygons: np.ndarray, pairs: np.ndarray) -> bool:
    """Change the walls by which polygons overlap; return whether there are any.

    Where polygons have a common boundary, the wall of the smaller one takes the line of the other's. Elsewhere both
    draw back, each by half of the shortest way; if one cannot, the other goes all of its way.

    Args:
        outlines: Outlines.
        drawing: Their last drawing.
        arcs: Their arcs.
        polygons: (P,) shapely polygons of the drawing.
        pairs: (N, 2) int64 polygons that overlap, the smaller one first.
    """
    import shapely

    walls = _Walls(drawing, arcs)
    touching = set(map(tuple, np.sort(arcs.faces, axis=1).tolist()))
    changed = False
    for pair, ground in zip(pairs.tolist(), shapely.intersection(*polygons[pairs].T), strict=True):
        found = [walls.way_out(one, other, ground) for one, other in (pair, pair[::-1])]
        found = [way for way in found if way.side != NONE]
        if len(found) == 2 and tuple(sorted(pair)) in touching and outlines.align(found[0].side, found[1].side):
            changed = True
            continue
        for way in found:
            outlines.move(way.side, way.inward * (way.length + _GAP) / len(found))
            changed = True
    return changed


def arcs_in_the_way(
    drawing: Drawing, arcs: Arcs, polygons: np.ndarray, levels: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """Return (A,) bool arcs that reach into the other polygon of a pair: those of the one that has given way less.

    Args:
        drawing: The last drawing.
        arcs: Its arcs.
        polygons: (P,) shapely polygons of the drawing.
        levels: (P,) int64 the lowest level of the arcs of each polygon.
        pairs: (N, 2) int64 polygons that overlap, the smaller one first.
    """
    import shapely

    giving = np.zeros(len(arcs.faces), dtype=bool)
    for pair, ground in zip(pairs, shapely.intersection(*polygons[pairs].T), strict=True):
        own = (arcs.faces == pair[np.argmin(levels[pair])]).any(axis=1)
        near = np.zeros_like(own)
        walls = np.flatnonzero(own[drawing.walls.arcs])
        lines = shapely.linestrings(drawing.places[drawing.walls.edges.ends[walls]])
        near[drawing.walls.arcs[walls[shapely.dwithin(lines, ground, NEAR)]]] = True
        giving |= near if near.any() else own
    return giving


class _Way(NamedTuple):
    """How a wall moves out of some ground: its side or NONE, where along its normal the polygon is, and how far."""

    side: int
    inward: float
    length: float


class _Walls:
    """The walls of polygons in a drawing."""

    def __init__(self, drawing: Drawing, arcs: Arcs) -> None:
        self._drawing = drawing
        faces = arcs.faces[drawing.walls.arcs]
        owners, others = faces.T.ravel(), faces[:, ::-1].T.ravel()
        order = np.argsort(owners, kind="stable")
        self._owners, self._others = owners[order], others[order]
        self._walls = np.tile(np.arange(len(faces)), 2)[order]
        self._inward = np.concatenate([drawing.walls.inward, -drawing.walls.inward])[order]

    def way_out(self, polygon: int, other: int, ground: object) -> _Way:
        """Return the shortest way by which a polygon's wall leaves the ground that it shares with another polygon."""
        import shapely

        own = slice(*np.searchsorted(self._owners, [polygon, polygon + 1]))
        apart = self._others[own] != other
        walls, inward = self._walls[own][apart], self._inward[own][apart]
        ends = self._drawing.places[self._drawing.walls.edges.ends[walls]]
        near = shapely.dwithin(shapely.linestrings(ends), ground, NEAR)
        walls, inward, ends, points = walls[near], inward[near], ends[near], shapely.get_coordinates(ground)
        if not len(walls) or not len(points):
            return _Way(NONE, 0.0, 0.0)
        normals = self._drawing.walls.edges.normals[walls] * inward[:, None]
        depths = (normals @ points.T - (normals * ends[:, 0]).sum(axis=1)[:, None]).max(axis=1)
        best = int(np.argmin(depths))
        if depths[best] > _DEEPEST:
            return _Way(NONE, 0.0, 0.0)
        return _Way(int(self._drawing.walls.sides[walls[best]]), float(inward[best]), float(max(depths[best], 0.0)))
