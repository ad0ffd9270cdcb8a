from __future__ import annotations

import numpy as np
import pytest

from satseg.training.class_weights import class_weights

PIXELS = [(90, 10, 0), (60, 0, 40), (100, 0, 0)]  # 250, 10 and 40 pixels of 300


def test_no_weights() -> None:
    assert class_weights("none", PIXELS) is None


def test_inverse_weights_are_one_over_the_share_and_average_one() -> None:
    inverse = np.array([300 / 250, 300 / 10, 300 / 40])
    weights = class_weights("inverse", PIXELS)
    assert weights == pytest.approx(inverse / inverse.mean())


def test_median_weights_take_a_class_s_share_of_the_tiles_that_hold_it() -> None:
    frequency = np.array([250 / 300, 10 / 100, 40 / 100])
    assert class_weights("median", PIXELS) == pytest.approx(0.4 / frequency)


@pytest.mark.parametrize("rule", ["inverse", "median"])
def test_a_class_without_pixels_gets_no_weight_and_changes_none(rule: str) -> None:
    weights = class_weights(rule, [(*row, 0) for row in PIXELS])
    assert weights is not None
    assert weights[3] == 0
    assert weights[:3] == pytest.approx(class_weights(rule, PIXELS))


@pytest.mark.parametrize("rule", ["inverse", "median"])
def test_tiles_without_any_label_give_zeros(rule: str) -> None:
    assert class_weights(rule, [(0, 0)]) == pytest.approx([0, 0])
