"""ESPNet: efficient spatial pyramids of dilated convolutions, the image fed in anew at every resolution.

Mehta, Rastegari, Caspi, Shapiro, Hajishirzi: "ESPNet: Efficient Spatial Pyramid of Dilated Convolutions for
Semantic Segmentation", ECCV 2018, arXiv 1803.06815. Layers follow its Figure 4(d), the module its Figure 1 and
section 3, with p = 2 and q = 8.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.nn.padding import pad_to_multiple

_EPS = 1e-3  # of every batch normalisation, as the authors trained it
_DILATIONS = (1, 2, 4, 8, 16)


class _NormAct(nn.Sequential):
    """Batch normalisation and PReLU with a slope per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.BatchNorm2d(channels, eps=_EPS), nn.PReLU(channels))


class _ConvNormAct(nn.Sequential):
    """A 3x3 convolution without bias, normalisation, PReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        super().__init__(conv, _NormAct(out_channels))


class _ESP(nn.Module):
    """Reduce, transform by five dilations, add them up hierarchically (against gridding), concatenate.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, 5 or more.
        stride: 1 reduces by a 1x1 convolution; 2 by a strided 3x3 one.
        residual: Add the input; it needs as many channels as the output and stride 1.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, residual: bool = False) -> None:
        super().__init__()
        width = out_channels // len(_DILATIONS)
        first = out_channels - width * (len(_DILATIONS) - 1)  # takes what five does not divide
        kernel = 3 if stride > 1 else 1
        self.reduce = nn.Conv2d(in_channels, width, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.transforms = nn.ModuleList(
            nn.Conv2d(width, first if d == 1 else width, 3, padding=d, dilation=d, bias=False) for d in _DILATIONS
        )
        self.residual = residual
        self.act = _NormAct(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.reduce(x)
        direct, *wider = (transform(reduced) for transform in self.transforms)
        parts = [direct, wider[0]]
        for part in wider[1:]:
            parts.append(parts[-1] + part)
        joined = torch.cat(parts, dim=1)
        return self.act(x + joined if self.residual else joined)  # (N, out, H/stride, W/stride)


class _Stage(nn.Module):
    """Halve the resolution, refine by residual ESP modules, hand on the concatenation of both."""

    def __init__(self, in_channels: int, out_channels: int, repeats: int) -> None:
        super().__init__()
        self.down = _ESP(in_channels, out_channels, stride=2)
        self.refine = nn.Sequential(*(_ESP(out_channels, out_channels, residual=True) for _ in range(repeats)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        coarse = self.down(x)
        return coarse, self.refine(coarse)  # (N, out, H/2, W/2) each


class ESPNet(nn.Module):
    """The network of Figure 4(d).

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        p: ESP modules at stride 4.
        q: ESP modules at stride 8.
    """

    def __init__(self, in_channels: int, num_classes: int, *, p: int, q: int) -> None:
        super().__init__()
        width = max(num_classes, len(_DILATIONS))
        self.halve = nn.AvgPool2d(3, stride=2, padding=1)
        self.level1 = _ConvNormAct(in_channels, 16, stride=2)
        self.act1 = _NormAct(16 + in_channels)
        self.level2 = _Stage(16 + in_channels, 64, p)
        self.act2 = _NormAct(128 + in_channels)
        self.level3 = _Stage(128 + in_channels, 128, q)
        self.act3 = _NormAct(256)
        self.score3 = nn.Sequential(nn.Conv2d(256, width, 1, bias=False), nn.BatchNorm2d(width, eps=_EPS))
        self.up3 = _double(width, width)
        self.score2 = nn.Conv2d(128 + in_channels, width, 1, bias=False)
        self.fuse2 = nn.Sequential(_NormAct(2 * width), _ESP(2 * width, width))
        self.up2 = nn.Sequential(_double(width, width), _NormAct(width))
        self.fuse1 = _ConvNormAct(16 + width, width)
        self.head = _double(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        images = pad_to_multiple(images, 8)
        half = self.halve(images)  # (N, in_channels, H/2, W/2)
        level1 = self.level1(images)  # (N, 16, H/2, W/2)
        coarse, fine = self.level2(self.act1(torch.cat([level1, half.to(level1.dtype)], dim=1)))
        level2 = self.act2(torch.cat([fine, coarse, self.halve(half).to(fine.dtype)], dim=1))  # (N, 131, H/4, W/4)
        coarse, fine = self.level3(level2)
        level3 = self.act3(torch.cat([coarse, fine], dim=1))  # (N, 256, H/8, W/8)
        x = self.up3(self.score3(level3))  # (N, width, H/4, W/4)
        x = self.up2(self.fuse2(torch.cat([self.score2(level2), x], dim=1)))  # (N, width, H/2, W/2)
        x = self.fuse1(torch.cat([x, level1], dim=1))
        return self.head(x)[..., :height, :width]  # (N, num_classes, H, W)


def espnet(*, in_channels: int, num_classes: int, p: int = 2, q: int = 8) -> ESPNet:
    """Build ESPNet: spatial pyramids of dilated convolutions with a decoder as wide as the classes.

    Paper: Mehta et al., "ESPNet: Efficient Spatial Pyramid of Dilated Convolutions ...", ECCV, arXiv 1803.06815
    Year: 2018
    Family: real-time
    Encoder: own
    Parameters: 362,949
    Multiply-adds: 2.3 G
    Output stride: 8
    Rate: 3e-3
    Use: weak processors, small files: fewest parameters

    Of the two forms that the authors published, this is the one with 364,569 parameters at 20 classes, as in the
    paper: the last fusion takes the filters of level 1 without the image. There is no dropout, and
    convolutions are initialised as torch does by default, as in the authors' network. Deviations: with fewer than
    five classes the decoder is five wide, since its ESP module splits its width by five. Sizes that 8 does not
    divide are mirrored at the right and bottom edge and cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        p: ESP modules at stride 4, 0 or more.
        q: ESP modules at stride 8, 0 or more.
    """
    return ESPNet(in_channels, num_classes, p=p, q=q)


def _double(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2, bias=False)
