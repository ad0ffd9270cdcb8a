"""Main directions of polygons, in which most of their sides run along or across.

A direction is first estimated from the long edges of the outline, then from the sides, each of which is a cloud of
points with a principal axis. Polygons that touch take a common direction where this turns neither of them noticeably:
so the houses of a row have one direction, those of a bent street one each.

Directions are equal modulo a right angle. They are added up as vectors of four times the angle.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from satseg.objects.grid import root_of
from satseg.vectorization.arcs import NOBODY, Arcs
from satseg.vectorization.sides import NONE, Sides, sides_of
from satseg.vectorization.thin import thinned

_STRAIGHT = 0.15  # tolerance of simplification before the first estimate, as a share of the shortest side

_TURNED = 0.3  # by how much a common direction may move the ends of a polygon, as a share of the shortest side

_LARGEST_TURN = np.radians(10)


def main_directions(arcs: Arcs, polygons: int) -> np.ndarray:
    """Return (P,) float64 main directions of polygons in radians, in coordinates in which the shortest side is 1."""
    outer = np.unique(arcs.polygons, return_index=True)[1]
    first = _by_edges(arcs.points, arcs.rings)[outer]
    sides = sides_of(arcs.points, arcs.rings, first[arcs.polygons])
    axes = np.zeros((polygons, 2))
    np.add.at(axes, arcs.polygons, _axes(arcs.points, arcs.rings, sides, first[arcs.polygons]))
    angles, weights = first + np.arctan2(axes[:, 1], axes[:, 0]) / 2, np.hypot(*axes.T)
    reach = np.maximum(_reach(arcs.points, arcs.rings)[outer], 1e-9)
    touching = arcs.faces[arcs.faces[:, 1] != NOBODY]
    pairs = np.unique(np.sort(touching), axis=0)
    pairs = pairs[np.argsort(np.abs(_turn(angles[pairs[:, 0]], angles[pairs[:, 1]])), kind="stable")]
    return _common(angles, weights, np.minimum(_TURNED / reach, _LARGEST_TURN), pairs)


@njit(cache=True, nogil=True)
def _turn(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the turn from one direction to the other, of 45 degrees at most."""
    return (other - one + np.pi / 4) % (np.pi / 2) - np.pi / 4


@njit(cache=True, nogil=True)
def _by_edges(points: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """Return (R,) mean directions of the edges of rings, which weigh the square of their length."""
    angles = np.zeros(len(rings) - 1)
    for ring in range(len(rings) - 1):
        own = points[rings[ring] : rings[ring + 1]]
        kept = thinned(own, _STRAIGHT)
        total = 0j
        for k in range(len(kept)):
            step = own[kept[k]] - own[kept[k - 1]]
            edge = complex(step[0], step[1])
            if edge != 0:
                total += edge**4 / abs(edge) ** 2
        angles[ring] = np.angle(total) / 4
    return angles


@njit(cache=True, nogil=True)
def _axes(points: np.ndarray, rings: np.ndarray, sides: Sides, angles: np.ndarray) -> np.ndarray:
    """Return (R, 2) sums over the sides of rings: twice the angle from the direction to the axis of the side.

    A side weighs the moment of inertia of its outline, about the cube of its length.
    """
    out = np.zeros((len(rings) - 1, 2))
    sums, mixed = np.zeros((len(sides.offsets), 3)), np.zeros((len(sides.offsets), 3))
    for ring in range(len(rings) - 1):
        first, end = rings[ring], rings[ring + 1]
        if sides.numbers[first] == NONE:
            continue
        for i in range(first, end):
            dx, dy = points[i + 1 if i + 1 < end else first] - points[i]
            x, y = points[i] - points[first]  # small numbers lose fewer digits
            x, y, length, side = x + dx / 2, y + dy / 2, np.hypot(dx, dy), sides.numbers[i]
            sums[side] += np.array([length, length * x, length * y])
            squares = np.array([x * x + dx * dx / 12, y * y + dy * dy / 12, x * y + dx * dy / 12])
            mixed[side] += length * squares  # an edge is a rod
        cosine, sine = np.cos(2 * angles[ring]), np.sin(2 * angles[ring])
        for side in range(sides.numbers[first:end].min(), sides.numbers[first:end].max() + 1):
            length, x, y = sums[side]
            real = mixed[side, 0] - mixed[side, 1] - (x * x - y * y) / length
            imaginary = 2 * (mixed[side, 2] - x * y / length)
            turned = real * cosine + imaginary * sine, imaginary * cosine - real * sine
            sign = 1.0 if turned[0] > 0 else -1.0  # an axis across is one along, turned by a right angle
            out[ring, 0] += sign * turned[0]
            out[ring, 1] += sign * turned[1]
    return out


@njit(cache=True, nogil=True)
def _reach(points: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """Return (R,) half the diagonals of the bounds of rings."""
    reach = np.empty(len(rings) - 1)
    for ring in range(len(rings) - 1):
        own = points[rings[ring] : rings[ring + 1]]
        reach[ring] = np.hypot(own[:, 0].max() - own[:, 0].min(), own[:, 1].max() - own[:, 1].min()) / 2
    return reach


@njit(cache=True, nogil=True)
def _common(angles: np.ndarray, weights: np.ndarray, most: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Let polygons that touch take a common direction, the most similar pairs first.

    Args:
        angles: (P,) their own directions.
        weights: (P,) how much each of them counts.
        most: (P,) by how much each may be turned.
        pairs: (N, 2) polygons that touch, by the turn between them.
    """
    angles, most, parents = angles.copy(), most.copy(), np.arange(len(angles))
    vectors = weights * np.exp(4j * angles)
    for k in range(len(pairs)):
        one, other = root_of(parents, pairs[k, 0]), root_of(parents, pairs[k, 1])
        if one == other:
            continue
        both = vectors[one] + vectors[other]
        angle = np.angle(both) / 4
        left = most[one] - abs(_turn(angles[one], angle))
        right = most[other] - abs(_turn(angles[other], angle))
        if min(left, right) >= 0:
            parents[other] = one
            vectors[one], angles[one], most[one] = both, angle, min(left, right)
    for i in range(len(angles)):
        angles[i] = angles[root_of(parents, i)]
    return angles
