"""Auto-DeepLab: cells and a path through the resolutions that a search found, under an atrous pyramid and a decoder.

Liu, Chen, Schroff, Adam, Hua, Yuille, Fei-Fei: "Auto-DeepLab: Hierarchical Neural Architecture Search for Semantic
Image Segmentation", CVPR 2019, arXiv 1901.02985. The cell is that of its Figure 3 (right), the path that of Figure 3
(left); both as the authors' code has them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.norm import BatchNorm2d
from satseg.backend.nn.pyramid import ASPP
from satseg.backend.nn.resize import resize_like
from satseg.errors import ArchitectureError

_FILTERS = {"S": 20, "M": 32, "L": 48}  # Table 4: of a branch at stride 4; twice as many with each halving
_STRIDES = (4, 4, 4, 8, 16, 8, 16, 16, 32, 32, 16, 8)  # Figure 3: of the cells
_SKIP = 2  # the last cell at stride 4, whose output the decoder takes up
_RATES = (12, 24, 36)
_EPS = 1e-3  # of the authors' code, in stem and cells


class _Branch(NamedTuple):
    """A searched operation, and the state of the cell that it takes."""

    state: int  # 0 is the cell before, 1 the one before that, from 2 on sums of two branches
    kernel: int
    atrous: bool  # a dilated convolution; else two separable ones


_SUMS = (
    (_Branch(1, 5, True), _Branch(0, 3, False)),
    (_Branch(1, 3, False), _Branch(0, 3, True)),
    (_Branch(3, 3, False), _Branch(1, 3, False)),
    (_Branch(4, 5, False), _Branch(2, 5, False)),
    (_Branch(3, 5, False), _Branch(5, 5, True)),
)


class Cell(nn.Module):
    """Five sums of two branches each, concatenated.

    Args:
        in_channels: Channels of the cell before.
        former_channels: Channels of the cell before that one.
        filters: Channels of each branch.
        halves: Whether the output has half the resolution of the input.
    """

    def __init__(self, in_channels: int, former_channels: int, filters: int, *, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.former = _conv_norm(former_channels, filters, 1)
        self.input = _conv_norm(in_channels, filters, 1)
        self.branches = nn.ModuleList(
            _atrous(branch.kernel, filters, halves=self._halves(branch))
            if branch.atrous
            else _separable(branch.kernel, filters, halves=self._halves(branch))
            for pair in _SUMS
            for branch in pair
        )

    def forward(self, x: Tensor, former: Tensor) -> Tensor:
        """Return (N, 5 filters, H, W), or half the size.

        Args:
            x: Output of the cell before, enlarged where this one is finer: (N, in_channels, H, W).
            former: That of the cell before that one, (N, former_channels, h, w).
        """
        former = self.former(F.relu(resize_like(former, x, align_corners=True)))
        states = [self.input(F.relu(x)), former]
        for place, (left, right) in enumerate(_SUMS):
            first, second = self.branches[2 * place : 2 * place + 2]
            states.append(first(self._taken(states, left)) + second(self._taken(states, right)))
        return torch.cat(states[2:], dim=1)

    def _halves(self, branch: _Branch) -> bool:
        return self.halves and branch.state < 2

    def _taken(self, states: list[Tensor], branch: _Branch) -> Tensor:
        taken = F.relu(states[branch.state])
        # Of 2 k + 1 pixels these are what interpolation to k + 1 with aligned corners, as the authors have it, gives.
        return taken[..., ::2, ::2] if branch.atrous and self._halves(branch) else taken


class AutoDeepLab(nn.Module):
    """Stem, twelve cells, pyramid and decoder.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        filters: Channels of a branch of the cells at stride 4.
    """

    def __init__(self, in_channels: int, num_classes: int, *, filters: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_norm_act(in_channels, 64, 3, stride=2, eps=_EPS), _conv_norm(64, 64, 3)
        )  # the last activation is that of what follows
        self.stem_reduce = nn.Conv2d(64, 128, 3, stride=2, padding=1, bias=False)
        self.stem_norm = BatchNorm2d(128, eps=_EPS)
        channels = [64, 128]
        cells = []
        for former, stride in pairwise((4, *_STRIDES)):
            width = filters * stride // 4
            cells.append(Cell(channels[-1], channels[-2], width, halves=stride > former))
            channels.append(5 * width)
        self.cells = nn.ModuleList(cells)
        self.pyramid = ASPP(channels[-1], 256, rates=_RATES)
        self.skip = conv_norm_act(5 * filters, 48, 1)
        self.decoder = nn.Sequential(conv_norm_act(256 + 48, 256, 3), conv_norm_act(256, 256, 3))
        self.head = nn.Conv2d(256, num_classes, 1)
        self.aligned = AlignedInput(max(_STRIDES))
        he_normal(self.stem, self.stem_reduce, self.pyramid, self.skip, self.decoder, self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        former = self.stem(padded)  # (N, 64, H/2, W/2)
        x = self.stem_norm(self.stem_reduce(F.relu(former)))  # (N, 128, H/4, W/4)
        skip = x
        for place, cell in enumerate(self.cells):
            finer = place > 0 and _STRIDES[place] < _STRIDES[place - 1]
            former, x = x, cell(self.aligned.multiply(x, 2) if finer else x, former)
            if place == _SKIP:
                skip = x  # (N, 5 filters, H/4, W/4)
        context = self.aligned.multiply(self.pyramid(F.relu(x)), 2)  # (N, 256, H/4, W/4)
        scores = self.head(self.decoder(torch.cat([context, self.skip(skip)], dim=1)))
        return self.aligned.enlarge(scores, padded, images)


def autodeeplab(*, in_channels: int, num_classes: int, size: str = "L") -> AutoDeepLab:
    """Build Auto-DeepLab: searched cells along a searched path of resolutions, an atrous pyramid and a decoder.

    Paper: Liu et al., "Auto-DeepLab: Hierarchical Neural Architecture Search ...", CVPR, arXiv 1901.02985
    Year: 2019
    Family: dilated
    Encoder: own
    Parameters: 44,424,691
    Multiply-adds: 84.7 G
    Output stride: 32
    Rate: 3e-3
    Use: wide context and sharp outlines from random weights; large GPU

    Size L has 48 channels in each branch at stride 4, M (21,622,451 parameters) 32 and S (10,147,427) 20. In the cells,
    ReLUs precede convolutions, separable ones come in pairs with a norm behind each, and atrous ones have dilation 2,
    or 1 where they halve the resolution; norms of stem and cells add 1e-3 to the variance. The pyramid works at stride
    8 with dilations of 12, 24 and 36 and dropout 0.1; the decoder joins it to 48 channels of the third cell. These are
    the layers of the authors' code, and the parameters of Table 4. Interpolation aligns corners; images are mirrored at
    the right and bottom edge up to 32 k + 1 px, as theirs are (769), and logits cut back. Deviations: the best results
    of the paper drop whole branches at random (ScheduledDropPath, Table 3), here none are dropped; convolutions outside
    of the cells start as He et al. (2015) propose, where the authors take the defaults of their library; running
    statistics follow with momentum 0.1, where the authors have 3e-4.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        size: L, M or S.

    Raises:
        ArchitectureError: There is no such size.
    """
    if size not in _FILTERS:
        raise ArchitectureError(f"Auto-DeepLab has no size {size!r}.", hint=f"It takes {', '.join(_FILTERS)}.")
    return AutoDeepLab(in_channels, num_classes, filters=_FILTERS[size])


def _conv_norm(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    return conv_norm_act(in_channels, out_channels, kernel, eps=_EPS, act=False)


def _atrous(kernel: int, filters: int, *, halves: bool) -> nn.Sequential:
    return conv_norm_act(filters, filters, kernel, dilation=1 if halves else 2, eps=_EPS, act=False)


def _separable(kernel: int, filters: int, *, halves: bool) -> nn.Sequential:
    """Return two separable convolutions, with one norm each and a ReLU in between."""
    layers: list[nn.Module] = []
    for stride in (2 if halves else 1, 1):
        depthwise = nn.Conv2d(filters, filters, kernel, stride=stride, padding=kernel // 2, groups=filters, bias=False)
        layers += [depthwise, *_conv_norm(filters, filters, 1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])
