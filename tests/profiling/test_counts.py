from __future__ import annotations

import torch
from torch import nn

from satseg.profiling.counts import count_multiply_adds, count_parameters


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.aux_head = nn.Conv2d(8, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(images))


def test_parameters_leave_out_what_serves_training_alone() -> None:
    assert count_parameters(Net()) == (3 * 9 + 1) * 8 + 2 * 8


def test_multiply_adds_are_those_of_the_convolutions_and_cost_no_memory() -> None:
    with torch.device("meta"):
        model = Net()
    assert count_multiply_adds(model, in_channels=3, height=100_000, width=50_000) == 3 * 9 * 8 * 100_000 * 50_000
