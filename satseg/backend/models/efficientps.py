"""EfficientPS: a feature pyramid that runs both ways, and a semantic head with a module for coarse and for fine levels.

Mohan, Valada: "EfficientPS: Efficient Panoptic Segmentation", IJCV 2021, arXiv 2004.02307. Layers follow its sections
on the backbone and on the semantic head. The dense prediction cell is that of Chen et al.: "Searching for Efficient
Multi-Scale Architectures for Dense Image Prediction", NeurIPS 2018, arXiv 1809.04184.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.norm import BatchNorm2d
from satseg.backend.nn.resize import resize_like

_PYRAMID_WIDTH, _WIDTH = 256, 128
_FINEST = 4  # stride of the pyramid's finest level
_SLOPE = 0.01  # of all activations below zero
_CELL = (  # the convolution whose output each one takes, None for the cell's input; dilations of rows and columns
    (None, (1, 6)),
    (0, (1, 1)),
    (0, (6, 21)),
    (0, (18, 15)),
    (3, (6, 3)),
)


class TwoWayFPN(nn.Module):
    """A pyramid with a path from coarse to fine and one from fine to coarse, whose levels are summed and smoothed.

    Args:
        channels: Channels of the encoder's levels, finest first.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.to_fine, self.to_coarse = (nn.ModuleList(map(_reduce, channels)) for _ in range(2))
        self.smooth = nn.ModuleList(conv_norm_act(_PYRAMID_WIDTH, _PYRAMID_WIDTH, slope=_SLOPE) for _ in channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return (N, 256, H, W) for each level (N, channels[i], H, W)."""
        fine, coarse = (
            [reduce(level) for reduce, level in zip(path, features, strict=True)]
            for path in (self.to_fine, self.to_coarse)
        )
        paths = zip(reversed(_carried(reversed(fine))), _carried(coarse), strict=True)
        return [smooth(a + b) for smooth, (a, b) in zip(self.smooth, paths, strict=True)]


class DensePredictionCell(nn.Module):
    """Five separable convolutions whose order and dilations a search found, side by side in the result."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_separable(_PYRAMID_WIDTH, _PYRAMID_WIDTH, dilation) for _, dilation in _CELL)
        self.project = conv_norm_act(_PYRAMID_WIDTH * len(_CELL), _WIDTH, 1, slope=_SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 128, H, W) for (N, 256, H, W)."""
        found: list[Tensor] = []
        for conv, (source, _) in zip(self.convs, _CELL, strict=True):
            found.append(conv(x if source is None else found[source]))
        return self.project(torch.cat(found, dim=1))


class SemanticHead(nn.Module):
    """Cells for strides 32 and 16, two separable convolutions for 8 and 4; what coarse levels say corrects finer ones.

    Args:
        num_classes: Classes of the output.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.coarse = nn.ModuleList(DensePredictionCell() for _ in range(2))
        self.fine = nn.ModuleList(_separable_pair(_PYRAMID_WIDTH) for _ in range(2))
        self.correct = nn.ModuleList(_separable_pair(_WIDTH) for _ in range(2))
        self.classify = nn.Conv2d(4 * _WIDTH, num_classes, 1)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Return scores (N, num_classes, H/4, W/4) for (N, 256, ...) at strides 4, 8, 16 and 32."""
        *finer, p16, p32 = pyramid
        x = self.coarse[0](p32)
        levels = [x]
        x = self.coarse[1](p16) + resize_like(x, p16)
        levels.append(x)
        for level, fine, correct in zip(reversed(finer), self.fine, self.correct, strict=True):
            x = fine(level) + resize_like(correct(x), level)
            levels.append(x)
        return self.classify(torch.cat([resize_like(level, x) for level in levels], dim=1))


class EfficientPS(nn.Module):
    """The shared backbone and the semantic head.

    Args:
        encoder: Backbone with features at strides 4, 8, 16 and 32.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        self.neck = TwoWayFPN(encoder.channels_from(_FINEST))
        self.head = SemanticHead(num_classes)
        self.aligned = AlignedInput(encoder.strides[-1], corners=False)
        he_normal(self.neck, self.head)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        features = self.encoder(padded)[-len(self.neck.smooth) :]
        return self.aligned.enlarge(self.head(self.neck(features)), padded, images)


def efficientps(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "tf_efficientnet_b5",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> EfficientPS:
    """Build EfficientPS: EfficientNet-B5, a feature pyramid with two paths, and modules for context and for detail.

    Paper: Mohan and Valada, "EfficientPS: Efficient Panoptic Segmentation", IJCV, arXiv 2004.02307
    Year: 2021
    Family: pyramid
    Encoder: tf_efficientnet_b5
    Parameters: 26,073,731
    Multiply-adds: 27.5 G
    Output stride: 32
    Rate: 3e-3
    Use: any encoder with a pyramid that sees far at little cost

    Each level of the encoder is reduced to 256 channels twice. One path adds coarse levels to finer ones, another one
    fine levels to coarser ones; their sums are smoothed by 3x3 convolutions, which the paper calls separable and which
    are full ones in the authors' code, whose count of 3,977,491 parameters for pyramid and head is met (separable ones
    would have 2,085,888 less). Strides 32 and 16 have dense prediction cells, strides 8 and 4 two separable
    convolutions each; to these is added what the next coarser stride says, through two more. Four times 128 channels
    are put side by side at stride 4. In-place activated normalisation is batch normalisation and a leaky ReLU of slope
    0.01 behind each convolution but the last. Sizes that 32 does not divide are mirrored at the right and bottom edge
    and cut back; interpolation is bilinear, between the centres of cells.

    As in the paper, the encoder is without squeeze-and-excitation, and so sees no further than its receptive field; the
    same goes for other encoders whose blocks have it under timm's usual name. Pretrained weights were trained with it.
    Deviations: timm's EfficientNet-B5 ends at 512 channels, where the authors' has one more convolution, to 2048
    (1,052,672 parameters, and 786,432 more in the pyramid); its activations are SiLUs, not leaky ReLUs; convolutions of
    pyramid and head start as He et al. (2015) propose. Outputs were not compared with those of the authors' code, whose
    licence is GPL-3.0. What the count does not tell and the paper's figures leave open is a choice made here: that
    both paths resize bilinearly, and that the cell of stride 32 is added to that of stride 16 before it corrects
    finer levels.

    The instance head is left out: a Mask R-CNN with separable convolutions (proposals, RoIAlign, boxes and masks), and
    the fusion of its masks with the classes. On tiles that keep objects, this network learns inner boundaries and
    distances beside the classes, as others do, of which objects are assembled: that needs no anchors of chosen sizes,
    no boxes, which overlap where slanted buildings touch, and no second way to put tiles together. The semantic head's
    loss is the cross-entropy of the hardest quarter of pixels, ``loss="ohem(threshold=0, keep=0.25)"``, of each tile.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: Backbone of timm with features at strides 4 to 32.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    _leave_out_excitation(backbone)
    return EfficientPS(backbone, num_classes)


def _leave_out_excitation(encoder: nn.Module) -> None:
    """Replace the squeeze-and-excitation of the encoder's blocks by nothing."""
    for block in list(encoder.modules()):
        if isinstance(getattr(block, "se", None), nn.Module):
            block.se = nn.Identity()


def _reduce(channels: int) -> nn.Sequential:
    return conv_norm_act(channels, _PYRAMID_WIDTH, 1, slope=_SLOPE)


def _carried(levels: Iterable[Tensor]) -> list[Tensor]:
    """Return the levels, to each of which the one before is added, resized."""
    sums: list[Tensor] = []
    for level in levels:
        sums.append(level + resize_like(sums[-1], level) if sums else level)
    return sums


def _separable(in_channels: int, out_channels: int, dilation: tuple[int, int] = (1, 1)) -> nn.Sequential:
    """Return a depthwise 3x3 and a pointwise convolution, each with norm and leaky ReLU."""
    depthwise = nn.Conv2d(
        in_channels, in_channels, 3, padding=dilation, dilation=dilation, groups=in_channels, bias=False
    )
    return nn.Sequential(
        depthwise,
        BatchNorm2d(in_channels),
        nn.LeakyReLU(_SLOPE, inplace=True),
        conv_norm_act(in_channels, out_channels, 1, slope=_SLOPE),
    )


def _separable_pair(in_channels: int) -> nn.Sequential:
    return nn.Sequential(_separable(in_channels, _WIDTH), _separable(_WIDTH, _WIDTH))
