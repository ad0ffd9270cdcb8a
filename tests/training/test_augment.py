"""Covers ``augmentation``."""

from __future__ import annotations

import numpy as np
import pytest

from satseg.training.augment import SYMMETRIES, apply_symmetry, cutmix_box, draw_params
from satseg.training.augmentation import PRESETS, Augmentation


def test_the_eight_symmetries_of_a_square_are_all_different() -> None:
    square = np.arange(9).reshape(3, 3)
    assert len({apply_symmetry(square, symmetry).tobytes() for symmetry in range(SYMMETRIES)}) == 8


def test_symmetries_form_a_group() -> None:
    square = np.arange(9).reshape(3, 3)
    group = {apply_symmetry(square, symmetry).tobytes() for symmetry in range(SYMMETRIES)}
    pairs = {
        apply_symmetry(apply_symmetry(square, first), second).tobytes() for first in range(8) for second in range(8)
    }
    assert pairs == group


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_bands_and_labels_turn_together(symmetry: int) -> None:
    labels = np.arange(12).reshape(3, 4)
    bands = np.stack([labels, labels * 10])
    turned = apply_symmetry(bands, symmetry)
    assert np.array_equal(turned[0], apply_symmetry(labels, symmetry))
    assert np.array_equal(turned[1], apply_symmetry(labels, symmetry) * 10)


def test_turning_without_symmetry_changes_nothing() -> None:
    square = np.arange(9).reshape(3, 3)
    assert np.array_equal(apply_symmetry(square, 0), square)


def test_the_same_generator_draws_the_same() -> None:
    first, second = (draw_params(Augmentation(), 13, np.random.default_rng((1, 2, 3))) for _ in range(2))
    assert first.symmetry == second.symmetry
    assert np.array_equal(first.gain, second.gain)
    assert np.array_equal(first.offset, second.offset)


def test_draws_spread_as_told_over_any_number_of_bands() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_params(Augmentation(gain=0.2, offset=0.5), 5, rng) for _ in range(4000)]
    gain, offset = np.stack([d.gain for d in drawn]), np.stack([d.offset for d in drawn])
    assert gain.shape == offset.shape == (4000, 5)
    assert np.log(gain).std(axis=0) == pytest.approx([0.2] * 5, rel=0.05)
    assert offset.std(axis=0) == pytest.approx([0.5] * 5, rel=0.05)
    assert np.corrcoef(offset[:, 0], offset[:, 4])[0, 1] == pytest.approx(0.5, abs=0.05)
    assert {int(d.symmetry) for d in drawn} == set(range(8))


def test_augmentation_can_be_switched_off() -> None:
    drawn = draw_params(Augmentation(symmetries=False, gain=0, offset=0), 3, np.random.default_rng(0))
    assert (drawn.symmetry, drawn.gain.tolist(), drawn.offset.tolist()) == (0, [1, 1, 1], [0, 0, 0])


def test_the_default_recipe_neither_warps_nor_bends_nor_drops() -> None:
    drawn = draw_params(PRESETS["light"], 3, np.random.default_rng(0))
    assert (drawn.angle, drawn.zoom, drawn.noise, drawn.blur) == (0, 1, 0, 0)
    assert drawn.gamma.tolist() == [1, 1, 1]
    assert drawn.kept.all()


def test_a_share_of_samples_is_warped_within_the_limits() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_params(Augmentation(warp=0.3, rotation=20, scale=1.25), 1, rng) for _ in range(3000)]
    warped = [d for d in drawn if d.angle != 0]
    assert len(warped) / 3000 == pytest.approx(0.3, abs=0.03)
    assert max(abs(float(d.angle)) for d in warped) == pytest.approx(20, abs=0.1)
    assert (min(float(d.zoom) for d in warped), max(float(d.zoom) for d in warped)) == pytest.approx(
        (0.8, 1.25), abs=0.01
    )


def test_the_middle_preset_rotates_scales_and_shifts_three_quarters_of_the_samples() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_params(PRESETS["middle"], 3, rng) for _ in range(3000)]
    moved = [d for d in drawn if d.shift.any()]
    assert len(moved) / 3000 == pytest.approx(0.75, abs=0.03)
    assert {(float(d.zoom) != 1, float(d.angle) != 0) for d in moved} == {(True, True)}
    zooms, angles, shifts = [float(d.zoom) for d in drawn], [float(d.angle) for d in drawn], [d.shift for d in drawn]
    assert (min(zooms), max(zooms)) == pytest.approx((1 / 1.4, 1.4), abs=0.01)
    assert (min(angles), max(angles)) == pytest.approx((-45, 45), abs=0.2)
    assert np.abs(np.stack(shifts)).max(axis=0) == pytest.approx([0.25, 0.25], abs=1e-3)
    assert not any(d.noise or d.blur for d in drawn)


def test_one_band_at_least_is_kept() -> None:
    rng = np.random.default_rng(0)
    assert all(draw_params(Augmentation(band_dropout=1.0), bands, rng).kept.all() for bands in (1, 2, 5))
    assert all(draw_params(Augmentation(band_dropout=0.9), 2, rng).kept.any() for _ in range(50))


def test_boxes_of_cutmix_lie_in_the_tile_and_vary_from_nothing_to_all_of_it() -> None:
    rng = np.random.default_rng(0)
    boxes = [cutmix_box(64, rng) for _ in range(500)]
    areas = [(rows.stop - rows.start) * (cols.stop - cols.start) / 64**2 for rows, cols in boxes]
    assert all(0 <= part.start <= part.stop <= 64 for box in boxes for part in box)
    assert min(areas) < 0.01
    assert max(areas) > 0.7
