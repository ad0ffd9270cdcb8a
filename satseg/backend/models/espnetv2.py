"""ESPNetv2: spatial pyramids of depthwise dilated convolutions, and a light decoder that pools at many scales.

Mehta, Rastegari, Shapiro, Hajishirzi: "ESPNetv2: A Light-weight, Power Efficient, and General Purpose Convolutional
Neural Network", CVPR 2019, arXiv 1811.11431, 2018. The encoder follows its Figure 1 and Table 1; the decoder is the
one with efficient pyramid pooling that the authors published with their later networks.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.norm import BatchNorm2d
from satseg.backend.nn.pooling import adaptive_mean
from satseg.backend.nn.resize import resize_like

_BRANCHES = 4
_SCALES = (2.0, 1.5, 1.0, 0.5, 0.1)
_SMALLEST = 5  # pixels along a pooled side, at least
_DECODER = (64, 48, 32)


class _EESP(nn.Module):
    """Reduce in groups, transform by depthwise dilations, add them up hierarchically, expand in groups (Figure 1c).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, divisible by 4.
        field: Largest receptive field of a branch, in pixels; wider ones fall back to 3.
        stride: 1 adds the input and ends in PReLU; 2 leaves both to the caller.
    """

    def __init__(self, in_channels: int, out_channels: int, *, field: int, stride: int = 1) -> None:
        super().__init__()
        width = out_channels // _BRANCHES
        fields = sorted(side if side <= field else 3 for side in (3 + 2 * i for i in range(_BRANCHES)))
        self.reduce = _conv_norm(in_channels, width, 1, groups=_BRANCHES)
        self.transforms = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride=stride, padding=d, dilation=d, groups=width, bias=False)
            for d in ((side - 1) // 2 for side in fields)
        )
        self.joined_act = _norm_act(out_channels)
        self.expand = _conv_norm(out_channels, out_channels, 1, groups=_BRANCHES, act=False)
        self.act = nn.PReLU(out_channels) if stride == 1 else None

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.reduce(x)
        parts: list[Tensor] = []
        for transform in self.transforms:
            part = transform(reduced)
            parts.append(part + parts[-1] if parts else part)
        expanded = self.expand(self.joined_act(torch.cat(parts, dim=1)))
        return expanded if self.act is None else self.act(expanded + x)  # (N, out, H/stride, W/stride)


class _Downsampler(nn.Module):
    """Halve the resolution: pooled input beside a strided EESP, reinforced by the image itself (Figure 1d)."""

    def __init__(self, in_channels: int, out_channels: int, *, field: int, bands: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.eesp = _EESP(in_channels, out_channels - in_channels, field=field, stride=2)
        self.reinforce = nn.Sequential(_conv_norm(bands, bands, 3), _conv_norm(bands, out_channels, 1, act=False))
        self.act = nn.PReLU(out_channels)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """Return (N, out, H/2, W/2) for features (N, in, H, W) and the image pooled to (N, bands, H/2, W/2)."""
        return self.act(torch.cat([self.pool(x), self.eesp(x)], dim=1) + self.reinforce(image))


class _PyramidPooling(nn.Module):
    """Depthwise convolutions at five scales, shuffled together and merged."""

    def __init__(self, in_channels: int, out_channels: int, *, width: int, last: bool = False) -> None:
        super().__init__()
        joined = width * len(_SCALES)
        self.project = _conv_norm(in_channels, width, 1)
        self.stages = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False) for _ in _SCALES)
        self.joined_act = _norm_act(joined)
        self.shuffle = nn.ChannelShuffle(len(_SCALES))
        self.merge = nn.Sequential(
            _conv_norm(joined, width, 3, groups=width),
            nn.Conv2d(width, out_channels, 1, bias=last),
            *(() if last else (_norm_act(out_channels),)),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.project(x)
        parts = [_at_scale(x, stage, scale) for stage, scale in zip(self.stages, _SCALES, strict=True)]
        return self.merge(self.shuffle(self.joined_act(torch.cat(parts, dim=1))))  # (N, out, H, W)


class _Merge(nn.Module):
    """Bring the encoder's features to the decoder's width, channels weighed by their global means."""

    global_context = True  # its means are of the whole window

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.Sigmoid()
        )
        self.expand = _conv_norm(in_channels, out_channels, 3, groups=math.gcd(in_channels, out_channels))
        self.act = _norm_act(out_channels)

    def forward(self, features: Tensor, below: Tensor) -> Tensor:
        weighed = self.expand(features) * self.weigh(features)
        return self.act(weighed + resize_like(below, features, align_corners=True))  # (N, out, H, W)


class ESPNetV2(nn.Module):
    """The encoder of Table 1 to stride 16, and the decoder back to stride 2.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        scale: Factor on the widths of the encoder.
    """

    def __init__(self, in_channels: int, num_classes: int, *, scale: float) -> None:
        super().__init__()
        base = math.ceil(int(32 * scale) / _BRANCHES) * _BRANCHES
        widths = (min(base, 32), 2 * base, 4 * base, 8 * base)
        self.level1 = _conv_norm(in_channels, widths[0], 3, stride=2)
        self.down2 = _Downsampler(widths[0], widths[1], field=13, bands=in_channels)
        self.down3 = _Downsampler(widths[1], widths[2], field=11, bands=in_channels)
        self.level2 = nn.Identity()
        self.level3 = nn.Sequential(*(_EESP(widths[2], widths[2], field=9) for _ in range(3)))
        self.down4 = _Downsampler(widths[2], widths[3], field=9, bands=in_channels)
        self.level4 = nn.Sequential(*(_EESP(widths[3], widths[3], field=7) for _ in range(7)))
        width = min(max(num_classes // 2, 8), 16)
        inputs = (widths[3], *_DECODER)
        self.pyramids = nn.ModuleList(_PyramidPooling(*io, width=width) for io in zip(inputs, _DECODER, strict=False))
        self.pyramids.append(_PyramidPooling(_DECODER[-1], num_classes, width=width, last=True))
        self.merges = nn.ModuleList(_Merge(w, out) for w, out in zip(widths[2::-1], _DECODER, strict=True))
        self.halve = nn.AvgPool2d(3, stride=2, padding=1)
        self.aligned = AlignedInput(16, former=16)
        he_normal(self, mode="fan_out")

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        x = self.level1(padded)  # (N, 32, H/2, W/2)
        features = [x]
        image = self.halve(padded)
        for down, stage in ((self.down2, self.level2), (self.down3, self.level3), (self.down4, self.level4)):
            image = self.halve(image)
            x = stage(down(x, image))
            features.append(x)
        x = self.pyramids[0](features.pop())  # (N, 64, H/16, W/16)
        for merge, pyramid in zip(self.merges, list(self.pyramids)[1:], strict=True):
            x = pyramid(merge(features.pop(), x))
        return self.aligned.enlarge(x, padded, images)  # (N, num_classes, H, W)


def espnetv2(*, in_channels: int, num_classes: int, scale: float = 2.0) -> ESPNetV2:
    """Build ESPNetv2: pyramids of depthwise dilated convolutions with a decoder of pyramid poolings.

    Paper: Mehta et al., "ESPNetv2: A Light-weight, Power Efficient, and General Purpose ...", arXiv 1811.11431
    Year: 2018
    Family: real-time
    Encoder: own
    Parameters: 787,488
    Multiply-adds: 1.4 G
    Output stride: 16
    Rate: 3e-3
    Use: weak processors: fewest MACs after dfanet

    Encoder and decoder are those that the authors maintain; their first publication had a larger decoder. There is no
    dropout; convolutions start from a normal distribution of variance 2 / fan-out; interpolation aligns corners.
    Deviations: with fewer than 16 classes the pyramids stay 8 channels wide, where half of the classes would leave a
    binary map one; slopes of PReLU in the downsamplers that the authors define and never use (480 of their 787,968
    parameters) are left out. Images are mirrored at the right and bottom edge up to 16 k + 1 px, and logits cut back.
    Poolings to grids, where the authors enlarge the means of overlapping cells as if they were pixels, are left as they
    are. Scales 0.5, 1.0 and 1.5 have 79,340, 232,768 and 466,864 parameters.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        scale: Factor on the widths of the encoder: 0.5, 1.0, 1.5 or 2.0 in the paper.
    """
    return ESPNetV2(in_channels, num_classes, scale=scale)


def _norm_act(channels: int) -> nn.Sequential:
    return nn.Sequential(BatchNorm2d(channels), nn.PReLU(channels))


def _conv_norm(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, _norm_act(out_channels) if act else BatchNorm2d(out_channels))


def _at_scale(x: Tensor, stage: nn.Module, scale: float) -> Tensor:
    """Run ``stage`` on ``x`` resized by ``scale``, and return its output in the size of ``x``."""
    if scale == 1:
        return stage(x)
    size = [max(math.ceil(side * scale), _SMALLEST) for side in x.shape[-2:]]
    if scale < 1:
        return resize_like(stage(adaptive_mean(x, *size)), x, align_corners=True)
    enlarged = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
    return adaptive_mean(stage(enlarged), *x.shape[-2:])
