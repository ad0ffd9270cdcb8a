"""Covers ``backend/memory``."""

from __future__ import annotations

import torch
from torch import nn

from satseg.training.batch_size import choose_batch_size

SIZE, BANDS = 32, 2
KEPT = 4 * (BANDS + 8) * SIZE * SIZE  # float32: the input of the convolution and that of the activation


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(BANDS, 8, 3, padding=1), nn.GELU())


def choose(model: nn.Module, *, images: float, tiles: int = 1000) -> int:
    """Choose for memory that just holds what so many images keep, and the weights."""
    weights = sum(4 * parameter.numel() for parameter in model.parameters())
    free = round(2 * (images * KEPT + weights))  # half of it is used
    return choose_batch_size(model, in_channels=BANDS, size=SIZE, tiles=tiles, free_bytes=free)


def test_the_largest_power_of_two_that_fits_is_chosen() -> None:
    assert [choose(network(), images=n) for n in (0.5, 2.5, 4.5, 8.5, 15.9, 500)] == [1, 2, 4, 8, 8, 64]


def test_a_batch_holds_no_more_than_the_tiles() -> None:
    assert choose(network(), images=500, tiles=12) == 8


def test_norms_do_not_notice() -> None:
    model = nn.Sequential(nn.Conv2d(BANDS, 4, 1), nn.BatchNorm2d(4))
    choose(model, images=8)
    assert model[1].num_batches_tracked == 0
    assert torch.equal(model[1].running_mean, torch.zeros(4))


def test_without_a_figure_the_machine_is_asked() -> None:
    assert choose_batch_size(network(), in_channels=BANDS, size=SIZE, tiles=4) == 4


def test_a_smaller_limit_is_kept() -> None:
    assert choose_batch_size(network(), in_channels=BANDS, size=SIZE, tiles=1000, most=32, free_bytes=10**12) == 32
