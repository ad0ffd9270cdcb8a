"""Residual blocks of factorised convolutions, and the changes of resolution that go with them (ENet, ERFNet, ESNet)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_EPS = 1e-3  # of the batch normalisation in all three networks, as their authors trained them


class PooledDownsampler(nn.Module):
    """Halve the resolution: a strided 3x3 convolution beside a max pooling, concatenated.

    The pooled share is cut at half of the output, which changes nothing in the layers of the papers; with more
    than eight bands it leaves the first layer filters that see all of them.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output: filters and pooled channels together.
        act: Activation behind the normalisation.
    """

    def __init__(self, in_channels: int, out_channels: int, *, act: nn.Module) -> None:
        super().__init__()
        self.pooled = min(in_channels, out_channels // 2)
        self.conv = nn.Conv2d(in_channels, out_channels - self.pooled, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.norm = nn.BatchNorm2d(out_channels, eps=_EPS)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H/2, W/2) for (N, in_channels, H, W), H and W even."""
        filtered = self.conv(x)
        # Under autocast a float32 image beside bfloat16 filters would turn the whole residual trunk into float32.
        pooled = self.pool(x[:, : self.pooled].to(filtered.dtype))
        return self.act(self.norm(torch.cat([filtered, pooled], dim=1)))


class FactorisedResidual(nn.Module):
    """Residual block of two square convolutions, each split into a column and a row; the second one dilated.

    Args:
        channels: Channels of input and output.
        kernel: Side of the square that is split, odd.
        dilation: Dilation of the second pair.
        dropout: Share of channels dropped at the end of the branch.
    """

    def __init__(self, channels: int, *, kernel: int = 3, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = factorised_conv(channels, kernel=kernel)
        self.norm1 = nn.BatchNorm2d(channels, eps=_EPS)
        self.conv2 = factorised_conv(channels, kernel=kernel, dilation=dilation)
        self.norm2 = nn.BatchNorm2d(channels, eps=_EPS)
        self.dropout = nn.Dropout2d(dropout)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) for (N, C, H, W)."""
        y = self.act(self.norm1(self.conv1(x)))
        y = self.dropout(self.norm2(self.conv2(y)))
        return self.act(y + x)


class TransposedUpsampler(nn.Sequential):
    """Double the resolution: a strided 3x3 transposed convolution, normalisation, ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(out_channels, eps=_EPS),
            nn.ReLU(inplace=True),
        )


def factorised_conv(channels: int, *, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
    """Return a column and a row convolution with a ReLU between them; the size stays."""
    pad = kernel // 2 * dilation
    return nn.Sequential(
        nn.Conv2d(channels, channels, (kernel, 1), padding=(pad, 0), dilation=(dilation, 1)),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, (1, kernel), padding=(0, pad), dilation=(1, dilation)),
    )


def factorised_decoder(*, kernel: int) -> nn.Sequential:
    """Return the decoder of ERFNet and ESNet: from 128 channels at stride 8 to 16 at stride 2.

    Args:
        kernel: Side of the squares that are split at stride 4; it is 3 at stride 2.
    """
    return nn.Sequential(
        TransposedUpsampler(128, 64),
        *(FactorisedResidual(64, kernel=kernel) for _ in range(2)),
        TransposedUpsampler(64, 16),
        *(FactorisedResidual(16) for _ in range(2)),
    )
