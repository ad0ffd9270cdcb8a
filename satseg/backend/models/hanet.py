"""HANet: DeepLab v3+ on a ResNet-101, whose features are gated row by row by what lies at the same height.

Choi, Kim, Choo: "Cars Can't Fly Up in the Sky: Improving Urban-Scene Segmentation via Height-driven Attention
Networks", CVPR 2020, arXiv 2003.05128. Attention follows its section 3; what it leaves open of the network follows the
family of DeepLab v3+ that it builds on.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.pooling import adaptive_mean
from satseg.backend.nn.pyramid import ASPP
from satseg.backend.nn.resize import resize_like

_WIDTH, _DETAIL_WIDTH, _AUX_WIDTH = 256, 48, 512
_ROWS = 16  # section 4.2
_REDUCTION = 64
_BASE = 100  # of the wavelengths; Vaswani et al. (2017), whose sequences are longer, have 10,000
_AUX_WEIGHT = 0.4


class HeightAttention(nn.Module):
    """Gates the channels of each row of features by what rows of lower features hold, and by where they lie.

    Args:
        lower: Channels of the features that gates are made of.
        higher: Channels of the features that are gated.
    """

    global_context = True  # its means are of whole rows, and rows are counted from the top of the window
    encoding: Tensor

    def __init__(self, lower: int, higher: int) -> None:
        super().__init__()
        width = -(-lower // _REDUCTION)
        self.reduce = nn.Sequential(nn.Conv1d(lower, width, 1, bias=False), nn.BatchNorm1d(width), nn.ReLU())
        self.gate = nn.Sequential(
            nn.Conv1d(width, 2 * width, 3, padding=1),
            nn.BatchNorm1d(2 * width),
            nn.ReLU(),
            nn.Conv1d(2 * width, higher, 3, padding=1),
            nn.Sigmoid(),
        )
        self.register_buffer("encoding", _encode_rows(_ROWS, width), persistent=False)

    def forward(self, lower: Tensor, higher: Tensor) -> Tensor:
        """Return gated features (N, higher, H, W) for features (N, lower, h, w) and (N, higher, H, W)."""
        rows = adaptive_mean(lower, _ROWS, 1).squeeze(3)  # (N, lower, 16)
        gates = self.gate(self.reduce(rows) + self.encoding)  # (N, higher, 16)
        return higher * F.interpolate(gates, higher.shape[2], mode="linear").unsqueeze(3)


class HANet(nn.Module):
    """Encoder, atrous pyramid and decoder, with height-driven attention at four places.

    Args:
        encoder: Backbone at output stride 16 or 8, with features at stride 4.
        num_classes: Classes of the output.
        rates: Dilations of the pyramid.
    """

    def __init__(self, encoder: Encoder, num_classes: int, *, rates: tuple[int, ...]) -> None:
        super().__init__()
        deep, deepest = encoder.channels[-2:]
        self.pyramid = ASPP(deepest, _WIDTH, rates=rates, dropout=0.0)
        self.detail = conv_norm_act(encoder.channels[-4], _DETAIL_WIDTH, 1)
        joined = _WIDTH + _DETAIL_WIDTH
        self.decoder = nn.Sequential(conv_norm_act(joined, _WIDTH), conv_norm_act(_WIDTH, _WIDTH))
        self.head = nn.Conv2d(_WIDTH, num_classes, 1)
        self.encoded = HeightAttention(deep, deepest)
        self.pooled = HeightAttention(deepest, self.pyramid.joined)
        self.projected = HeightAttention(self.pyramid.joined, _WIDTH)
        self.decoded = HeightAttention(joined, _WIDTH)
        self.aux_head = nn.Sequential(
            conv_norm_act(deep, _AUX_WIDTH, bias=True), nn.Dropout2d(0.1), nn.Conv2d(_AUX_WIDTH, num_classes, 1)
        )
        self.aligned = AlignedInput(encoder.strides[-1])
        he_normal(self)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        logits, _ = self._logits(images, self.aligned(images))
        return logits

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and those of the encoder's last stage but one: ``side`` (N, num_classes, H, W)."""
        padded = self.aligned(images)
        logits, deep = self._logits(images, padded)
        return logits, {"side": self.aligned.enlarge(self.aux_head(deep), padded, images)}

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return 0.4 times the cross-entropy of the side output; targets (N, H, W) int64, 255 ignored."""
        return auxiliary_cross_entropy(outputs, targets, weight=_AUX_WEIGHT)

    def _logits(self, images: Tensor, padded: Tensor) -> tuple[Tensor, Tensor]:
        fine, _, deep, deepest = self.encoder(padded)[-4:]
        context = self._context(deep, deepest)  # (N, 256, H/8, W/8), or H/16, W/16
        detail = self.detail(fine)  # (N, 48, H/4, W/4)
        joined = torch.cat([detail, resize_like(context, detail, align_corners=True)], dim=1)
        scores = self.head(self.decoded(joined, self.decoder(joined)))
        return self.aligned.enlarge(scores, padded, images), deep

    def _context(self, deep: Tensor, deepest: Tensor) -> Tensor:
        features = self.encoded(deep, deepest)
        pooled = self.pooled(features, self.pyramid.join(features))  # (N, 1280, H/8, W/8)
        return self.projected(pooled, self.pyramid.project(pooled))


def hanet(
    *,
    in_channels: int,
    num_classes: int,
    output_stride: int = 8,
    encoder: str = "resnet101s",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> HANet:
    """Build HANet: DeepLab v3+ on a dilated ResNet-101, with gates that know the height in a street-level image.

    Paper: Choi et al., "Cars Can't Fly Up in the Sky: Improving Urban-Scene Segmentation via ...", arXiv 2003.05128
    Year: 2020
    Family: attention
    Encoder: resnet101s
    Parameters: 60,072,033
    Multiply-adds: 275.1 G
    Output stride: 8
    Rate: 3e-3
    Use: oblique or street-level images alone: rows of nadir images mean nothing

    Not for maps of nadir imagery: there, the height in the image means nothing. In which row of a scene an object lies
    says nothing about what it is, and a window of a scene is no view of a street, with the road below and the sky
    above. The network takes tiles and windows of any size all the same, and trains on them; but what it says of a place
    also depends on the row of the window in which the place lies: scores do not shift with the image, and windows that
    overlap disagree for no reason on the ground. It is of use for oblique or street-level images alone. Flips and turns
    take the meaning from rows of those, too: train with ``augment="none"``, on whole images or crops of the same rows.

    There are four gates (section 3): of the encoder's last stage by the last but one, of the concatenated pyramid by
    the last stage, of its projection by the concatenated pyramid, and of the decoder's output by its input. Each takes
    means over the width and over 16 equal shares of the height, reduces the channels to a 64th, adds sines and cosines
    of the number of the row, and interpolates its sigmoids between the centres of the shares. The encoder has three 3x3
    convolutions as stem (64, 64, 128 channels); the pyramid's dilations are 12, 24 and 36, or 6, 12 and 18 at output
    stride 16; a classifier on the encoder's last stage but one serves training alone (4,729,875 parameters), with
    weight 0.4 and dropout of channels of 0.1. Images are mirrored at the right and bottom edge up to a multiple of the
    stride and one pixel, interpolation aligns corners, and logits are cut back.

    Deviations: rows are counted from the top of the window, where the authors count them from that of the whole image,
    and are not moved at random in training; convolutions start as He et al. (2015) propose. The base of the
    wavelengths that encode rows, 100, was not checked against the authors' code. Parameters and
    multiply-adds are those of the authors' network. Outputs were not compared with it: its licence excludes commercial
    use, and it was not read.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        output_stride: 8 or 16; 16 is coarser and costs a third of the arithmetic.
        encoder: Backbone of timm that can have this output stride, with features at stride 4.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(
        encoder, in_channels=in_channels, output_stride=output_stride, pretrained=pretrained, weights=encoder_weights
    )
    rates = tuple(rate * 16 // output_stride for rate in (6, 12, 18))
    return HANet(backbone, num_classes, rates=rates)


def _encode_rows(rows: int, channels: int) -> Tensor:
    """Return (channels, rows): sines (even channels) and cosines of the number of a row, of growing wavelengths.

    Vaswani et al.: "Attention Is All You Need", arXiv 1706.03762, 2017, section 3.5.
    """
    numbers = torch.arange(channels)[:, None]
    angles = torch.arange(rows) / _BASE ** ((numbers - numbers % 2) / channels)
    return torch.where(numbers % 2 == 0, angles.sin(), angles.cos())
