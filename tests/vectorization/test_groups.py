"""Polygons that are drawn together."""

from __future__ import annotations

import numpy as np
import shapely

from satseg.vectorization.arcs import Arcs, arcs_of
from satseg.vectorization.groups import Groups


def arcs(polygons: np.ndarray) -> Arcs:
    corners = np.concatenate([shapely.get_coordinates(polygon)[:-1] for polygon in polygons])
    numbers = np.unique(corners @ [1, 1000], return_inverse=True)[1]
    ends = np.arange(len(polygons) + 1)
    return arcs_of(corners, numbers, 4 * ends, ends)


def box(column: float, row: float) -> shapely.Polygon:
    return shapely.box(column, row, column + 1, row + 1)


def test_polygons_with_a_common_vertex_are_a_group() -> None:
    polygons = np.array([box(0, 0), box(1, 0), box(2, 1), box(5, 0)])
    groups = Groups(arcs(polygons))
    assert groups.of(np.array([True, False, False, False])).tolist() == [True, True, True, False]
    assert groups.of(np.array([False, False, False, True])).tolist() == [False, False, False, True]
    assert not groups.of(np.zeros(4, dtype=bool)).any()


def test_groups_in_contact_are_found_one_after_the_other() -> None:
    apart = np.array([box(0, 0), box(3, 0), box(4, 0), box(7, 0), box(10, 0)])
    moved = np.array([box(0, 0), box(1, 0), box(4, 0), box(5, 0), box(10, 0)])  # 1 meets 0, 3 meets 2; 1 and 2 are one
    wanted = np.array([True, False, False, False, False])
    groups = Groups(arcs(apart))
    assert groups.with_those_in_contact(wanted, apart).tolist() == [True, False, False, False, False]
    assert groups.with_those_in_contact(wanted, moved).tolist() == [True, True, True, True, False]
    assert not groups.with_those_in_contact(np.zeros(5, dtype=bool), moved).any()
