"""The convolutions of VGG-16 as five stages, between which networks pool as they need.

Simonyan and Zisserman: "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv 1409.1556,
2014, Table 1, column D.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from satseg.backend.nn.initialise import he_normal

VGG16_WIDTHS = (64, 128, 256, 512, 512)
VGG16_DEPTHS = (2, 2, 3, 3, 3)


def vgg16_stages(in_channels: int, *, norm: bool, last_dilation: int = 1) -> nn.ModuleList:
    """Return the five stages without their poolings; each keeps the size of its input.

    Args:
        in_channels: Bands of the input.
        norm: Batch normalisation after each convolution.
        last_dilation: Dilation of the fifth stage.
    """
    stages = nn.ModuleList()
    width = in_channels
    for i, (out, depth) in enumerate(zip(VGG16_WIDTHS, VGG16_DEPTHS, strict=True)):
        widths = [width] + [out] * depth
        stages.append(conv_stage(widths, norm=norm, dilation=last_dilation if i == 4 else 1))
        width = out
    he_normal(stages, mode="fan_out")
    return stages


def conv_stage(widths: list[int], *, norm: bool, dilation: int = 1) -> nn.Sequential:
    """Return 3x3 convolutions with bias from one width to the next, each with ReLU, normalised before it or not."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers.append(nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation))
        if norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
