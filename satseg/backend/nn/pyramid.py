"""Modules that process the same features at several scales in parallel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from satseg.backend.nn.conv import conv_norm_act, separable_conv
from satseg.backend.nn.pooling import AdaptiveMean
from satseg.backend.nn.resize import resize_like


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling as in DeepLab v3: 1x1, dilated 3x3 and image-level features, concatenated.

    Chen et al.: "Rethinking Atrous Convolution for Semantic Image Segmentation", arXiv 1706.05587, Figure 5.

    Args:
        in_channels: Channels of the input.
        width: Channels of each branch and of the output.
        rates: Dilations of the 3x3 branches.
        separable: Depthwise separable 3x3 branches, as in DeepLab v3+.
        dropout: Share of activations dropped in the output.
        norm_image: Whether the image-level features are normalised over the batch; a bias takes its place otherwise.
        plain_output: Whether the output is that of a bare 1x1 convolution, without norm, activation and dropout.

    Attributes:
        joined: Channels of the branches together.
    """

    global_context = True  # its means are of the whole window: `predict` keeps windows as large as training tiles

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        rates: Sequence[int],
        separable: bool = False,
        dropout: float = 0.1,
        norm_image: bool = True,
        plain_output: bool = False,
    ) -> None:
        super().__init__()
        branches: list[nn.Module] = [conv_norm_act(in_channels, width, 1)]
        for rate in rates:
            if separable:
                branches.append(separable_conv(in_channels, width, dilation=rate))
            else:
                branches.append(conv_norm_act(in_channels, width, 3, dilation=rate))
        self.branches = nn.ModuleList(branches)
        reduced = (
            conv_norm_act(in_channels, width, 1)
            if norm_image
            else nn.Sequential(nn.Conv2d(in_channels, width, 1), nn.ReLU(inplace=True))
        )
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), reduced)
        self.joined = width * (len(branches) + 1)
        self.project: nn.Module = (
            nn.Conv2d(self.joined, width, 1, bias=False)
            if plain_output
            else nn.Sequential(conv_norm_act(self.joined, width, 1), nn.Dropout(dropout))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, width, H, W) for (N, in_channels, H, W)."""
        return self.project(self.join(x))

    def join(self, x: Tensor) -> Tensor:
        """Return the branches side by side, (N, joined, H, W), for (N, in_channels, H, W)."""
        parts = [branch(x) for branch in self.branches]
        return torch.cat([*parts, resize_like(self.image(x), x)], dim=1)


class PyramidPooling(nn.Module):
    """The input beside its means over grids of several sizes, each reduced by a 1x1 convolution (PSPNet).

    Zhao et al.: "Pyramid Scene Parsing Network", arXiv 1612.01105, Figure 3.

    Args:
        in_channels: Channels of the input.
        width: Channels of each pooled part.
        bins: Cells along each side of each grid.
        align_corners: Whether the centres of corner cells lie on those of corner pixels when means are enlarged.
    """

    global_context = True  # its means are of shares of the whole window, however large

    def __init__(
        self, in_channels: int, width: int, *, bins: Sequence[int] = (1, 2, 3, 6), align_corners: bool = True
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.parts = nn.ModuleList(
            nn.Sequential(AdaptiveMean(side), conv_norm_act(in_channels, width, 1)) for side in bins
        )
        self.out_channels = in_channels + width * len(bins)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H, W) for (N, in_channels, H, W)."""
        pooled = [resize_like(part(x), x, align_corners=self.align_corners) for part in self.parts]
        return torch.cat([x, *pooled], dim=1)
