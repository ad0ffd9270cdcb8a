from __future__ import annotations

import numpy as np
import pytest

from satseg.training.augment import SYMMETRIES, Augmentation, draw, turn


def test_the_eight_symmetries_of_a_square_are_all_different() -> None:
    square = np.arange(9).reshape(3, 3)
    assert len({turn(square, symmetry).tobytes() for symmetry in range(SYMMETRIES)}) == 8


def test_symmetries_form_a_group() -> None:
    square = np.arange(9).reshape(3, 3)
    group = {turn(square, symmetry).tobytes() for symmetry in range(SYMMETRIES)}
    pairs = {turn(turn(square, first), second).tobytes() for first in range(8) for second in range(8)}
    assert pairs == group


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_bands_and_labels_turn_together(symmetry: int) -> None:
    labels = np.arange(12).reshape(3, 4)
    bands = np.stack([labels, labels * 10])
    turned = turn(bands, symmetry)
    assert np.array_equal(turned[0], turn(labels, symmetry))
    assert np.array_equal(turned[1], turn(labels, symmetry) * 10)


def test_turning_without_symmetry_changes_nothing() -> None:
    square = np.arange(9).reshape(3, 3)
    assert np.array_equal(turn(square, 0), square)


def test_the_same_generator_draws_the_same() -> None:
    first, second = (draw(Augmentation(), 13, np.random.default_rng((1, 2, 3))) for _ in range(2))
    assert first.symmetry == second.symmetry
    assert np.array_equal(first.gain, second.gain)
    assert np.array_equal(first.offset, second.offset)


def test_draws_spread_as_told_over_any_number_of_bands() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw(Augmentation(gain=0.2, offset=0.5), 5, rng) for _ in range(4000)]
    gain, offset = np.stack([d.gain for d in drawn]), np.stack([d.offset for d in drawn])
    assert gain.shape == offset.shape == (4000, 5)
    assert np.log(gain).std(axis=0) == pytest.approx([0.2] * 5, rel=0.05)
    assert offset.std(axis=0) == pytest.approx([0.5] * 5, rel=0.05)
    assert np.corrcoef(offset[:, 0], offset[:, 4])[0, 1] == pytest.approx(0.5, abs=0.05)
    assert {int(d.symmetry) for d in drawn} == set(range(8))


def test_augmentation_can_be_switched_off() -> None:
    drawn = draw(Augmentation(symmetries=False, gain=0, offset=0), 3, np.random.default_rng(0))
    assert (drawn.symmetry, drawn.gain.tolist(), drawn.offset.tolist()) == (0, [1, 1, 1], [0, 0, 0])
