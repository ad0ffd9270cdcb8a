"""ESANet: two ResNets of factorised blocks, for the image and for elevation, whose features meet at five levels.

Seichter, Koehler, Lewandowski, Wengefeld, Gross: "Efficient RGB-D Semantic Segmentation for Indoor Scene Analysis",
ICRA 2021, arXiv 2011.06961. Layers follow its Figure 2 and section III, and the authors' code. Their depth of a scene
in front of a camera is here the elevation of ground seen from above.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.initialise import he_normal, zero_biases
from satseg.backend.nn.norm import BatchNorm2d
from satseg.backend.nn.pooling import AdaptiveMean
from satseg.classes import IGNORE_INDEX
from satseg.errors import ArchitectureError

_WIDTHS = (64, 64, 128, 256, 512)  # of the stem and of the four stages of a ResNet
_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}  # by the number of its layers
_DECODER_WIDTHS = (512, 256, 128)
_DECODER_BLOCKS = 3
_BINS = (1, 5)
_SQUEEZE = 16
_EPS = 1e-3  # in factorised blocks, as in ERFNet, from which they come
_SIDE_STRIDES = (32, 16, 8)


class _FactorisedResidual(nn.Module):
    """Non-bottleneck-1D of ERFNet, which may halve the size: two 3x3 convolutions, each split into column and row."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _factorised_conv(in_channels, channels, stride)
        self.norm1 = BatchNorm2d(channels, eps=_EPS)
        self.conv2 = _factorised_conv(channels, channels)
        self.norm2 = BatchNorm2d(channels, eps=_EPS)
        self.act = nn.ReLU(inplace=True)
        changes = stride > 1 or in_channels != channels
        self.shortcut = conv_norm_act(in_channels, channels, 1, stride=stride, act=False) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.conv1(x)))
        return self.act(self.norm2(self.conv2(y)) + self.shortcut(x))


class _SqueezeExcitation(nn.Module):
    """Weigh each channel by a gate that depends on the means of all channels over the window."""

    global_context = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = channels // _SQUEEZE
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class _Fusion(nn.Module):
    """Add features of the elevation to those of the image, both weighed (section III-A)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.image = _SqueezeExcitation(channels)
        self.elevation = _SqueezeExcitation(channels)

    def forward(self, image: Tensor, elevation: Tensor) -> Tensor:
        return self.image(image) + self.elevation(elevation)


class _PyramidPooling(nn.Module):
    """The features beside their means over one cell and over 5 x 5 cells, whose pixels are repeated, then mixed."""

    global_context = True

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        width = channels // len(_BINS)
        self.parts = nn.ModuleList(
            nn.Sequential(AdaptiveMean(side), conv_norm_act(channels, width, 1)) for side in _BINS
        )
        self.project = conv_norm_act(channels + width * len(_BINS), out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [F.interpolate(part(x), size=x.shape[-2:], mode="nearest") for part in self.parts]
        return self.project(torch.cat([x, *pooled], dim=1))


class _Upsampler(nn.Sequential):
    """Repeat each pixel twice along both axes, then filter each channel, at first as bilinear interpolation does."""

    def __init__(self, channels: int) -> None:
        smooth = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        super().__init__(nn.Upsample(scale_factor=2), smooth)
        tent = torch.tensor([0.25, 0.5, 0.25])
        with torch.no_grad():
            smooth.weight.copy_((tent[:, None] * tent).expand_as(smooth.weight))
        zero_biases(smooth)


class _DecoderStage(nn.Module):
    """Reduce channels, refine, and double the resolution; features of the encoder are added then."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        blocks = (_FactorisedResidual(channels, channels) for _ in range(_DECODER_BLOCKS))
        self.refine = nn.Sequential(conv_norm_act(in_channels, channels, 3), *blocks)
        self.upsample = _Upsampler(channels)

    def forward(self, x: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        """Return refined features (N, channels, H, W), and enlarged ones with the encoder's (N, channels, 2 H, 2 W)."""
        refined = self.refine(x)
        return refined, self.upsample(refined) + skip


class ESANet(nn.Module):
    """The network of Figure 2; without elevation, that of the authors for images alone.

    Args:
        image_channels: Bands of the image.
        num_classes: Classes of the output.
        blocks: Residual blocks in each stage of the encoders.
        elevation: Whether one more band follows, which has an encoder of its own.
    """

    def __init__(self, image_channels: int, num_classes: int, blocks: Sequence[int], *, elevation: bool) -> None:
        super().__init__()
        self.image_channels = image_channels
        self.image = _encoder(image_channels, blocks)
        self.elevation = _encoder(1, blocks) if elevation else None
        self.fusions = nn.ModuleList(map(_Fusion, _WIDTHS if elevation else ()))
        widths = (_DECODER_WIDTHS[0], *_DECODER_WIDTHS)
        self.skips = nn.ModuleList(
            conv_norm_act(width, out, 1) for width, out in zip(_WIDTHS[1:4], reversed(_DECODER_WIDTHS), strict=True)
        )
        self.context = _PyramidPooling(_WIDTHS[-1], widths[0])
        self.decoder = nn.ModuleList(map(_DecoderStage, widths, _DECODER_WIDTHS))
        head = nn.Conv2d(widths[-1], num_classes, 3, padding=1)
        self.head = nn.Sequential(head, _Upsampler(num_classes), _Upsampler(num_classes))
        self.aux_sides = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for width in _DECODER_WIDTHS)
        self.aligned = AlignedInput(32, corners=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        return self.head(self._decode(images)[1])[..., :height, :width]

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and those of the decoder's stages: ``side32``, ``side16``, ``side8`` (N, K, H/s, W/s)."""
        height, width = images.shape[-2:]
        refined, features = self._decode(images)
        sides = {
            f"side{stride}": side(x)[..., : -(-height // stride), : -(-width // stride)]
            for stride, side, x in zip(_SIDE_STRIDES, self.aux_sides, refined, strict=True)
        }
        return self.head(features)[..., :height, :width], sides

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return the sum of the cross-entropies of all sides; targets (N, H, W) int64, 255 ignored.

        Each is that of every s-th label along both axes, where features of stride s have their centres.
        """
        losses = []
        for stride in _SIDE_STRIDES:
            labels = targets[:, ::stride, ::stride]
            counted = (labels != IGNORE_INDEX).sum().clamp(min=1)
            logits = outputs[f"side{stride}"].float()
            losses.append(F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="sum") / counted)
        return torch.stack(losses).sum()

    def _decode(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return refined features (N, C, H/s, W/s) for s = 32, 16 and 8, and the last ones (N, 128, H/4, W/4)."""
        x, skips = self._encode(self.aligned(images))
        refined = []
        for stage, skip in zip(self.decoder, reversed(skips), strict=True):
            before, x = stage(x, skip)
            refined.append(before)
        return refined, x

    def _encode(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return context (N, 512, H/32, W/32), and what is added in the decoder at strides 4, 8 and 16."""
        x, elevation = images[:, : self.image_channels], images[:, self.image_channels :]
        skips = []
        for level, stage in enumerate(self.image):
            x = stage(x)
            if self.elevation is not None:
                elevation = self.elevation[level](elevation)
                x = self.fusions[level](x, elevation)
            if 1 <= level <= len(self.skips):
                skips.append(self.skips[level - 1](x))
        return self.context(x), skips


def esanet(
    *,
    in_channels: int,
    num_classes: int,
    elevation: bool | None = None,
    layers: int = 34,
) -> ESANet:
    """Build ESANet: an encoder for the image and one for its last band, which is elevation, joined by channel gates.

    Paper: Seichter et al., "Efficient RGB-D Semantic Segmentation for Indoor Scene Analysis", ICRA, arXiv 2011.06961
    Year: 2021
    Family: encoder-decoder
    Encoder: own
    Parameters: 32,024,143
    Multiply-adds: 24.9 G
    Output stride: 32
    Rate: 3e-3
    Use: scenes with an elevation raster, which has an encoder of its own

    The figures are those of an image of three bands alone, the authors' network without depth; with a fourth band,
    elevation, it has 46,895,247 parameters and 38.1 G multiply-adds. Which bands mean elevation is a matter of
    ``elevation``: left open, it is the last of two bands or of four and more. Height above ground (nDSM) serves better
    than absolute height (DSM), which differs from scene to scene for the same things. Three classifiers on the
    decoder's stages serve training alone (17,081 parameters), their losses added with weight 1 (section III-C); maxima
    over cells of the pyramid are repeated, and enlarged features filtered with zeros around them, as in the authors'
    code with the options that they trained with. Encoders are initialised as He et al. (2015) propose, all else as
    torch does by default. Images are mirrored at the right and bottom edge up to multiples of 32, and logits cut back.
    Deviation: the authors trained their encoders on ImageNet first; here they start from random weights.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        elevation: Whether the last band is elevation; None: that of two bands, or of four and more.
        layers: Of each ResNet: 34 or 18.

    Raises:
        ArchitectureError: The only band would be elevation, or there is no ResNet of so many layers.
    """
    if elevation and in_channels == 1:
        raise ArchitectureError(
            "`elevation` takes the only band, and leaves none for the image.", hint="Leave it out, or add bands."
        )
    if layers not in _BLOCKS:
        raise ArchitectureError(f"`layers` is {layers}, but ESANet has ResNets of 34 or 18.", hint="Give one of these.")
    has_elevation = in_channels not in (1, 3) if elevation is None else elevation
    return ESANet(in_channels - has_elevation, num_classes, _BLOCKS[layers], elevation=has_elevation)


def _encoder(in_channels: int, blocks: Sequence[int]) -> nn.ModuleList:
    """Return the stem of a ResNet and its four stages, of strides 2, 4, 8, 16 and 32."""
    stages: list[nn.Module] = [conv_norm_act(in_channels, _WIDTHS[0], 7, stride=2)]
    for level, count in enumerate(blocks, start=1):
        channels = _WIDTHS[level]
        first = _FactorisedResidual(_WIDTHS[level - 1], channels, stride=1 if level == 1 else 2)
        others = (_FactorisedResidual(channels, channels) for _ in range(count - 1))
        pool = [nn.MaxPool2d(3, stride=2, padding=1)] if level == 1 else []
        stages.append(nn.Sequential(*pool, first, *others))
    he_normal(*stages, mode="fan_out")
    return nn.ModuleList(stages)


def _factorised_conv(in_channels: int, channels: int, stride: int = 1) -> nn.Sequential:
    """Return a 3x1 and a 1x3 convolution with a ReLU between them."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, (3, 1), stride=(stride, 1), padding=(1, 0)),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, (1, 3), stride=(1, stride), padding=(0, 1)),
    )
