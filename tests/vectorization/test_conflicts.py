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
    found = conflicting_pairs(np.array([SQUARE, beside, apart, inside, across]))
    assert found.tolist() == [[1, 4], [2, 3]]
    assert len(conflicting_pairs(np.array([SQUARE, beside, apart]))) == 0
