"""ERFNet: a real-time network of residual blocks whose convolutions are split into 3x1 and 1x3.

Romera, Alvarez, Bergasa, Arroyo: "ERFNet: Efficient Residual Factorized ConvNet for Real-time Semantic
Segmentation", IEEE Transactions on Intelligent Transportation Systems 19(1), 2018 (online 2017). Layers,
widths, dilations and dropout follow its Table I and section III-B; the residual block is its Figure 2c.
"""

from __future__ import annotations

from torch import Tensor, nn

from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.pooled_downsampler import PooledDownsampler

_EPS = 1e-3  # of every batch normalisation, as the authors trained it


class _FactorisedResidual(nn.Module):
    """Non-bottleneck-1D, Figure 2c: two 3x3 convolutions, each split into a column and a row; the second one dilated.

    Args:
        channels: Channels of input and output.
        dilation: Dilation of the second pair.
        dropout: Share of channels dropped at the end of the branch.
    """

    def __init__(self, channels: int, *, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = _factorised_conv(channels)
        self.norm1 = nn.BatchNorm2d(channels, eps=_EPS)
        self.conv2 = _factorised_conv(channels, dilation=dilation)
        self.norm2 = nn.BatchNorm2d(channels, eps=_EPS)
        self.dropout = nn.Dropout2d(dropout)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.conv1(x)))
        y = self.dropout(self.norm2(self.conv2(y)))
        return self.act(y + x)  # (N, C, H, W)


class _Upsampler(nn.Sequential):
    """Double the resolution: a strided 3x3 transposed convolution, normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(out_channels, eps=_EPS),
            nn.ReLU(inplace=True),
        )


class ERFNet(nn.Module):
    """The network of Table I: encoder to stride 8, decoder back to the input's size.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            PooledDownsampler(in_channels, 16, act=nn.ReLU(inplace=True)),
            PooledDownsampler(16, 64, act=nn.ReLU(inplace=True)),
            *(_FactorisedResidual(64, dropout=0.03) for _ in range(5)),
            PooledDownsampler(64, 128, act=nn.ReLU(inplace=True)),
            *(_FactorisedResidual(128, dilation=d, dropout=0.3) for d in (2, 4, 8, 16) * 2),
        )
        self.decoder = nn.Sequential(
            _Upsampler(128, 64),
            *(_FactorisedResidual(64) for _ in range(2)),
            _Upsampler(64, 16),
            *(_FactorisedResidual(16) for _ in range(2)),
        )
        self.head = nn.ConvTranspose2d(16, num_classes, 2, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        features = self.encoder(pad_to_multiple(images, 8))  # (N, 128, H/8, W/8)
        features = self.decoder(features)  # (N, 16, H/2, W/2)
        return self.head(features)[..., :height, :width]  # (N, num_classes, H, W)


def erfnet(*, in_channels: int, num_classes: int) -> ERFNet:
    """Build ERFNet: residual blocks of 3x1 and 1x3 convolutions, accurate for its size and fast on a processor.

    Paper: Romera et al., "ERFNet: Efficient Residual Factorized ConvNet for Real-time Semantic Segmentation", T-ITS
    Year: 2017
    Family: real-time
    Encoder: own
    Parameters: 2,064,191
    Multiply-adds: 13.3 G
    Output stride: 8
    Rate: 3e-3
    Use: a first try, on processors too: best of five compared

    Convolutions are initialised as torch does by default, as the authors trained it. Deviations: the classifier on
    the encoder (2,451 parameters), which the paper uses to pre-train the encoder alone, is left out; with more
    than eight bands the first layer pools only the first eight of them beside its filters, which see all.
    Sizes that 8 does not divide are mirrored at the right and bottom edge and cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """
    return ERFNet(in_channels, num_classes)


def _factorised_conv(channels: int, *, dilation: int = 1) -> nn.Sequential:
    """Return a 3x1 and a 1x3 convolution with a ReLU between them; the size stays."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, (3, 1), padding=(dilation, 0), dilation=(dilation, 1)),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation)),
    )
