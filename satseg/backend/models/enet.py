"""ENet: bottlenecks of a few channels, early downsampling, and a decoder that unpools by the encoder's indices.

Paszke, Chaurasia, Kim, Culurciello: "ENet: A Deep Neural Network Architecture for Real-Time Semantic
Segmentation", arXiv 1606.02147, 2016. Layers follow its Table 1, the blocks its Figure 2 and section 4.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.pooled_downsampler import PooledDownsampler
from satseg.backend.nn.unpool import unpool

_EPS = 1e-3  # of every batch normalisation, as the authors trained it


class _Asymmetric(nn.Sequential):
    """A row of five pixels without bias, then a column of five with one."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, (1, 5), padding=(0, 2), bias=False),
            nn.Conv2d(channels, channels, (5, 1), padding=(2, 0)),
        )

    def as_in_format_1(self) -> None:
        """Begin with the column, as networks of checkpoints of format 1 do."""
        for conv in self:
            assert isinstance(conv, nn.Conv2d)
            conv.weight = nn.Parameter(conv.weight.detach().transpose(2, 3).contiguous())
            conv.kernel_size, conv.padding = conv.kernel_size[::-1], conv.padding[::-1]


class _Bottleneck(nn.Module):
    """Encoder bottleneck at one resolution: 1x1 down to a quarter, ``conv``, 1x1 up, added to the input."""

    def __init__(self, channels: int, conv: nn.Module, *, dropout: float) -> None:
        super().__init__()
        quarter = channels // 4
        self.branch = _branch(nn.Conv2d(channels, quarter, 1, bias=False), conv, quarter, channels, dropout)
        self.act = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.branch(x) + x)  # (N, C, H, W)


class _Downsampling(nn.Module):
    """Encoder bottleneck that halves the resolution; it also gives the places of its pooled maxima."""

    def __init__(self, in_channels: int, out_channels: int, *, dropout: float) -> None:
        super().__init__()
        quarter = out_channels // 4
        reduce = nn.Conv2d(in_channels, quarter, 2, stride=2, bias=False)
        self.branch = _branch(reduce, _conv3(quarter), quarter, out_channels, dropout)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.added = out_channels - in_channels
        self.act = nn.PReLU(out_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pooled, indices = self.pool(x)
        y = self.branch(x)
        return self.act(y + F.pad(pooled, (0, 0, 0, 0, 0, self.added))), indices  # (N, out, H/2, W/2)


class _DecoderBottleneck(nn.Module):
    """Decoder bottleneck at one resolution, with ReLU (section 4: PReLU gave nothing there)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter = channels // 4
        self.branch = _decoder_branch(channels, _conv3(quarter), quarter, channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.branch(x) + x)  # (N, C, H, W)


class _Upsampling(nn.Module):
    """Decoder bottleneck that doubles the resolution: unpooling beside a transposed convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        quarter = out_channels // 4
        expand = nn.ConvTranspose2d(quarter, quarter, 3, stride=2, padding=1, output_padding=1)
        self.branch = _decoder_branch(in_channels, expand, quarter, out_channels)
        self.main = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels, eps=_EPS)
        )
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, indices: Tensor) -> Tensor:
        return self.act(self.branch(x) + unpool(self.main(x), indices))  # (N, out, 2H, 2W)


class ENet(nn.Module):
    """The network of Table 1.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.initial = PooledDownsampler(in_channels, 16, act=nn.PReLU(16))
        self.down1 = _Downsampling(16, 64, dropout=0.01)
        self.stage1 = nn.Sequential(*(_Bottleneck(64, _conv3(16), dropout=0.01) for _ in range(4)))
        self.down2 = _Downsampling(64, 128, dropout=0.1)
        self.stage23 = nn.Sequential(*(_Bottleneck(128, conv, dropout=0.1) for _ in range(2) for conv in _sequence(32)))
        self.up4 = _Upsampling(128, 64)
        self.stage4 = nn.Sequential(*(_DecoderBottleneck(64) for _ in range(2)))
        self.up5 = _Upsampling(64, 16)
        self.stage5 = _DecoderBottleneck(16)
        self.head = nn.ConvTranspose2d(16, num_classes, 2, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        x = self.initial(pad_to_multiple(images, 8))  # (N, 16, H/2, W/2)
        x, indices1 = self.down1(x)
        x, indices2 = self.down2(self.stage1(x))
        x = self.stage23(x)  # (N, 128, H/8, W/8)
        x = self.stage4(self.up4(x, indices2))  # (N, 64, H/4, W/4)
        x = self.stage5(self.up5(x, indices1))  # (N, 16, H/2, W/2)
        return self.head(x)[..., :height, :width]  # (N, num_classes, H, W)


def enet(*, in_channels: int, num_classes: int) -> ENet:
    """Build ENet: narrow bottlenecks and unpooling by indices, among the smallest networks there are.

    Paper: Paszke et al., "ENet: A Deep Neural Network Architecture for Real-Time ...", arXiv 1606.02147
    Year: 2016
    Family: real-time
    Encoder: own
    Parameters: 364,311
    Multiply-adds: 2.0 G
    Output stride: 8
    Rate: 3e-3
    Use: weak processors, small files

    As the authors' own network has it: bottlenecks are a quarter of their output wide, PReLU has a slope per channel,
    the middle convolution keeps its bias (of the two asymmetric ones, the second), and no activation stands between a
    branch and the sum. Dropout of channels is 0.01 up to bottleneck 1.4 and 0.1 after it (section 4), in the encoder.
    Convolutions are initialised as torch does by default. Deviations: the classifier on the encoder, which the paper
    pre-trains alone, is left out; with more than eight bands the first layer pools only the first eight of them beside
    its filters, which see all. Sizes that 8 does not divide are mirrored at the right and bottom edge and cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """
    return ENet(in_channels, num_classes)


def _branch(reduce: nn.Module, conv: nn.Module, quarter: int, channels: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        reduce,
        nn.BatchNorm2d(quarter, eps=_EPS),
        nn.PReLU(quarter),
        conv,
        nn.BatchNorm2d(quarter, eps=_EPS),
        nn.PReLU(quarter),
        nn.Conv2d(quarter, channels, 1, bias=False),
        nn.BatchNorm2d(channels, eps=_EPS),
        nn.Dropout2d(dropout),
    )


def _decoder_branch(in_channels: int, conv: nn.Module, quarter: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, quarter, 1, bias=False),
        nn.BatchNorm2d(quarter, eps=_EPS),
        nn.ReLU(inplace=True),
        conv,
        nn.BatchNorm2d(quarter, eps=_EPS),
        nn.ReLU(inplace=True),
        nn.Conv2d(quarter, channels, 1, bias=False),
        nn.BatchNorm2d(channels, eps=_EPS),
    )


def _conv3(channels: int, *, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)


def _sequence(channels: int) -> list[nn.Module]:
    """Return the middle convolutions of bottlenecks 2.1 to 2.8; stage 3 repeats them."""
    return [
        _conv3(channels),
        _conv3(channels, dilation=2),
        _Asymmetric(channels),
        _conv3(channels, dilation=4),
        _conv3(channels),
        _conv3(channels, dilation=8),
        _Asymmetric(channels),
        _conv3(channels, dilation=16),
    ]
