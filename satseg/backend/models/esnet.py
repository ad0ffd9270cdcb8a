"""ESNet: ERFNet's kin with larger kernels at fine resolution and parallel dilations at the coarse one.

Wang, Zhou, Xiong, Wu: "ESNet: An Efficient Symmetric Network for Real-time Semantic Segmentation", PRCV 2019,
arXiv 1906.09826. Layers follow its Table 1, the blocks its Figure 2.
"""

from __future__ import annotations

from torch import Tensor, nn

from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.pooled_downsampler import PooledDownsampler

_EPS = 1e-3  # of every batch normalisation, as the authors trained it


class _FactorisedResidual(nn.Module):
    """FCU, Figure 2: two square convolutions, each split into a column and a row.

    Args:
        channels: Channels of input and output.
        kernel: Side of the squares, odd.
        dropout: Share of channels dropped at the end of the branch.
    """

    def __init__(self, channels: int, *, kernel: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = _factorised_conv(channels, kernel=kernel)
        self.norm1 = nn.BatchNorm2d(channels, eps=_EPS)
        self.conv2 = _factorised_conv(channels, kernel=kernel)
        self.norm2 = nn.BatchNorm2d(channels, eps=_EPS)
        self.dropout = nn.Dropout2d(dropout)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.conv1(x)))
        y = self.dropout(self.norm2(self.conv2(y)))
        return self.act(y + x)  # (N, C, H, W)


class _ParallelFactorisedResidual(nn.Module):
    """PFCU: a factorised convolution, then three of them side by side with different dilations, summed."""

    def __init__(self, channels: int, *, dilations: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.conv = _factorised_conv(channels)
        self.norm = nn.BatchNorm2d(channels, eps=_EPS)
        self.branches = nn.ModuleList(_factorised_conv(channels, dilation=d) for d in dilations)
        self.branch_norm = nn.BatchNorm2d(channels, eps=_EPS)  # one for all branches, as the authors have it
        self.dropout = nn.Dropout2d(dropout)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        trunk = self.act(self.norm(self.conv(x)))
        total = x
        for branch in self.branches:
            total = total + self.dropout(self.branch_norm(branch(trunk)))
        return self.act(total)  # (N, C, H, W)


class _Upsampler(nn.Sequential):
    """Double the resolution: a strided 3x3 transposed convolution, normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(out_channels, eps=_EPS),
            nn.ReLU(inplace=True),
        )


class ESNet(nn.Module):
    """The network of Table 1: encoder to stride 8, decoder back to the input's size.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            PooledDownsampler(in_channels, 16, act=nn.ReLU(inplace=True)),
            *(_FactorisedResidual(16, kernel=3, dropout=0.03) for _ in range(3)),
            PooledDownsampler(16, 64, act=nn.ReLU(inplace=True)),
            *(_FactorisedResidual(64, kernel=5, dropout=0.03) for _ in range(2)),
            PooledDownsampler(64, 128, act=nn.ReLU(inplace=True)),
            *(_ParallelFactorisedResidual(128, dilations=(2, 5, 9), dropout=0.3) for _ in range(3)),
        )
        self.decoder = nn.Sequential(
            _Upsampler(128, 64),
            *(_FactorisedResidual(64, kernel=5) for _ in range(2)),
            _Upsampler(64, 16),
            *(_FactorisedResidual(16, kernel=3) for _ in range(2)),
        )
        self.head = nn.ConvTranspose2d(16, num_classes, 2, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        features = self.encoder(pad_to_multiple(images, 8))  # (N, 128, H/8, W/8)
        features = self.decoder(features)  # (N, 16, H/2, W/2)
        return self.head(features)[..., :height, :width]  # (N, num_classes, H, W)


def esnet(*, in_channels: int, num_classes: int) -> ESNet:
    """Build ESNet: symmetric encoder and decoder of factorised convolutions with parallel dilations.

    Paper: Wang et al., "ESNet: An Efficient Symmetric Network for Real-time Semantic Segmentation", arXiv 1906.09826
    Year: 2019
    Family: real-time
    Encoder: own
    Parameters: 1,659,071
    Multiply-adds: 12.0 G
    Output stride: 8
    Rate: 3e-3
    Use: in place of erfnet, with a tenth fewer MACs

    Convolutions are initialised as torch does by default, as the authors trained it; dropout is 0.03 in the first
    two stages and 0.3 in each dilated branch. Deviations: with more than eight bands the first layer pools only
    the first eight of them beside its filters, which see all. Sizes that 8 does not divide are mirrored at the
    right and bottom edge and cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """
    return ESNet(in_channels, num_classes)


def _factorised_conv(channels: int, *, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
    """Return a column and a row convolution with a ReLU between them; the size stays."""
    pad = kernel // 2 * dilation
    return nn.Sequential(
        nn.Conv2d(channels, channels, (kernel, 1), padding=(pad, 0), dilation=(dilation, 1)),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, (1, kernel), padding=(0, pad), dilation=(1, dilation)),
    )
