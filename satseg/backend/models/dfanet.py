"""DFANet: three light Xception encoders in a row, each fed with the features of the one before.

Li, Xiong, Fan, Sun: "DFANet: Deep Feature Aggregation for Real-Time Semantic Segmentation", CVPR 2019,
arXiv 1904.02188. Layers follow its Figure 3 and Table 1, encoder XceptionA.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.norm import BatchNorm2d
from satseg.backend.nn.resize import resize_like

_WIDTHS = (48, 96, 192)
_DEPTHS = (4, 6, 4)
_DECODER_WIDTH = 32


class _SeparableBlock(nn.Module):
    """Residual block of three separable convolutions, a quarter as wide inside (Table 1)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        quarter = out_channels // 4
        self.branch = nn.Sequential(
            nn.ReLU(),
            *_separable(in_channels, quarter),
            nn.ReLU(inplace=True),
            *_separable(quarter, quarter),
            nn.ReLU(inplace=True),
            *_separable(quarter, out_channels, stride=stride),
        )
        same = in_channels == out_channels and stride == 1
        self.project = nn.Identity() if same else conv_norm_act(in_channels, out_channels, 1, stride=stride, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + self.project(x)  # (N, out, H/stride, W/stride)


class _Attention(nn.Module):
    """Weigh channels by a fully connected layer over their global means (section 3.3)."""

    global_context = True  # its means are of the whole window

    def __init__(self, channels: int, *, width: int = 1000) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, width, 1), conv_norm_act(width, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weigh(x)


class _SubNetwork(nn.Module):
    """Three stages and the attention; each stage also takes the features of the sub-network before.

    Args:
        in_channels: Channels of what goes into each stage.
    """

    def __init__(self, in_channels: tuple[int, int, int]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            _stage(before, after, depth) for before, after, depth in zip(in_channels, _WIDTHS, _DEPTHS, strict=True)
        )
        self.attention = _Attention(_WIDTHS[-1])

    def forward(self, x: Tensor, aggregated: list[Tensor]) -> list[Tensor]:
        """Return the three stages' features, the last one weighed, and that one before weighing behind them."""
        features = []
        for i, stage in enumerate(self.stages):
            x = stage(torch.cat([aggregated[i], x], dim=1) if aggregated else x)
            features.append(x)
        return [*features, self.attention(x)]


class DFANet(nn.Module):
    """The network of Figure 3.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.stem = conv_norm_act(in_channels, 8, 3, stride=2)
        joined = (fine + coarse, middle + fine, coarse + middle)
        self.networks = nn.ModuleList([_SubNetwork((8, fine, middle)), _SubNetwork(joined), _SubNetwork(joined)])
        self.reduce_fine = nn.ModuleList(conv_norm_act(fine, _DECODER_WIDTH, 1) for _ in range(3))
        self.reduce_coarse = nn.ModuleList(conv_norm_act(coarse, _DECODER_WIDTH, 1) for _ in range(3))
        self.fuse = conv_norm_act(_DECODER_WIDTH, _DECODER_WIDTH, 1)
        self.head = nn.Conv2d(_DECODER_WIDTH, num_classes, 1)
        self.aligned = AlignedInput(64, former=32)
        he_normal(self, mode="fan_out")

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        x = self.stem(padded)  # (N, 8, H/2, W/2)
        features: list[Tensor] = []
        fine, coarse = [], []
        for i, network in enumerate(self.networks):
            features = network(x, features)
            fine.append(self.reduce_fine[i](features[0]))  # (N, 32, H/4, W/4), then half of it, then a quarter
            coarse.append(self.reduce_coarse[i](features[-1]))  # (N, 32, H/16, W/16), and so on
            x = self.aligned.multiply(features[-1], 4)
        fused = self.fuse(torch.stack([resize_like(part, fine[0], align_corners=True) for part in fine]).sum(dim=0))
        fused = fused + torch.stack([resize_like(part, fused, align_corners=True) for part in coarse]).sum(dim=0)
        return self.aligned.enlarge(self.head(fused), padded, images)  # (N, num_classes, H, W)


def dfanet(*, in_channels: int, num_classes: int) -> DFANet:
    """Build DFANet-A: three light encoders in a row that hand on their features stage by stage.

    Paper: Li et al., "DFANet: Deep Feature Aggregation for Real-Time Semantic Segmentation", CVPR, arXiv 1904.02188
    Year: 2019
    Family: real-time
    Encoder: own
    Parameters: 1,831,051
    Multiply-adds: 1.0 G
    Output stride: 64
    Rate: 3e-3
    Use: weak processors: fewest MACs of all

    Stages repeat 4, 6 and 4 times and are 48, 96 and 192 channels wide (Table 1, XceptionA). The paper's 7.8 M for this
    network are most likely megabytes of weights. Convolutions start from a normal distribution of variance 2 / fan-out;
    there is no dropout; interpolation aligns corners. Shortcuts begin before the activation of their block, as in
    Xception; the authors published no code, and in a port whose activations work in place they begin behind it.
    Deviation: the classifier with which the paper pre-trains the encoder on ImageNet (193,000 parameters, 2,024,051
    with it) is left out. Images are mirrored at the right and bottom edge up to 64 k + 1 px, and logits cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """
    return DFANet(in_channels, num_classes)


def _separable(in_channels: int, out_channels: int, *, stride: int = 1) -> tuple[nn.Module, ...]:
    depthwise = nn.Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False)
    return depthwise, BatchNorm2d(in_channels), conv_norm_act(in_channels, out_channels, 1, act=False)


def _stage(in_channels: int, out_channels: int, depth: int) -> nn.Sequential:
    first = _SeparableBlock(in_channels, out_channels, stride=2)
    return nn.Sequential(first, *(_SeparableBlock(out_channels, out_channels, stride=1) for _ in range(depth - 1)))
