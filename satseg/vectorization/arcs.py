"""The arcs of a coverage: boundaries between two junctions, each described once for the polygons on both sides.

A junction is a vertex where three or more boundaries meet. A ring without a junction is one closed arc. Of the rings
that run along an arc, one owns it: whatever is made of the arc is made of it for both sides, so neighbours keep
matching vertex by vertex.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

NOBODY = -1
"""Stands for the missing polygon beside an arc."""


@dataclass(frozen=True, eq=False)
class Arcs:
    """All rings of a coverage, divided into pieces of one arc each.

    The last vertex of a ring is not the first one again, so every vertex also stands for the edge after it. A ring with
    junctions begins at one.

    Args:
        points: (V, 2) float64 vertices of all rings.
        vertices: (V,) int64 number of each vertex; where rings share a vertex, it has one number.
        rings: (R + 1,) int64 first vertex of each ring, and the end.
        polygons: (R,) int64 polygon of each ring.
        junctions: (V,) bool, whether three or more boundaries meet.
        pieces: (U + 1,) int64 first vertex of each piece, and the end.
        arcs: (U,) int64 arc of each piece.
        owned: (A,) int64 piece of the ring that owns the arc. The other piece, if any, runs against it.
        faces: (A, 2) int64 polygon that owns the arc, and that on the other side or NOBODY.
    """

    points: np.ndarray
    vertices: np.ndarray
    rings: np.ndarray
    polygons: np.ndarray
    junctions: np.ndarray
    pieces: np.ndarray
    arcs: np.ndarray
    owned: np.ndarray
    faces: np.ndarray

    @property
    def is_owned(self) -> np.ndarray:
        """Whether the ring of each piece (U,) owns its arc."""
        return self.owned[self.arcs] == np.arange(len(self.arcs))


def arcs_of(points: np.ndarray, vertices: np.ndarray, rings: np.ndarray, polygons: np.ndarray) -> Arcs:
    """Divide the rings of a coverage at its junctions.

    An arc between two polygons is owned by an outer ring rather than a hole, then by the longer ring.

    Args:
        points: (V, 2) float64 vertices of all rings, which are not closed.
        vertices: (V,) int64 number of each vertex, one for all rings that share it.
        rings: (R + 1,) int64 first vertex of each ring, and the end.
        polygons: (P + 1,) int64 first ring of each polygon, and the end.
    """
    edges, degrees = _edges(vertices, rings)
    junctions = degrees[vertices] != 2
    order = _from_junctions(junctions, rings)
    points, vertices, edges, junctions = points[order], vertices[order], edges[order], junctions[order]
    heads = junctions.copy()
    heads[rings[:-1]] = True
    first = np.flatnonzero(heads)
    ring = np.searchsorted(rings, first, side="right") - 1
    of_ring = np.repeat(np.arange(len(polygons) - 1), np.diff(polygons))

    names = np.minimum.reduceat(edges, first)  # the same from both sides
    hole = ~np.isin(ring, polygons[:-1])
    by_arc = np.lexsort((ring, -np.diff(rings)[ring], hole, names))  # owners first
    begins = np.diff(names[by_arc], prepend=-1) != 0
    arcs = np.empty(len(first), dtype=np.int64)
    arcs[by_arc] = np.cumsum(begins) - 1
    faces = np.full((begins.sum(), 2), NOBODY)
    faces[arcs[by_arc[~begins]], 1] = of_ring[ring[by_arc[~begins]]]
    faces[:, 0] = of_ring[ring[by_arc[begins]]]
    return Arcs(
        points=points,
        vertices=vertices,
        rings=rings,
        polygons=of_ring,
        junctions=junctions,
        pieces=np.append(first, len(vertices)),
        arcs=arcs,
        owned=by_arc[begins],
        faces=faces,
    )


def _edges(vertices: np.ndarray, rings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the edge after each vertex (V,), and how many edges meet in each numbered vertex."""
    ends = np.roll(vertices, -1)
    ends[rings[1:] - 1] = vertices[rings[:-1]]
    count = vertices.max() + 1
    low, high = np.minimum(vertices, ends), np.maximum(vertices, ends)
    found, edges = np.unique(low * count + high, return_inverse=True)
    return edges, np.bincount(found // count, minlength=count) + np.bincount(found % count, minlength=count)


def _from_junctions(junctions: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """Return the order of vertices in which each ring begins at its first junction, if it has any."""
    sizes = np.diff(rings)
    places = np.where(junctions, np.arange(len(junctions)), len(junctions))
    shifts = np.minimum.reduceat(places, rings[:-1]) - rings[:-1]
    shifts = np.where(shifts < sizes, shifts, 0)
    inside = np.arange(len(junctions)) - np.repeat(rings[:-1], sizes)
    return np.repeat(rings[:-1], sizes) + (inside + np.repeat(shifts, sizes)) % np.repeat(sizes, sizes)


def join_arcs(arcs: Arcs, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make rings of the vertices that are kept of each arc.

    Args:
        arcs: Arcs.
        kept: (V,) bool; the same at all places of a junction, otherwise read where arcs are owned only.

    Returns:
        (W,) int64 places of the vertices of all rings among those of ``arcs``; first vertex of each ring and the end
        (R + 1,) int64. Rings are not closed.
    """
    return _join(kept, arcs.junctions, arcs.rings, arcs.pieces, arcs.owned[arcs.arcs])


@njit(cache=True, nogil=True)
def _join(
    kept: np.ndarray, junctions: np.ndarray, rings: np.ndarray, pieces: np.ndarray, owners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    out, ends = np.empty(len(kept), dtype=np.int64), np.zeros(len(rings), dtype=np.int64)
    count, piece = 0, 0
    for ring in range(len(rings) - 1):
        while piece < len(owners) and pieces[piece] < rings[ring + 1]:
            head, first, end, step = pieces[piece], pieces[owners[piece]], pieces[owners[piece] + 1], 1
            if junctions[head]:  # its vertex is the last one of an arc that runs the other way
                first += 1
                if kept[head]:
                    out[count] = head
                    count += 1
            if owners[piece] != piece:
                first, end, step = end - 1, first - 1, -1
            for i in range(first, end, step):
                if kept[i]:
                    out[count] = i
                    count += 1
            piece += 1
        ends[ring + 1] = count
    return out[:count], ends
