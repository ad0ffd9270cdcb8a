"""Rings that lie on each other share their points."""

from __future__ import annotations

import numpy as np

from satseg.vectorization.noding import Rings, noded


def rings(*of: list[int]) -> Rings:
    return Rings(np.array([point for ring in of for point in ring]), np.cumsum([0, *map(len, of)]))


def sets(found: Rings) -> list[set[int]]:
    return [set(found.points[first:end].tolist()) for first, end in zip(found.ends[:-1], found.ends[1:], strict=True)]


PLACES = np.array([(0, 0), (4, 0), (4, 4), (0, 4), (8, 0), (8, 4), (4, 2), (8, 2), (4, 0), (2, 0), (6, 2)], dtype=float)


def test_points_of_one_place_become_one() -> None:
    found = noded(rings([0, 1, 2, 3], [8, 4, 5, 2]), PLACES)
    assert sets(found) == [{0, 1, 2, 3}, {1, 2, 4, 5}]


def test_a_corner_on_the_wall_of_another_polygon_is_a_point_of_both() -> None:
    found = noded(rings([0, 1, 2, 3], [1, 4, 7, 6], [6, 7, 5, 2]), PLACES)
    assert sets(found) == [{0, 1, 2, 3, 6}, {1, 4, 6, 7}, {2, 5, 6, 7}]
    assert np.diff(found.ends).tolist() == [5, 4, 4]


def test_points_are_inserted_in_their_order() -> None:
    places = np.array([(0, 0), (9, 0), (9, 9), (0, 9), (6, 0), (3, 0), (3, -3), (6, -3)], dtype=float)
    found = noded(rings([0, 1, 2, 3], [5, 6, 7, 4]), places)
    assert found.points[: found.ends[1]].tolist() == [0, 5, 4, 1, 2, 3]


def test_points_that_divide_nothing_are_dropped() -> None:
    found = noded(rings([0, 9, 1, 6, 2, 3], [1, 4, 7, 5, 2, 6]), PLACES)
    assert sets(found) == [{0, 1, 2, 3}, {1, 2, 4, 5}]


def test_spikes_and_strips_without_width_vanish() -> None:
    found = noded(rings([0, 1, 2, 10, 2, 3], [0, 9, 1]), PLACES)
    assert sets(found) == [{0, 1, 2, 3}, set()]


def test_neighbours_in_a_ring_wrap_around() -> None:
    some = rings([3, 1, 2], [], [5, 4])
    assert some.following().tolist() == [1, 2, 3, 4, 5]
    assert some.following(1).tolist() == [2, 3, 1, 4, 5]
