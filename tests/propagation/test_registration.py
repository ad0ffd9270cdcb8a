from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from satseg.propagation.registration import PART, Displacements, Shift, measure_shift

KNOWN = np.ones((PART, PART), dtype=bool)


def ground(shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """(1, 256, 256): smoothed noise, moved down and to the right."""
    wide = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(400, 400)), 1.5) * 100
    rows, columns = np.indices((PART, PART)) + 72.0
    return ndimage.map_coordinates(wide, [rows - shift[0], columns - shift[1]], order=3)[None]


@pytest.mark.parametrize("shift", [(0.0, 0.0), (7.0, -11.0), (-3.3, 2.6)])
def test_a_shift_is_found_to_a_tenth_of_a_pixel_as_by_another_library(shift: tuple[float, float]) -> None:
    found = measure_shift(ground(), ground(shift), KNOWN, limit=32)
    assert found is not None
    assert (found.rows, found.columns) == pytest.approx(shift, abs=0.1)
    theirs, _, _ = phase_cross_correlation(ground(shift)[0], ground()[0], upsample_factor=20, normalization=None)
    assert (found.rows, found.columns) == pytest.approx(theirs.tolist(), abs=0.15)


def test_colours_and_the_direction_of_contrasts_do_not_matter() -> None:
    later = np.concatenate([200 - 0.3 * ground((4.0, 9.0)), np.zeros((1, PART, PART))])
    found = measure_shift(ground(), later, KNOWN, limit=32)
    assert found is not None
    assert (found.rows, found.columns) == pytest.approx((4.0, 9.0), abs=0.1)
    assert found.certainty > 20


def test_other_ground_is_uncertain() -> None:
    other = np.random.default_rng(8).normal(size=(1, PART, PART))
    found = measure_shift(ground(), ndimage.gaussian_filter(other, (0, 1.5, 1.5)), KNOWN, limit=32)
    assert found is not None
    assert found.certainty < 7


def test_beyond_the_limit_nothing_is_looked_for() -> None:
    found = measure_shift(ground(), ground((30.0, 0.0)), KNOWN, limit=8)
    assert found is not None
    assert found.certainty < 7


def test_a_part_of_which_little_is_known_or_that_is_even_has_no_shift() -> None:
    few = KNOWN.copy()
    few[100:] = False
    assert measure_shift(ground(), ground(), few, limit=8) is None
    assert measure_shift(np.ones((1, PART, PART)), ground(), KNOWN, limit=8) is None


def test_uncertain_parts_move_like_the_nearest_certain_one_and_outliers_like_their_neighbours() -> None:
    certain = [(row, column, Shift(2.0, -1.0, 50.0)) for row in range(3) for column in range(4)]
    certain[5] = (1, 1, Shift(-30.0, 30.0, 12.0))
    found = Displacements.of([*certain, (2, 4, Shift(9.0, 9.0, 3.0))], (3, 5))
    assert found is not None
    assert (found.parts == np.float32([2, -1])).all()
    assert found.median == (2.0, -1.0)
    assert found.reach == 3
    assert Displacements.of([(0, 0, Shift(1.0, 1.0, 3.0))], (1, 1)) is None


def test_displacements_are_linear_between_the_middles_of_parts() -> None:
    parts = np.zeros((1, 2, 2), dtype=np.float32)
    parts[0, 1] = 4, 8
    found = Displacements(parts).of_window(10, 0, 2, 2 * PART)
    assert found.shape == (2, 2, 2 * PART)
    assert (
        pytest.approx(np.array([[0, 0], [1.992, 3.984], [4, 8]]), abs=0.01)
        == found[:, 0, [0, PART - 1, 2 * PART - 1]].T
    )
    assert (found[:, 0] == found[:, 1]).all()
