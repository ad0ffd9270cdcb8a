"""ANN: a dilated ResNet, whose pixels attend to 110 means over grids: of its last stage but one, and of their own map.

Zhu, Xu, Bai, Huang, Bai: "Asymmetric Non-local Neural Networks for Semantic Segmentation", ICCV 2019, arXiv
1908.07678. Layers follow its Figure 4 and section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.attention import attend
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.pooling import adaptive_mean

_GRIDS = (1, 3, 6, 8)  # cells a side: 110 together, section 3.2
_KEYS = 256  # channels of keys and values, in the authors' code
_WIDTH = 512
_DROPOUT = 0.05  # in the authors' code
_AUX_WEIGHT = 0.4  # in the authors' code


class PyramidAttention(nn.Module):
    """For each pixel the mean of the cells of several grids, weighted by likeness to it (section 3.2).

    It is zero before training.

    Args:
        value: Layer that gives what means are taken of.
        key: Layer that gives that by which cells are compared.
        out_channels: Channels of the output.
        query: Layer that gives that by which pixels are compared; that of keys, where pixels attend to their own map.
    """

    global_context = True

    def __init__(self, value: nn.Module, key: nn.Module, out_channels: int, *, query: nn.Module | None = None) -> None:
        super().__init__()
        self.value, self.key, self.query = value, key, query
        self.project = nn.Conv2d(_KEYS, out_channels, 1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Return (N, out_channels, H, W) for features (N, C, H, W), and those of which means are taken."""
        values = self.value(source)
        queries = self.key(x) if self.query is None else self.query(x)
        keys = queries if self.query is None else self.key(source)
        mixed = attend(queries, _anchors(keys), _anchors(values), scale=_KEYS**-0.5)
        return self.project(mixed)


class FusionBlock(nn.Module):
    """AFNB: features of the last stage beside means of those of the stage before (section 3.3).

    Args:
        low: Channels of the stage before.
        high: Channels of the last stage, and of the output.
    """

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        value, key = nn.Conv2d(low, _KEYS, 1), _layer(low, _KEYS, 1)
        self.attention = PyramidAttention(value, key, high, query=_layer(high, _KEYS, 1))
        self.mix = nn.Sequential(_layer(2 * high, high, 1, act=False), nn.Dropout2d(_DROPOUT))

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Return (N, C, H, W) for features of both stages."""
        return self.mix(torch.cat([self.attention(high, low), high], dim=1))


class PyramidBlock(nn.Module):
    """APNB: features beside means of themselves, with the same queries and keys (section 3.2).

    Args:
        channels: Channels of the features, and of the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = PyramidAttention(nn.Conv2d(channels, _KEYS, 1), _layer(channels, _KEYS, 1), channels)
        self.mix = nn.Sequential(_layer(2 * channels, channels, 1), nn.Dropout2d(_DROPOUT))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) for features (N, C, H, W)."""
        return self.mix(torch.cat([self.attention(x, x), x], dim=1))


class ANN(nn.Module):
    """The network of Figure 4.

    Args:
        encoder: Backbone at output stride 8.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        deepest, deep = encoder.channels[-1], encoder.channels[-2]
        self.fusion = FusionBlock(deep, deepest)
        self.reduce = _layer(deepest, _WIDTH, 3)
        self.pyramid = PyramidBlock(_WIDTH)
        self.head = nn.Conv2d(_WIDTH, num_classes, 1)
        self.aux_head = nn.Sequential(
            _layer(deep, _WIDTH, 3), nn.Dropout2d(_DROPOUT), nn.Conv2d(_WIDTH, num_classes, 1)
        )
        self.aligned = AlignedInput(8)
        he_normal(self.fusion.mix, self.reduce, self.pyramid.mix, self.head, self.aux_head)
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
        fused = self.fusion(side, features)
        scores = self.head(self.pyramid(self.reduce(fused)))
        return self.aligned.enlarge(scores, padded, images), side


def ann(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "resnet101s",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> ANN:
    """Build ANN: a dilated ResNet-101, whose pixels attend to means over grids of two stages.

    Paper: Zhu et al., "Asymmetric Non-local Neural Networks for Semantic Segmentation", ICCV, arXiv 1908.07678
    Year: 2019
    Family: attention
    Encoder: resnet101s
    Parameters: 62,964,435
    Multiply-adds: 276.2 G
    Output stride: 8
    Rate: 3e-3
    Use: context of whole windows at little memory, pretrained encoder; large GPU

    The encoder has three 3x3 convolutions as stem (64, 64, 128 channels), and the first blocks of its dilated stages
    have the dilation of the stage before, as in the authors' code. Grids have 1, 3, 6 and 8 cells a side. Attention
    begins with zero. A classifier on the encoder's last stage but one serves training alone (4,729,875 parameters),
    with weight 0.4; dropout of channels is 0.05, and interpolation aligns corners, as in the authors'
    code; images are mirrored at the right and bottom edge up to 8 k + 1 px, as theirs are (769), and logits cut back.
    Deviation: convolutions outside of encoder and attention start as He et al. (2015) propose, where the authors leave
    them as torch draws them.

    The authors train the logits, and not the side output, with hard pixels alone: ``loss="ohem(threshold=0.7,
    keep=0.17)"``, where theirs keeps 100,000 pixels of the crop of 769 px on a device.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: Backbone of timm that can have output stride 8.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(
        encoder,
        in_channels=in_channels,
        output_stride=8,
        gradual=True,
        pretrained=pretrained,
        weights=encoder_weights,
    )
    return ANN(backbone, num_classes)


def _anchors(features: Tensor) -> Tensor:
    """Return the means of the cells of all grids (N, C, 110) for features (N, C, H, W)."""
    return torch.cat([adaptive_mean(features, side, side).flatten(2) for side in _GRIDS], dim=2)


def _layer(in_channels: int, out_channels: int, kernel: int, *, act: bool = True) -> nn.Sequential:
    return conv_norm_act(in_channels, out_channels, kernel, act=act, bias=True)
