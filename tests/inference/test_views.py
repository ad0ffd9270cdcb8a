from __future__ import annotations

import pytest
import torch

from satseg.errors import UsageError
from satseg.inference.views import ORIENTATIONS, Views, mean, resize

WINDOW = torch.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7).float()


@pytest.mark.parametrize("orientation", ORIENTATIONS["d4"])
def test_turning_back_undoes_turning(orientation: object) -> None:
    assert torch.equal(orientation.turn_back(orientation.turn(WINDOW)), WINDOW)


@pytest.mark.parametrize(("tta", "count"), [("none", 1), ("flips", 4), ("d4", 8)])
def test_orientations_all_differ_and_the_first_is_the_window_itself(tta: str, count: int) -> None:
    square = WINDOW[..., :5]
    turned = [orientation.turn(square) for orientation in ORIENTATIONS[tta]]
    assert torch.equal(turned[0], square)
    assert len({tuple(one.flatten().tolist()) for one in turned}) == count


def test_sizes_multiply_scale_and_resampling_along_each_axis() -> None:
    views = Views(scales=(0.5, 1.0), resample=(2.0, 0.75))
    assert views.sizes(64, 128) == [(64, 48), (128, 96)]


def test_a_coarse_view_spans_more_of_the_scene() -> None:
    assert Views().span(21) == (21, 21)
    assert Views(scales=(0.5, 1.0), resample=(2.0, 0.75)).span(21) == (21, 56)


def test_no_view_is_smaller_than_networks_take() -> None:
    assert Views(scales=(0.25,)).sizes(64, 256) == [(32, 64)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tta": "d8"}, "test-time augmentation 'd8' is unknown"),
        ({"scales": ()}, "No scale is given"),
        ({"scales": (1.0, 0.0)}, "factor of 0"),
        ({"scales": (-1.0,)}, "factor of -1"),
        ({"resample": (1.0, float("nan"))}, "factor of nan"),
        ({"resample": (17.0, 1.0)}, "factor of 17"),
    ],
)
def test_views_that_make_no_sense_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Views(**wrong)


def test_resizing_to_its_own_size_is_no_work() -> None:
    assert resize(WINDOW, (5, 7)) is WINDOW


def test_shrinking_by_a_whole_factor_looks_at_every_pixel() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[..., 13, 29] = 1.0  # plain bilinear sampling at a quarter of the size would miss it
    assert resize(image, (16, 16)).sum() > 0


@pytest.mark.parametrize("size", [(7, 40), (40, 7), (11, 11)])
def test_resized_probabilities_stay_probabilities(size: tuple[int, int]) -> None:
    probabilities = torch.rand(2, 5, 20, 20, generator=torch.Generator().manual_seed(0)).softmax(1)
    resized = resize(probabilities, size)
    assert resized.min() >= 0
    torch.testing.assert_close(resized.sum(1), torch.ones(2, *size))


def test_mean_of_one_is_that_one() -> None:
    assert mean(iter([WINDOW])) is WINDOW


def test_mean_of_several() -> None:
    assert torch.equal(mean(torch.full((1, 2), value) for value in (1.0, 2.0, 6.0)), torch.full((1, 2), 3.0))


@pytest.mark.parametrize("factor", [3.0, 12.9, 2.51, 1.3, 0.7, 1 / 16])
@pytest.mark.parametrize("side", [256, 512])
def test_a_window_is_never_seen_larger_than_it_is_to_be(side: int, factor: float) -> None:
    views = Views(resample=(factor, factor))
    rows, columns = views.window(side)
    (seen,) = views.sizes(rows, columns)
    assert max(seen) <= side or rows == 32  # the least that networks take
    assert min(seen) > side - factor
