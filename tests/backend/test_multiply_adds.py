"""Multiply-adds against the figures measured on reference implementations."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from satseg.backend import create_model

# Options, side of the square image in pixels, multiply-adds in 10^9; 3 bands, 19 classes.
REFERENCE = [
    ("erfnet", {}, 512, 13.302),
    ("unet", {}, 512, 192.972),
    ("unet", {"bilinear": True}, 512, 160.222),
]


@pytest.mark.parametrize(("arch", "options", "side", "expected"), REFERENCE)
def test_multiply_adds_agree_within_two_percent(arch: str, options: dict, side: int, expected: float) -> None:
    with torch.device("meta"):
        model = create_model(arch, in_channels=3, num_classes=19, **options).eval()
        images = torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    assert counter.get_total_flops() / 2e9 == pytest.approx(expected, rel=0.02)  # the counter counts two per pair
