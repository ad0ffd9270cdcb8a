"""Fit straight edges to outlines, all at once: edges have fixed directions, and share the points at which they meet.

The points are those that minimise the sum of squares of

- the distances of each edge's ends from the line that is meant for it, weighted by the edge's length;
- the distances across each edge between its ends, with a weight that makes them 0 for all practical purposes;
- the distances of points from where they were, with a small weight, for directions in which nothing else holds them.

So straight walls that run through several junctions stay straight, and every junction has one place. The normal
equations are sparse, and as many as there are coordinates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

_STIFF = 1e7  # weight of the direction of an edge; that of its place is its length in units of the shortest side
_LOOSE = 1e-3  # weight of the former place of a point


class Edges(NamedTuple):
    """Edges between points, and the lines on which they are to lie.

    Args:
        ends: (E, 2) int64 points at both ends.
        normals: (E, 2) float64 unit vectors across the lines.
        offsets: (E,) float64 places of the lines, along their normals.
        weights: (E,) float64.
    """

    ends: np.ndarray
    normals: np.ndarray
    offsets: np.ndarray
    weights: np.ndarray


def fitted(points: np.ndarray, edges: Edges, fixed: np.ndarray) -> np.ndarray:
    """Return points (N, 2) float64 at their best places.

    Args:
        points: (N, 2) float64 where they are.
        edges: Edges between them.
        fixed: (N,) bool, whether a point must stay.
    """
    from scipy.sparse.linalg import splu

    free = np.repeat(~fixed, 2)
    if not free.any():
        return points
    matrix, wanted = _normal_equations(points, edges)
    matrix, wanted = matrix[free][:, free].tocsc(), wanted[free]
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    moves = factors.solve(wanted)
    moves += factors.solve(wanted - matrix @ moves)  # the weights are far apart, which costs digits
    found = points.copy().ravel()
    found[free] += moves
    return found.reshape(-1, 2)


def _normal_equations(points: np.ndarray, edges: Edges) -> tuple[Any, np.ndarray]:
    """Return the sparse matrix (2 N, 2 N) and the right-hand side (2 N,) for the moves of points."""
    from scipy.sparse import coo_array

    ones, others = edges.ends.T
    squares = edges.normals[:, :, None] * edges.normals[:, None, :]
    places = [((points[end] * edges.normals).sum(axis=1)) for end in (ones, others)]
    stiff = np.full(len(ones), _STIFF)
    blocks = [
        (ones, ones, stiff + edges.weights),
        (others, others, stiff + edges.weights),
        (ones, others, -stiff),
        (others, ones, -stiff),
    ]
    everywhere = np.arange(2 * len(points))
    rows, columns, values = [everywhere], [everywhere], [np.full(len(everywhere), _LOOSE)]
    for i in range(2):
        for k in range(2):
            for one, other, weights in blocks:
                rows.append(2 * one + i)
                columns.append(2 * other + k)
                values.append(weights * squares[:, i, k])
    wanted = np.zeros_like(points)
    askew = _STIFF * (places[1] - places[0])
    for end, place, pull in zip((ones, others), places, (askew, -askew), strict=True):
        np.add.at(wanted, end, (edges.weights * (edges.offsets - place) + pull)[:, None] * edges.normals)
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return coo_array(entries, shape=(len(everywhere), len(everywhere))).tocsr(), wanted.ravel()
