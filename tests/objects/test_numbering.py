"""Objects are numbered by their first pixels, however many rows arrive at once."""

from __future__ import annotations

import numpy as np
import pytest

from satseg.objects.numbering import Numbering
from satseg.objects.watershed import NO_MARKER


def test_numbers_follow_the_first_pixels_in_reading_order() -> None:
    markers = np.array([[-1, 7, 7, -1, 9], [-1, -1, 7, 9, 9], [11, 11, -1, 9, 14]])
    numbering = Numbering(5, reach=3)
    assert numbering(markers).tolist() == [[0, 1, 1, 0, 2], [0, 0, 1, 2, 2], [3, 3, 0, 2, 4]]
    assert numbering.count == 4
    assert numbering(np.array([[11, NO_MARKER, NO_MARKER, 16, 14]])).tolist() == [[3, 0, 0, 5, 4]]


@pytest.mark.parametrize("rows", [1, 3, 10])
def test_rows_may_arrive_in_pieces_of_any_height(rows: int) -> None:
    width, height, reach = 30, 40, 6
    place = np.arange(height * width).reshape(height, width)
    up = np.random.default_rng(0).integers(0, reach, (height // 2, width // 3)).repeat(2, 0).repeat(3, 1)
    markers = np.where(up == 3, NO_MARKER, np.maximum(place % width, place - up * width) // 7 * 7)
    whole = Numbering(width, height)(markers)
    numbering = Numbering(width, reach + 1)
    pieces = [numbering(markers[top : top + rows]) for top in range(0, height, rows)]
    assert np.concatenate(pieces).tolist() == whole.tolist()
    flat = whole.ravel()
    firsts = [np.flatnonzero(flat == number)[0] for number in range(1, numbering.count + 1)]
    assert firsts == sorted(firsts)


def test_only_objects_that_may_go_on_are_remembered() -> None:
    numbering = Numbering(100, reach=5)
    sizes = []
    for row in range(300):
        numbering(np.arange(100)[None] + 100 * row)
        sizes.append(numbering.remembered)
    assert max(sizes) <= 500
    assert numbering.count == 30_000
