"""Arcs of coverages: each boundary once, and rings that can be made of them again."""

from __future__ import annotations

import numpy as np
import pytest

from satseg.vectorization.arcs import NOBODY, Arcs, arcs_of, join_arcs


def arcs(*rings: list[tuple[int, int]], polygons: list[int] | None = None) -> Arcs:
    """Return the arcs of open rings; one polygon each unless ``polygons`` says where each begins."""
    points = np.concatenate([np.array(ring, dtype=np.int64) for ring in rings])
    _, vertices = np.unique(points, axis=0, return_inverse=True)
    ends = np.cumsum([0, *map(len, rings)])
    return arcs_of(points.astype(float), vertices.ravel(), ends, np.array(polygons or range(len(rings) + 1)))


SQUARE = [(0, 0), (4, 0), (4, 4), (0, 4)]
BESIDE = [(4, 4), (4, 0), (8, 0), (8, 4)]
INSIDE = [(1, 1), (2, 1), (2, 2), (1, 2)]


def test_a_ring_without_junctions_is_one_arc() -> None:
    found = arcs(SQUARE)
    assert found.faces.tolist() == [[0, NOBODY]]
    assert not found.junctions.any()
    assert found.pieces.tolist() == [0, 4]


def test_neighbours_share_an_arc_that_the_longer_ring_owns() -> None:
    longer = [(4, 4), (4, 0), (8, 0), (9, 2), (8, 4)]
    found = arcs(SQUARE, longer)
    assert len(found.faces) == 3
    (shared,) = np.flatnonzero(found.faces[:, 1] != NOBODY)
    assert found.faces[shared].tolist() == [1, 0]
    assert found.points[found.junctions].tolist() == [[4, 0], [4, 4], [4, 4], [4, 0]]


def test_a_ring_that_fills_a_hole_is_owned_by_the_polygon_inside() -> None:
    found = arcs(SQUARE, INSIDE[::-1], INSIDE, polygons=[0, 2, 3])
    assert sorted(found.faces.tolist()) == [[0, NOBODY], [1, 0]]


@pytest.mark.parametrize("order", [1, -1])
def test_rings_are_made_again_of_all_vertices(order: int) -> None:
    rings = [SQUARE, BESIDE, [(4, 4), (8, 4), (8, 8), (0, 8), (0, 4)]][::order]
    found = arcs(*rings)
    places, ends = join_arcs(found, np.ones(len(found.points), dtype=bool))
    for ring, first, end in zip(rings, ends[:-1], ends[1:], strict=True):
        made = list(map(tuple, found.points[places[first:end]].astype(int).tolist()))
        at = made.index(ring[0])
        assert made[at:] + made[:at] == ring


def test_what_is_dropped_from_an_arc_is_dropped_on_both_sides() -> None:
    bent = [(4, 4), (5, 2), (4, 0)]
    found = arcs([(0, 0), *bent[::-1], (0, 4)], [*bent, (8, 0), (8, 4)])
    kept = found.points[:, 0] != 5
    places, ends = join_arcs(found, kept)
    assert np.diff(ends).tolist() == [4, 4]
    assert 5 not in found.points[places][:, 0]


def test_each_arc_is_owned_by_one_ring() -> None:
    found = arcs(SQUARE, BESIDE)
    assert found.is_owned.sum() == len(found.owned) == 3
    assert np.diff(np.append(found.arcs[found.owned], 3)).tolist() == [1, 1, 1]
