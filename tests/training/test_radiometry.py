from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from satseg.records import BandStatistics
from satseg.training.radiometry import add_noise, adjust_gamma, gaussian_blur, scale_and_shift

STATISTICS = BandStatistics(1, (50.0, 3.0), (20.0, 0.0), (10.0, 3.0), (4000.0, 3.0))  # the second band is constant


def test_gamma_keeps_the_smallest_value_and_the_mean_and_spreads_what_lies_above() -> None:
    raw = torch.tensor([0.0, 10.0, 30.0, 50.0, 90.0])
    images = torch.stack([(raw - 50) / 20, torch.zeros(5)])[None, :, None]  # (1, 2, 1, 5)
    bent = adjust_gamma(images, torch.tensor([[2.0, 2.0]]), STATISTICS)
    expected = 10 + 40 * ((raw - 10).clamp(min=0) / 40) ** 2
    assert torch.allclose(bent[0, 0, 0] * 20 + 50, expected)
    assert expected.tolist() == [10, 10, 20, 50, 170]
    assert torch.equal(bent[0, 1], images[0, 1])


def test_gamma_of_one_changes_nothing_above_the_smallest_value() -> None:
    images = torch.rand(2, 2, 4, 4)
    assert torch.allclose(adjust_gamma(images, torch.ones(2, 2), STATISTICS), images, atol=1e-6)


def test_adjusting_multiplies_and_adds_per_image_and_band() -> None:
    images = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # (1, 2, 1, 2)
    adjusted = scale_and_shift(images, torch.tensor([[2.0, 3.0]]), torch.tensor([[10.0, 20.0]]))
    assert adjusted.tolist() == [[[[12.0, 14.0]], [[29.0, 32.0]]]]


@pytest.mark.parametrize("bands", [1, 3, 13])
def test_blur_is_torchvision_s_with_a_width_for_each_sample(bands: int) -> None:
    images = torch.rand(2, bands, 20, 24)
    blurred = gaussian_blur(images, torch.tensor([0.5, 1.5]))
    kernel = 2 * 5 + 1  # three standard deviations of the wider one, rounded up
    for number, sigma in enumerate((0.5, 1.5)):
        expected = tv.gaussian_blur_image(images[number], [kernel, kernel], [sigma, sigma])
        assert torch.allclose(blurred[number], expected, atol=1e-5)


def test_noise_is_as_strong_as_told_and_a_function_of_the_sample_s_seed() -> None:
    images = torch.zeros(3, 2, 100, 100)
    noisy = add_noise(images, torch.tensor([0.1, 2.0, 0.1]), [5, 6, 5])
    assert noisy[0].std().item() == pytest.approx(0.1, rel=0.03)
    assert noisy[1].std().item() == pytest.approx(2.0, rel=0.03)
    assert torch.equal(noisy[0], noisy[2])
