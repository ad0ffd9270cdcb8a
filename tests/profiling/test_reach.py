from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend import create_model, list_architectures
from satseg.profiling.reach import receptive_field

ALL = {entry.name: entry for entry in list_architectures()}


class Mean(nn.Module):
    """The mean over the whole image, in every pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x.mean(dim=(2, 3), keepdim=True)


class Skip(nn.Module):
    """Long and short paths, which cancel each other in part."""

    def __init__(self, long: nn.Module) -> None:
        super().__init__()
        self.long = long

    def forward(self, x: Tensor) -> Tensor:
        return x - self.long(x)


class Attention(nn.Module):
    """The mean over the whole image, weighted by products that leave one pixel all the weight."""

    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        pixels = 1e6 * x.flatten(2).transpose(1, 2)
        if self.fused:
            return F.scaled_dot_product_attention(pixels, pixels, pixels).transpose(1, 2).view_as(x)
        return ((pixels @ pixels.transpose(1, 2)).softmax(dim=2) @ pixels).transpose(1, 2).view_as(x)


def conv(kernel: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(1, 1, kernel, stride=stride, dilation=dilation, padding=dilation * (kernel // 2))


@pytest.mark.parametrize(
    ("layers", "pixels"),
    [
        ([conv(1)], 1),
        ([conv(3), conv(3)], 5),
        ([conv(3, dilation=24)], 49),
        # The sum over layers of (kernel - 1) * dilation * stride so far, and one more.
        ([conv(7, stride=2), nn.MaxPool2d(3, 2, 1), conv(3, dilation=4), nn.Upsample(scale_factor=4)], 1 + 6 + 4 + 32),
        ([nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d(2), conv(3), nn.Upsample(scale_factor=4)], 12),
        ([nn.MaxPool2d(2), nn.ConvTranspose2d(1, 1, 2, stride=2), nn.BatchNorm2d(1), nn.ReLU6()], 2),
        ([Skip(nn.Sequential(*(conv(3) for _ in range(200))))], 401),  # far ends fade to 3 ** -200
        ([conv(3), Mean()], None),
        ([nn.MaxPool2d(8), Attention(fused=True), nn.Upsample(scale_factor=8)], None),
        ([nn.MaxPool2d(8), Attention(fused=False), nn.Upsample(scale_factor=8)], None),
    ],
)
def test_fields_are_those_of_arithmetic(layers: list[nn.Module], pixels: int | None) -> None:
    assert receptive_field(nn.Sequential(*layers), in_channels=1) == pixels


def test_weights_that_are_zero_or_cancel_hide_no_path() -> None:
    net = nn.Sequential(conv(5), nn.BatchNorm2d(1), nn.PReLU(), conv(5))
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    net[1].running_var.fill_(1e9)
    assert receptive_field(net, in_channels=1) == 9


@pytest.mark.slow
@pytest.mark.parametrize("arch", ALL)
def test_the_catalogue_keeps_what_is_measured(arch: str) -> None:
    torch.manual_seed(0)
    model = create_model(arch, in_channels=3, num_classes=2)
    assert ALL[arch].receptive_field == receptive_field(model, in_channels=3)
