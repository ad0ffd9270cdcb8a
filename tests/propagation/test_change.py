from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from satseg.propagation.change import Scaling, changed, moved

SIDE = 192
ALL = np.ones((SIDE, SIDE), dtype=bool)


def ground(seed: int = 1) -> np.ndarray:
    """(2, 192, 192) float32 smoothed noise in standard deviations."""
    noise = np.random.default_rng(seed).normal(size=(2, SIDE, SIDE))
    smooth = np.stack([ndimage.gaussian_filter(band, 3) for band in noise])
    return (smooth / smooth.std()).astype(np.float32)


def recoloured(bands: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(2).normal(0, 0.02, bands.shape)
    return np.stack([bands[1] - 0.5 * bands[0], 0.3 - bands[1]]).astype(np.float32) * 0.7 + noise.astype(np.float32)


def test_the_same_ground_in_other_colours_has_not_changed() -> None:
    assert changed(ground(), recoloured(ground()), ALL, deviation=4).mean() < 1e-3


@pytest.mark.parametrize("kind", ["even", "other"])
def test_other_ground_has_changed_and_that_alone(kind: str) -> None:
    later, box = recoloured(ground()), np.zeros_like(ALL)
    box[70:110, 60:120] = True
    later[:, box] = 2.0 if kind == "even" else recoloured(ground(9))[:, box]
    found = changed(ground(), later, ALL, deviation=4)
    assert found[box].mean() > 0.9
    assert found[~ndimage.binary_dilation(box, iterations=6)].mean() < 1e-3


def test_unknown_pixels_change_nothing() -> None:
    later, known = recoloured(ground()), ALL.copy()
    known[:, 100:130] = False
    later[:, ~known] = 5.0
    assert changed(ground(), later, known, deviation=4).mean() < 1e-3


def test_values_are_moved_and_what_comes_from_beyond_is_told() -> None:
    values = np.arange(12.0).reshape(3, 4)
    shift = np.stack([np.full((3, 4), 1.0), np.full((3, 4), -1.0)])  # one row down, one column to the left
    assert moved(values, shift, order=0, beyond=-1).tolist() == [[-1] * 4, [1, 2, 3, -1], [5, 6, 7, -1]]
    assert moved(values, shift / 2, order=1)[1, 1] == pytest.approx((values[0, 1] + values[1, 2]) / 2)


def test_scaled_values_are_clipped_and_even_bands_do_no_harm() -> None:
    scaled = Scaling(np.array([10.0, 3.0]), np.array([2.0, 0.0])).apply(np.array([[[12.0, 1e6]], [[3.0, 3.0]]]))
    assert scaled.tolist() == [[[1.0, 5.0]], [[0.0, 0.0]]]
