"""Outlines that cannot be used, and pairs of them that do not fit together."""

from __future__ import annotations

import numpy as np
import shapely

from satseg.vectorization.conflicts import Usability, conflicting_pairs

SQUARE = shapely.box(0, 0, 4, 4)


def test_what_is_empty_invalid_or_far_from_what_was_traced_is_unusable() -> None:
    usability = Usability(np.array([SQUARE] * 4))
    bow = shapely.Polygon([(0, 0), (4, 4), (4, 0), (0, 4)])
    found = usability.unusable(np.array([SQUARE, bow, shapely.Polygon(), shapely.box(0, 0, 4, 2)]))
    assert found.tolist() == [False, True, True, True]
    found = usability.unusable(np.array([shapely.box(8, 8, 9, 9), SQUARE, shapely.Polygon(), SQUARE]))
    assert found.tolist() == [True, False, True, False]


def test_polygons_that_overlap_or_touch_without_common_vertices_conflict() -> None:
    beside, apart = shapely.box(4, 0, 8, 4), shapely.box(20, 0, 24, 4)
    inside, across = shapely.box(21, 1, 22, 2), shapely.box(5, 4, 7, 6)
    polygons = np.array([SQUARE, beside, apart, inside, across])
    assert conflicting_pairs(polygons, np.ones(5, dtype=bool)).tolist() == [[1, 4], [2, 3]]
    assert len(conflicting_pairs(polygons[:3], np.ones(3, dtype=bool))) == 0


def test_pairs_of_which_neither_is_new_are_left_out() -> None:
    polygons = np.array([SQUARE, shapely.box(3, 0, 8, 4), shapely.box(20, 0, 24, 4), shapely.box(23, 1, 26, 2)])
    assert conflicting_pairs(polygons, np.array([True, False, False, False])).tolist() == [[0, 1]]
    assert len(conflicting_pairs(polygons, np.zeros(4, dtype=bool))) == 0
