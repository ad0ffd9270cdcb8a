from __future__ import annotations

import numpy as np
import pytest

from satseg.records import Rows
from satseg.vectorization.object_records import ObjectRecords


def random_rows(seed: int = 0) -> Rows:
    """Return a map of objects whose numbers rise with their first pixels, some of them in several parts."""
    rng = np.random.default_rng(seed)
    ids = np.kron(rng.integers(0, 2000, (9, 12)), np.ones((3, 2), dtype=int)).astype(np.int32)
    classes = np.where(ids > 0, ids % 3, 255).astype(np.uint8)
    return Rows(0, classes, None, ids, rng.integers(0, 255, ids.shape).astype(np.uint8))


@pytest.mark.parametrize("strip", [1, 4, 27])
def test_scores_follow_from_every_edge_of_an_object_but_those_of_the_map(strip: int) -> None:
    rows = random_rows()
    assert rows.objects is not None
    assert rows.boundary is not None
    records = ObjectRecords()
    for top in range(0, len(rows.classes), strip):
        part = np.s_[top : top + strip]
        records.push(Rows(top, rows.classes[part], None, rows.objects[part], rows.boundary[part]))
    ids = np.unique(rows.objects[rows.objects > 0])
    found = records.columns(ids, np.full(len(ids), 0.5, dtype=np.float32))
    height, width = rows.objects.shape
    for number, one, score in zip(ids, found.classes, found.scores, strict=True):
        values = [
            rows.boundary[row, column]
            for row, column in np.argwhere(rows.objects == number)
            for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
            if 0 <= near[0] < height and 0 <= near[1] < width and rows.objects[near] != number
        ]
        assert score == pytest.approx(0.5 * np.mean(values) / 254, rel=1e-5)
        assert one == number % 3


def test_an_object_that_fills_the_map_has_no_outline_and_no_score() -> None:
    records = ObjectRecords()
    ones = np.ones((4, 5), dtype=np.uint8)
    records.push(Rows(0, ones, None, ones.astype(np.int32), ones))
    assert np.isnan(records.columns(np.array([1]), np.array([0.9], dtype=np.float32)).scores).all()


def test_scores_of_objects_that_were_found_by_their_centres_follow_from_the_largest_heat_inside() -> None:
    rows = random_rows()
    assert rows.objects is not None
    records = ObjectRecords()
    for top in range(0, len(rows.classes), 4):
        part = np.s_[top : top + 4]
        records.push(Rows(top, rows.classes[part], None, rows.objects[part], None, rows.boundary[part]))
    ids = np.unique(rows.objects[rows.objects > 0])
    found = records.columns(ids, np.full(len(ids), 0.5, dtype=np.float32))
    for number, one, score in zip(ids, found.classes, found.scores, strict=True):
        assert score == pytest.approx(0.5 * rows.boundary[rows.objects == number].max() / 254, rel=1e-5)
        assert one == number % 3
