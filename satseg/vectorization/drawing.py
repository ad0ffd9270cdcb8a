"""Outlines of a map while they are regularized: which vertices stand for each arc, and where they are.

An arc is drawn at one of several levels: squared; simplified, ever more finely; as it was traced. Where a squared
outline cannot be used, its arcs give way to the next level. What was traced is a valid coverage, so this ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from satseg.vectorization.arcs import NOBODY, Arcs, join_arcs
from satseg.vectorization.fit import Edges, fitted
from satseg.vectorization.noding import Rings, noded
from satseg.vectorization.sides import NONE, Sides
from satseg.vectorization.thin import thinned_arcs

SQUARED = 0
"""The first level of an arc."""

_TOLERANCES = (0.5, 0.25, 0.1)  # of simplification at the next levels, as shares of the shortest side

TRACED = len(_TOLERANCES) + 1
"""The last level of an arc."""

_LEAST_WEIGHT = 0.01  # of edges whose outline runs across them

_JOINED = 0.5  # length of edges whose ends become one point, as a share of the shortest side

_TURNED = 1.0  # the same, for edges that are drawn the other way round

_PARALLEL = np.cos(np.radians(30))


class Walls(NamedTuple):
    """Edges of squared arcs.

    Args:
        edges: The edges, between points of a drawing.
        arcs: (E,) int64 their arcs.
        sides: (E,) int64 sides to which they belong.
        inward: (E,) float64, 1 where the normal points into the polygon that owns the arc, -1 where it points out.
    """

    edges: Edges
    arcs: np.ndarray
    sides: np.ndarray
    inward: np.ndarray


@dataclass(frozen=True, eq=False)
class Drawing:
    """The outlines of polygons.

    Args:
        places: (N, 2) float64 places of points, in units of the shortest side.
        rings: Rings of these points; those of polygons that are not drawn are empty.
        vertices: (N,) int64 numbers of the vertices of which the points are made.
        walls: What is squared of them.
    """

    places: np.ndarray
    rings: Rings
    vertices: np.ndarray
    walls: Walls


class Outlines:
    """Draws outlines.

    Args:
        arcs: Arcs, with points in units of the shortest side.
        sides: Sides of their rings.
    """

    def __init__(self, arcs: Arcs, sides: Sides) -> None:
        self._arcs = arcs
        self._sides = sides
        self._joined = np.arange(arcs.vertices.max() + 1)  # vertices that became one point
        self._places = np.empty((len(self._joined), 2))
        self._places[arcs.vertices] = arcs.points
        before = np.roll(sides.numbers, 1)
        before[arcs.rings[:-1]] = sides.numbers[arcs.rings[1:] - 1]
        self._kept = (sides.numbers != before, *(thinned_arcs(arcs, size) for size in _TOLERANCES))
        self._owned = np.repeat(arcs.is_owned, np.diff(arcs.pieces))
        self._arc = np.repeat(arcs.arcs, np.diff(arcs.pieces))
        self._following = Rings(np.arange(len(self._arc)), arcs.rings).following()
        self._ring = np.repeat(np.arange(len(arcs.polygons)), np.diff(arcs.rings))
        first = arcs.pieces[arcs.owned]
        outer = np.append(True, arcs.polygons[1:] != arcs.polygons[:-1])[self._ring[first]]
        vanishes = ~outer & ~arcs.junctions[first] & (arcs.faces[:, 1] == NOBODY)  # a hole without sides is filled
        self.levels = np.where((sides.numbers[first] == NONE) & ~vanishes, SQUARED + 1, SQUARED)
        """(A,) int64 level of each arc."""

    def draw(self, wanted: np.ndarray) -> Drawing:
        """Place the points of polygons (P,) bool, and let neighbours share those of walls that have become one.

        All polygons that share a vertex with one that is wanted must be wanted as well.
        """
        kept = self._vertices() & wanted[self._arcs.polygons][self._ring]
        starts, ends = self._steps(kept)
        used = np.unique(self._joined[self._arcs.vertices[kept]])
        points = np.full(len(self._joined), NONE)
        points[used] = np.arange(len(used))
        points = points[self._joined[self._arcs.vertices]]
        levels = self.levels[self._arc[starts]]
        level = np.full(len(used), SQUARED)  # of each point: the last of its arcs
        for at in (starts, ends):
            np.maximum.at(level, points[at], levels)
        squared = levels == SQUARED
        walls = self._walls(points, starts[squared], ends[squared])
        places = fitted(self._places[used], walls.edges, level > SQUARED)
        order, ring_ends = join_arcs(self._arcs, kept)
        rings = noded(Rings(points[order], ring_ends), places)
        return Drawing(places, rings, used, walls)

    def join(self, drawing: Drawing) -> np.ndarray:
        """Let the ends of short edges become one point in the next drawing; return the polygons (P,) bool with any."""
        ones, others = drawing.rings.points, drawing.rings.following()
        step = drawing.places[others] - drawing.places[ones]
        traced = self._places[drawing.vertices[others]] - self._places[drawing.vertices[ones]]
        lengths, turned = np.hypot(*step.T), (step * traced).sum(axis=1) < 0
        short = np.flatnonzero(lengths < np.where(turned, _TURNED, _JOINED))
        short = short[np.argsort(lengths[short], kind="stable")]
        pairs = np.sort(np.column_stack([ones, others])[short])
        fixed = self._given(drawing.vertices)
        taken = set(np.flatnonzero(fixed).tolist())
        into = np.arange(len(self._joined))
        for one, other in pairs.tolist():
            if one not in taken and other not in taken:
                into[drawing.vertices[other]] = drawing.vertices[one]
                taken |= {one, other}
        changed = into != np.arange(len(into))
        found = np.zeros(self._arcs.polygons[-1] + 1, dtype=bool)
        found[self._arcs.polygons[self._ring[changed[self._joined][self._arcs.vertices]]]] = True
        self._joined = into[self._joined]
        return found

    def give_way(self, giving: np.ndarray) -> bool:
        """Let arcs (A,) bool be drawn at the next level; return whether any of them was not at the last one."""
        own = giving & (self.levels < TRACED)
        self.levels[own] += 1
        vertices = np.arange(len(self._joined))
        parted = np.zeros(len(vertices), dtype=bool)
        parted[self._joined[self._given(vertices)]] = True
        self._joined = np.where(parted[self._joined], vertices, self._joined)
        return bool(own.any())

    def level_of_polygons(self, count: int) -> np.ndarray:
        """Return the lowest level of the arcs of each polygon."""
        levels = np.full(count + 1, TRACED)  # the last one is for nobody
        np.minimum.at(levels, self._arcs.faces, self.levels[:, None])
        return levels[:-1]

    def loose(self) -> np.ndarray:
        """Return the places (M, 2) of vertices that are on no squared arc."""
        return self._places[~self._on(self.levels == SQUARED)]

    def move(self, side: int, by: float) -> None:
        """Let a side be drawn farther along its normal."""
        self._sides.offsets[side] += by

    def align(self, side: int, other: int) -> bool:
        """Let a side be drawn on the line of another one if they are nearly parallel; return whether it changes."""
        normals, offsets = self._sides.normals, self._sides.offsets
        cosine = float(normals[side] @ normals[other])
        line = np.sign(cosine) * normals[other], np.sign(cosine) * offsets[other]
        if abs(cosine) < _PARALLEL or (np.array_equal(normals[side], line[0]) and offsets[side] == line[1]):
            return False
        normals[side], offsets[side] = line
        return True

    def _walls(self, points: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Walls:
        """Return the walls between two vertices each, given the points (V,) of all vertices."""
        walls = (self._sides.numbers[starts] != NONE) & (points[starts] != points[ends])
        starts, ends = starts[walls], ends[walls]
        sides = self._sides.numbers[starts]
        normals, (dx, dy) = self._sides.normals[sides], (self._arcs.points[ends] - self._arcs.points[starts]).T
        lengths = dx * normals[:, 1] - dy * normals[:, 0]  # the polygon that owns the arc lies to the right of it
        edges = Edges(
            ends=np.column_stack([points[starts], points[ends]]),
            normals=normals,
            offsets=self._sides.offsets[sides],
            weights=np.abs(lengths) / 2 + _LEAST_WEIGHT,
        )
        return Walls(edges, self._arc[starts], sides, np.sign(lengths))

    def _given(self, vertices: np.ndarray) -> np.ndarray:
        """Tell which vertices (N,) are on arcs that have given way."""
        return self._on(self.levels > SQUARED)[vertices]

    def _on(self, arcs: np.ndarray) -> np.ndarray:
        """Return (N,) bool, which vertices are on arcs (A,) bool or at their ends."""
        found = np.zeros(len(self._joined), dtype=bool)
        own = arcs[self._arc]
        found[self._arcs.vertices[own]] = True
        found[self._arcs.vertices[self._following[own]]] = True
        return found

    def _vertices(self) -> np.ndarray:
        """Return (V,) bool, which vertices are drawn."""
        traced = np.ones(len(self._arc), dtype=bool)
        return self._arcs.junctions | (self._owned & np.choose(self.levels[self._arc], (*self._kept, traced)))

    def _steps(self, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the vertices at both ends of all edges between vertices that are drawn, once for both sides."""
        places = np.flatnonzero(kept)
        following = Rings(places, np.searchsorted(places, self._arcs.rings)).following()
        owned = self._owned[places]
        return places[owned], following[owned]
