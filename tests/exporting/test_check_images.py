from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from exported_networks import small_checkpoint, subject_of

from satseg.checkpoint import ModelCard
from satseg.exporting.check_images import CheckImages, cut_out, random_images, sizes_of
from satseg.results import Size


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return subject_of(*small_checkpoint(tmp_path)).checkpoint.card


def test_eight_images_of_every_size_come_one_and_three_at_a_time(card: ModelCard) -> None:
    images = CheckImages(random_images(card, Size(64, 64)), "random", (Size(64, 64), Size(97, 130)))
    shapes = [batch.shape for batch in images.batches()]
    assert shapes == [(count, 2, *size) for size in images.sizes for count in (1, 3, 1, 3)]


def test_few_images_are_cut_at_other_places(card: ModelCard) -> None:
    image = random_images(card, Size(200, 200))[0]
    first, second, *_ = CheckImages((image,), "one", (Size(64, 64),)).batches()
    assert not np.array_equal(first[0], second[0])


def test_random_images_lie_in_the_range_of_training_and_are_always_the_same(card: ModelCard) -> None:
    images = np.stack(random_images(card, Size(64, 64)))
    assert images.dtype == np.uint16
    assert (images.min(), images.max()) == (0, 255)
    assert np.array_equal(images, random_images(card, Size(64, 64)))


def test_sizes_have_the_smallest_an_odd_one_and_about_that_of_training(card: ModelCard) -> None:
    assert sizes_of(card, None) == (Size(64, 64), Size(97, 130), Size(128, 128))
    assert sizes_of(card, 96) == (Size(96, 96),)


def test_images_that_are_too_small_are_mirrored() -> None:
    image = np.arange(6).reshape(1, 2, 3)
    assert cut_out(image, (2, 6), np.random.default_rng(0))[0].tolist() == [[0, 1, 2, 2, 1, 0], [3, 4, 5, 5, 4, 3]]
