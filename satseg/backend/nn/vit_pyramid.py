"""Feature pyramid from the single map of a plain vision transformer."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.norm import ChannelNorm


class SimpleFeaturePyramid(nn.Module):
    """Maps of several strides from one: transposed convolutions for finer ones, maximum pooling for coarser ones.

    Li et al.: "Exploring Plain Vision Transformer Backbones for Object Detection", arXiv 2203.16527, section 3. All
    levels follow from the last map. Deviations: a patch whose side is no power of two, such as 14, is resampled to the
    nearest one first; each level ends in a normalisation over its channels, and the two convolutions to 256 channels
    are left to the decoder, which has its own.

    Args:
        in_channels: Channels of the map.
        stride: Input pixels per pixel of the map, 3 to 45.

    Attributes:
        channels: Channels of each level, finest first; each halving of the stride halves them.
        strides: Input pixels per pixel of each level: 4, 8, 16 and 32.
    """

    strides = (4, 8, 16, 32)

    def __init__(self, in_channels: int, stride: int) -> None:
        super().__init__()
        base = 2 ** round(math.log2(stride))
        self.scale = stride / base
        self.channels = tuple(in_channels // max(1, base // level) for level in self.strides)
        self.levels = nn.ModuleList(_level(in_channels, base, level) for level in self.strides)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return (N, channels[i], h * stride / strides[i], w * stride / strides[i]) for each level i.

        Args:
            x: (N, in_channels, h, w). Where a level does not divide its pixels, the pixel at the right or lower edge
                is dropped by resampling, and kept by pooling.
        """
        if self.scale != 1:  # with the exact factor, so that pixels stay in place
            x = F.interpolate(x, scale_factor=self.scale, mode="bilinear")
        return [level(x) for level in self.levels]


def _level(channels: int, stride: int, wanted: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    while stride > wanted:
        if layers:
            layers += [ChannelNorm(channels), nn.GELU()]
        layers.append(nn.ConvTranspose2d(channels, channels // 2, 2, stride=2))
        stride, channels = stride // 2, channels // 2
    while stride < wanted:
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
        stride *= 2
    return nn.Sequential(*layers, ChannelNorm(channels))
