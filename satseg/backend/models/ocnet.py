"""OCNet: a dilated ResNet, whose pixels get the mean of those that are like them: context of objects.

Yuan, Wang: "OCNet: Object Context Network for Scene Parsing", arXiv 1809.00916v2, 2018. Layers follow its section 3
and the authors' code; the version of 2021 is another network, with interlaced attention.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.attention import attend
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.errors import ArchitectureError

_WIDTH = 512
_RATES = (12, 24, 36)  # dilations at output stride 8
_BLOCKS = (1, 2, 3, 6)  # a side of each grid
_SLOPE = 0.01  # of activations below zero, in the authors' code
_AUX_WEIGHT = 0.4  # in the authors' code


class ObjectContext(nn.Module):
    """For each pixel the mean of all, weighted by likeness to it (section 3.2); zero before training.

    Args:
        channels: Channels of the features.
        key_channels: Channels by which pixels are compared.
        value_channels: Channels of which means are taken.
        out_channels: Channels of the output.
    """

    global_context = True

    def __init__(self, channels: int, key_channels: int, value_channels: int, out_channels: int) -> None:
        super().__init__()
        self.value = nn.Conv2d(channels, value_channels, 1)
        self.key = conv_norm_act(channels, key_channels, 1, slope=_SLOPE, bias=True)  # the same for queries
        self.project = nn.Conv2d(value_channels, out_channels, 1)
        self.scale = key_channels**-0.5
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H, W) for features (N, channels, H, W)."""
        value, key = self.value(x), self.key(x)
        return self.project(self.mean(key, value))

    def mean(self, key: Tensor, value: Tensor) -> Tensor:
        """Return weighted means (N, value_channels, H, W)."""
        return attend(key, key, value, scale=self.scale)


class ContextOfHalves(ObjectContext):
    """As :class:`ObjectContext`, over maxima of 2 x 2 pixels, which saves memory."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H, W) for features (N, channels, H, W)."""
        context = super().forward(F.max_pool2d(x, 2, ceil_mode=True))
        size = [2 * side for side in context.shape[-2:]]
        return F.interpolate(context, size, mode="bilinear")[..., : x.shape[-2], : x.shape[-1]]


class ContextOfBlocks(ObjectContext):
    """As :class:`ObjectContext`, within each block of a grid.

    Args:
        channels: Channels of the features, and of the output.
        blocks: Rows and columns of the grid; the last ones get what is left over.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__(channels, channels // 2, channels, channels)
        self.blocks = blocks

    def mean(self, key: Tensor, value: Tensor) -> Tensor:
        """Return weighted means (N, value_channels, H, W)."""
        heights, widths = (_split(side, self.blocks) for side in key.shape[-2:])
        rows = []
        for keys, values in zip(key.split(heights, 2), value.split(heights, 2), strict=True):
            pairs = zip(keys.split(widths, 3), values.split(widths, 3), strict=True)
            rows.append(torch.cat([super(ContextOfBlocks, self).mean(*pair) for pair in pairs], dim=3))
        return torch.cat(rows, dim=2)


class BaseOC(nn.Module):
    """Object context beside the features, mixed."""

    dropout = 0.05

    def __init__(self) -> None:
        super().__init__()
        self.context = ObjectContext(_WIDTH, 256, 256, _WIDTH)
        self.mix = _layer(2 * _WIDTH, _WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 512, H, W) for features (N, 512, H, W)."""
        return self.mix(torch.cat([self.context(x), x], dim=1))


class PyramidOC(nn.Module):
    """Object context of four grids of blocks beside the widened features, mixed."""

    dropout = 0.05

    def __init__(self) -> None:
        super().__init__()
        self.widen = _layer(_WIDTH, len(_BLOCKS) * _WIDTH, 1)
        self.contexts = nn.ModuleList(ContextOfBlocks(_WIDTH, blocks) for blocks in _BLOCKS)
        self.mix = _layer(2 * len(_BLOCKS) * _WIDTH, _WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 512, H, W) for features (N, 512, H, W)."""
        contexts = [context(x) for context in self.contexts]
        return self.mix(torch.cat([self.widen(x), *contexts], dim=1))


class ASPOC(nn.Module):
    """Object context as one of five branches of an atrous pyramid."""

    dropout = 0.1

    def __init__(self) -> None:
        super().__init__()
        width = _WIDTH // 2
        self.context = nn.Sequential(
            _layer(_WIDTH, width, 3), ContextOfHalves(width, width // 2, width, width), _layer(width, width, 1)
        )
        self.branches = nn.ModuleList(
            [
                conv_norm_act(_WIDTH, width, 1, slope=_SLOPE),
                *(conv_norm_act(_WIDTH, width, 3, dilation=rate, slope=_SLOPE) for rate in _RATES),
            ]
        )
        self.mix = conv_norm_act((2 + len(_RATES)) * width, _WIDTH, 1, slope=_SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 512, H, W) for features (N, 512, H, W)."""
        context = self.context(x)
        return self.mix(torch.cat([context, *(branch(x) for branch in self.branches)], dim=1))


_CONTEXTS: dict[str, Callable[[], BaseOC | PyramidOC | ASPOC]] = {"asp": ASPOC, "base": BaseOC, "pyramid": PyramidOC}


class OCNet(nn.Module):
    """Encoder, reduced features, context and classifier (section 3).

    Args:
        encoder: Backbone at output stride 8.
        context: What follows the reduced features.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, context: BaseOC | PyramidOC | ASPOC, num_classes: int) -> None:
        super().__init__()
        deepest, deep = encoder.channels[-1], encoder.channels[-2]
        activated = not isinstance(context, PyramidOC)  # the authors' pyramid follows a norm alone
        self.reduce = _layer(deepest, _WIDTH, 3, act=activated)
        self.head = nn.Sequential(nn.Dropout2d(context.dropout), nn.Conv2d(_WIDTH, num_classes, 1))
        self.aux_head = nn.Sequential(
            _layer(deep, _WIDTH, 3, act=activated),
            nn.Dropout2d(context.dropout),
            nn.Conv2d(_WIDTH, num_classes, 1),
        )
        self.aligned = AlignedInput(8)
        he_normal(self.reduce, self.head, self.aux_head)
        self.context = context
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        logits, _ = self._logits(images, self.aligned(images))
        return logits

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and those of the encoder's last stage but one: ``side`` (N, num_classes, H, W)."""
        padded = self.aligned(images)
        logits, side = self._logits(images, padded)
        return logits, {"side": self.aligned.enlarge(self.aux_head(side), padded, images)}

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return 0.4 times the cross-entropy of the side output; targets (N, H, W) int64, 255 ignored."""
        return auxiliary_cross_entropy(outputs, targets, weight=_AUX_WEIGHT)

    def _logits(self, images: Tensor, padded: Tensor) -> tuple[Tensor, Tensor]:
        side, features = self.encoder(padded)[-2:]  # (N, 2048, H/8, W/8), side half as wide
        scores = self.head(self.context(self.reduce(features)))
        return self.aligned.enlarge(scores, padded, images), side


def ocnet(
    *,
    in_channels: int,
    num_classes: int,
    context: str = "asp",
    encoder: str = "resnet101s",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> OCNet:
    """Build OCNet: a dilated ResNet-101 under an atrous pyramid with attention between pixels as a branch.

    Paper: Yuan & Wang, "OCNet: Object Context Network for Scene Parsing", arXiv 1809.00916v2
    Year: 2018
    Family: attention
    Encoder: resnet101s
    Parameters: 57,812,307
    Multiply-adds: 254.1 G
    Output stride: 8
    Rate: 3e-3
    Use: wide context and likeness with a pretrained encoder; large GPU

    The encoder has three 3x3 convolutions as stem (64, 64, 128 channels). Queries and keys are the same; attention
    begins with zero. Outside of the encoder ReLUs have slope 0.01 below zero, a classifier on the encoder's last stage
    but one serves training alone (4,729,875 parameters), with weight 0.4, dropout of channels is 0.1 (0.05 for ``base``
    and ``pyramid``), and interpolation aligns corners, as in the authors' code; images are mirrored at the right and
    bottom edge up to 8 k + 1 px, as theirs are (769), and logits cut back. Deviations: the branch of attention works on
    maxima of 2 x 2 features, where the authors' drop a last odd row and column and then stretch the map by up to 1.5
    features, and here they are kept and interpolated between the centres of cells; convolutions outside of encoder and
    attention start as He et al. (2015) propose, where the authors leave them as torch draws them.

    With hard pixels alone, the authors train the logits and not the side output, where they found that it harms:
    ``loss="ohem(threshold=0.7, keep=0.085)"``; theirs keeps 100,000 pixels of the two crops of 769 px on a device.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        context: ``asp``; ``base``, attention alone (52,992,979 parameters); ``pyramid``, attention within the blocks of
            four grids (57,854,419).
        encoder: Backbone of timm that can have output stride 8.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.

    Raises:
        ArchitectureError: There is no such context, or weights of the encoder cannot be had.
    """
    if context not in _CONTEXTS:
        raise ArchitectureError(f"OCNet has no context {context!r}.", hint=f"It takes {', '.join(_CONTEXTS)}.")
    backbone = build_encoder(
        encoder, in_channels=in_channels, output_stride=8, pretrained=pretrained, weights=encoder_weights
    )
    return OCNet(backbone, _CONTEXTS[context](), num_classes)


def _layer(in_channels: int, out_channels: int, kernel: int, *, act: bool = True) -> nn.Sequential:
    return conv_norm_act(in_channels, out_channels, kernel, act=act, slope=_SLOPE, bias=True)


def _split(side: int, parts: int) -> list[int]:
    """Return the sides of equal parts, the last of which gets what is left over; those that are empty are left out."""
    sides = [*[side // parts] * (parts - 1), side - side // parts * (parts - 1)]
    return [each for each in sides if each]
