from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satseg.raster.values import FARTHEST, LARGEST, OutOfRange, ValueRange, spell
from satseg.records import BandStatistics

STATISTICS = BandStatistics(9, (10.0, 1e9), (5.0, 0.0), (0.0, 1e9), (20.0, 1e9))
EVERYWHERE = np.ones((2, 3), dtype=bool)


@pytest.mark.parametrize("value", [-3.4028235e38, 9.96921e36, -1e20, 10 + 5 * FARTHEST * 1.01])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_value_that_no_band_holds_makes_its_pixel_invalid(value: float, dtype: type) -> None:
    bands = np.full((2, 2, 3), [[[10]], [[1e9]]], dtype=dtype)
    bands[0, 1, 2] = value
    valid, out_of_range = ValueRange.of(STATISTICS).check(bands, EVERYWHERE, 100, 200)
    assert (~valid).nonzero() == (1, 2)
    assert out_of_range == OutOfRange(1, float(dtype(value)), 0, 101, 202)


def test_values_of_wide_integers_are_looked_at_and_those_of_16_bits_are_not() -> None:
    wide = np.full((1, 2, 3), -(2**31), dtype=np.int32)
    near = ValueRange.of(BandStatistics(9, (100.0,), (20.0,), (0.0,), (200.0,)))
    assert not near.measured(wide, EVERYWHERE).any()
    narrow = ValueRange.of(BandStatistics(9, (255.0,), (1e-4,), (254.0,), (255.0,)))
    assert narrow.measured(np.zeros((1, 2, 3), dtype=np.uint8), EVERYWHERE) is EVERYWHERE


def test_statistics_that_such_a_value_has_spoilt_do_not_let_it_pass() -> None:
    spoilt = ValueRange.of(BandStatistics(9, (-1e33,), (1e35,), (-3.4e38,), (20.0,)))
    bands = np.array([[[10, -3.4e38, 0], [5, 6, 7]]], dtype=np.float32)
    assert spoilt.measured(bands, EVERYWHERE).tolist() == [[True, False, True], [True] * 3]


@given(st.lists(st.floats(width=32), min_size=12, max_size=12), st.lists(st.booleans(), min_size=6, max_size=6))
def test_counts_and_the_first_one_are_those_of_a_look_at_each_pixel(numbers: list[float], known: list[bool]) -> None:
    bands, valid = np.array(numbers, dtype=np.float32).reshape(2, 2, 3), np.array(known).reshape(2, 3)
    measured, out_of_range = ValueRange((-5.0, -LARGEST), (7.0, 2.0)).check(bands, valid, 0, 0)
    inside = (bands[0] >= -5) & (bands[0] <= 7) & (-np.float32(LARGEST) <= bands[1]) & (bands[1] <= 2)
    assert (measured == (valid & inside)).all()
    others = np.argwhere(valid & ~inside).tolist()
    assert (out_of_range is None) == (not others)
    if out_of_range is not None:
        assert (out_of_range.pixels, [out_of_range.row, out_of_range.column]) == (len(others), others[0])


def test_several_models_take_what_all_of_them_take() -> None:
    assert ValueRange.shared([ValueRange((0.0,), (9.0,)), ValueRange((-1.0,), (5.0,))]) == ValueRange((0.0,), (5.0,))


def test_what_was_found_in_pieces_is_told_once() -> None:
    found = OutOfRange.merge({OutOfRange(3, -1e33, 1, 7, 2), OutOfRange(2, 1e34, 0, 5, 9)})
    assert found == OutOfRange(5, 1e34, 0, 5, 9)
    told = found.message("north.tif", ("red", "nir"), "They become nodata")
    assert told.startswith("north.tif: 5 px hold values far out of range, such as 1e+34 in red at row 5, column 9.")
    assert "gdal_edit.py -a_nodata 1e+34" in told
    assert OutOfRange.merge(()) is None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (float(np.float32(-3.4e38)), "-3.4e+38"),
        (float(np.float32(1e20)), "1e+20"),
        (-1.7976931348623157e308, "-1.7976931348623157e+308"),
        (-2147483648.0, "-2147483648"),
        (-9999.0, "-9999"),
    ],
)
def test_values_are_spelt_as_their_file_would(value: float, told: str) -> None:
    assert spell(value) == told
    with np.errstate(over="ignore"):
        assert value in (float(told), float(np.float32(float(told))))
