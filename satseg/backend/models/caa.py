"""CAA: a dilated ResNet, whose pixels attend to their column, then to their row, with gates on channels in between.

Huang, Kang, Jia, He, Liu: "Channelized Axial Attention - Considering Channel Relation within Spatial Attention for
Semantic Segmentation", AAAI 2022, arXiv 2101.07434. Layers follow its section 3 and the authors' code.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal

_MULTI_GRID = (1, 2, 4)  # this and what follows: in the authors' code
_WIDTH = 512
_KEYS = 64
_GATE_LAYERS = 5
_GATE_SLOPE = 0.2
_EPS = 1e-3
_AUX_WEIGHT = 0.4


class ChannelizedAxialAttention(nn.Module):
    """Means of each pixel's column, then of its row, weighted by likeness and by a gate for each channel (section 3.3).

    A gate follows from the mean over the map of all products of weights and features that belong to one row (column)
    of the output. It is the same for all of them, so that it can wait for their sum, and the mean of the products is
    that of the sum: no tensor of products of all pairs is needed.

    Args:
        channels: Channels of the features.
    """

    global_context = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.column_key = _layer(channels, _KEYS, 1)  # the same for queries
        self.row_key = _layer(channels, _KEYS, 1)
        self.value = _layer(channels, channels, 1)
        self.column_gate = _gate(channels)
        self.row_gate = _gate(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) for features (N, C, H, W)."""
        rows, columns = x.shape[-2:]
        key = self.column_key(x)
        weights = torch.einsum("nchw,ncgw->nhgw", key, key).softmax(dim=2)
        mixed = torch.einsum("nhgw,ncgw->nchw", weights, self.value(x))
        mixed = mixed * self.column_gate(mixed.mean(dim=3, keepdim=True) / rows)
        key = self.row_key(x)
        weights = torch.einsum("nchw,nchv->nhwv", key, key).softmax(dim=3)
        mixed = torch.einsum("nhwv,nchv->nchw", weights, mixed)
        return mixed * self.row_gate(mixed.mean(dim=2, keepdim=True) / columns)


class CAA(nn.Module):
    """Encoder, attention beside image-level features, and classifier.

    Args:
        encoder: Backbone at output stride 16 or 8.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        deepest = encoder.channels[-1]
        self.reduce = _layer(deepest, _WIDTH, 3)
        self.attention = ChannelizedAxialAttention(_WIDTH)
        self.refine = _layer(_WIDTH, _WIDTH, 1)
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), _layer(deepest, _WIDTH, 1))
        self.head = _head(2 * _WIDTH, num_classes)
        self.aux_head = _head(deepest, num_classes)
        self.aligned = AlignedInput(encoder.strides[-1], corners=False)
        he_normal(self.reduce, self.refine, self.image, self.head, self.aux_head)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        features = self.encoder(padded)[-1]
        return self.aligned.enlarge(self.head(self._context(features)), padded, images)

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and those of the encoder's features alone: ``side`` (N, num_classes, H, W)."""
        padded = self.aligned(images)
        features = self.encoder(padded)[-1]
        scores = self.head(self._context(features)), self.aux_head(features)
        logits, side = (self.aligned.enlarge(score, padded, images) for score in scores)
        return logits, {"side": side}

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return 0.4 times the cross-entropy of the side output; targets (N, H, W) int64, 255 ignored."""
        return auxiliary_cross_entropy(outputs, targets, weight=_AUX_WEIGHT)

    def _context(self, features: Tensor) -> Tensor:
        """Return (N, 1024, H/16, W/16) for features (N, 2048, H/16, W/16)."""
        context = self.refine(self.attention(self.reduce(features)))
        return torch.cat([context, self.image(features).expand_as(context)], dim=1)


def caa(
    *,
    in_channels: int,
    num_classes: int,
    output_stride: int = 16,
    encoder: str = "resnet101",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> CAA:
    """Build CAA: a dilated ResNet-101 under attention along columns and rows with gates on channels.

    Paper: Huang et al., "Channelized Axial Attention ... for Semantic Segmentation", AAAI, arXiv 2101.07434
    Year: 2022
    Family: attention
    Encoder: resnet101
    Parameters: 54,240,851
    Multiply-adds: 62.4 G
    Output stride: 16
    Rate: 3e-3
    Use: context of whole windows at a coarse stride with a pretrained encoder

    Multi-grid is (1, 2, 4); queries are keys, softmax has no scale, gates have five hidden layers of 128 channels;
    norms outside of the encoder add 1e-3 to the variance; a classifier on the encoder's last stage serves training
    alone (529,683 parameters), with weight 0.4; dropout is 0.1, and scores are interpolated between the centres of
    cells, as in the authors' code, which is of TensorFlow: its outputs are not compared. Images are mirrored at the
    right and bottom edge up to a multiple of the stride, and logits cut back. Deviations: stages of the encoder begin
    with their stride, as in timm, where the authors' end with it; convolutions outside of encoder and attention start
    as He et al. (2015) propose, where the authors take the defaults of their library.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        output_stride: 16 or 8; 8 is finer and costs 3.5 times the arithmetic.
        encoder: Backbone of timm that can have this output stride; multi-grid acts on ResNets alone.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(
        encoder,
        in_channels=in_channels,
        output_stride=output_stride,
        multi_grid=_MULTI_GRID,
        pretrained=pretrained,
        weights=encoder_weights,
    )
    return CAA(backbone, num_classes)


def _layer(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    return conv_norm_act(in_channels, out_channels, kernel, eps=_EPS)


def _gate(channels: int) -> nn.Sequential:
    widths = [channels, *[channels // 4] * _GATE_LAYERS]
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [nn.Conv2d(wide, narrow, 1, bias=False), nn.LeakyReLU(_GATE_SLOPE, inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], channels, 1, bias=False), nn.Sigmoid())


def _head(in_channels: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(_layer(in_channels, 256, 1), nn.Dropout(0.1), nn.Conv2d(256, num_classes, 1))
