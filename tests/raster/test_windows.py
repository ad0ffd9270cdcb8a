from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satseg.errors import UsageError
from satseg.raster.windows import strips, window_starts


@given(st.integers(1, 3000), st.integers(1, 600), st.data())
def test_windows_cover_every_pixel_and_end_at_the_edge(length: int, size: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(1, size))
    starts = window_starts(length, size, step)
    assert starts[0] == 0
    assert all(0 < b - a <= step for a, b in pairwise(starts))
    assert starts[-1] + size == length if length > size else starts == [0]


@pytest.mark.parametrize(("size", "step"), [(0, 1), (8, 0), (8, 9)])
def test_windows_with_gaps_are_refused(size: int, step: int) -> None:
    with pytest.raises(UsageError, match="do not cover"):
        window_starts(100, size, step)


@given(st.integers(1, 500), st.integers(1, 200))
def test_strips_follow_on_each_other(height: int, rows: int) -> None:
    windows = strips(height, 7, rows)
    assert [w.row_off for w in windows] == list(range(0, height, rows))
    assert sum(w.height for w in windows) == height
