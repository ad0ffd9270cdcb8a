"""CCNet: a dilated ResNet, whose pixels attend to their row and column, twice over and so to all.

Huang, Wang, Wei, Huang, Shi, Liu, Huang: "CCNet: Criss-Cross Attention for Semantic Segmentation", ICCV 2019, arXiv
1811.11721. Layers follow its Figures 2 and 3 and section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal

_RECURRENCE = 2  # R of section 3.3: two passes lead from any pixel to any other
_SLOPE = 0.01  # of the activation below zero, in the authors' code
_AUX_WEIGHT = 0.4  # in the authors' code


class CrissCrossAttention(nn.Module):
    """Each pixel beside the mean of those in its row and column, weighted by likeness to it (section 3.2).

    Memory grows with pixels times rows and columns, not with the square of pixels.

    Args:
        channels: Channels of the features.
    """

    global_context = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1)
        self.key = nn.Conv2d(channels, channels // 8, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) for features (N, C, H, W)."""
        query, key, value = self.query(x), self.key(x), self.value(x)
        rows = x.shape[2]
        itself = torch.eye(rows, dtype=torch.bool, device=x.device)[:, None]  # (H, 1, H); it counts in its row
        column = torch.einsum("nchw,ncgw->nhwg", query, key).masked_fill(itself, -torch.inf)
        row = torch.einsum("nchw,nchv->nhwv", query, key)
        weights = torch.cat([column, row], dim=3).softmax(dim=3)  # (N, H, W, H + W)
        of_column = torch.einsum("nhwg,ncgw->nchw", weights[..., :rows], value)
        of_row = torch.einsum("nhwv,nchv->nchw", weights[..., rows:], value)
        return x + self.gamma * (of_column + of_row)


class CCNet(nn.Module):
    """The network of Figure 2.

    Args:
        encoder: Backbone at output stride 8.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        deepest, deep = encoder.channels[-1], encoder.channels[-2]
        width = deepest // 4
        self.reduce = conv_norm_act(deepest, width, 3, slope=_SLOPE)
        self.attention = CrissCrossAttention(width)
        self.refine = conv_norm_act(width, width, 3, slope=_SLOPE)
        self.head = _head(deepest + width, num_classes)
        self.aux_head = _head(deep, num_classes, bias=True)
        self.aligned = AlignedInput(8)
        he_normal(self.reduce, self.refine, self.head, self.aux_head)
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
        context = self.reduce(features)  # (N, 512, H/8, W/8)
        for _ in range(_RECURRENCE):
            context = self.attention(context)  # with the same weights
        scores = self.head(torch.cat([features, self.refine(context)], dim=1))
        return self.aligned.enlarge(scores, padded, images), side


def ccnet(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "resnet101s",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> CCNet:
    """Build CCNet: a dilated ResNet-101 under attention along rows and columns, twice with the same weights.

    Paper: Huang et al., "CCNet: Criss-Cross Attention for Semantic Segmentation", ICCV, arXiv 1811.11721
    Year: 2019
    Family: attention
    Encoder: resnet101s
    Parameters: 66,558,036
    Multiply-adds: 293.0 G
    Output stride: 8
    Rate: 3e-3
    Use: context of whole windows at less memory than other attention; large GPU

    The encoder has three 3x3 convolutions as stem (64, 64, 128 channels). Attention begins with weight zero; queries
    and keys have an eighth of the channels. Outside of the encoder ReLUs have slope 0.01 below zero, a classifier on
    the encoder's last stage but one serves training alone (4,729,875 parameters), with weight 0.4, dropout of channels
    is 0.1, and interpolation aligns corners, as in the authors' code; images are mirrored at the right and bottom edge
    up to 8 k + 1 px, as theirs are (769), and logits cut back. Deviations: convolutions outside of encoder and
    attention start as He et al. (2015) propose, where the authors leave them as torch draws them; the loss of category
    consistency, which the journal version of the paper adds, is left out.

    With hard pixels alone, the authors train the logits and not the side output: ``loss="ohem(threshold=0.7,
    keep=0.085)"``, where theirs keeps 100,000 pixels of the two crops of 769 px on a device.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: Backbone of timm that can have output stride 8.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(
        encoder, in_channels=in_channels, output_stride=8, pretrained=pretrained, weights=encoder_weights
    )
    return CCNet(backbone, num_classes)


def _head(in_channels: int, num_classes: int, *, bias: bool = False) -> nn.Sequential:
    mixed = conv_norm_act(in_channels, 512, 3, slope=_SLOPE, bias=bias)
    return nn.Sequential(mixed, nn.Dropout2d(0.1), nn.Conv2d(512, num_classes, 1))
