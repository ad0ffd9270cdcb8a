"""PSANet: a dilated ResNet, whose pixels collect from all others and distribute to them, by weights of their own.

Zhao, Zhang, Liu, Shi, Loy, Lin, Jia: "PSANet: Point-wise Spatial Attention Network for Scene Parsing", ECCV 2018.
Layers follow its Figures 3 and 4 and section 3.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.cropping import Crop
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal

_STRIDE = 8
_WIDTH = 512
_SHRINK = 2  # attention has half the resolution of the features, section 4.1
_AUX_WEIGHT = 0.4  # section 4.1


class PointAttention(nn.Module):
    """One branch of Figure 3: means of all pixels, weighted by what a pixel says of each place relative to its own.

    A pixel scores the places of a square that is twice as large as the map, so that the map lies inside it wherever the
    pixel is; the scores of the map are cut out (Figure 4). Memory is that of all pairs of pixels of the map.

    Args:
        channels: Channels of the features.
        square: Side of the square, odd: maps of up to ``(square + 1) / 2`` cells a side have room in it.
        kind: Whether pixels weigh what they collect, or what they distribute.
    """

    global_context = True

    def __init__(self, channels: int, square: int, kind: Literal["collect", "distribute"]) -> None:
        super().__init__()
        self.square = square
        self.sources = 1 if kind == "collect" else 2  # axis of the pairs (seen, seeing) along which weights sum to 1
        self.reduce = conv_norm_act(channels, _WIDTH, 1)
        self.score = nn.Sequential(conv_norm_act(_WIDTH, _WIDTH, 1), nn.Conv2d(_WIDTH, square * square, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 512, (h + 1) / 2, (w + 1) / 2) for features (N, C, h, w)."""
        x = self.reduce(x)
        rows, columns = ((side - 1) // _SHRINK + 1 for side in x.shape[-2:])
        x = F.interpolate(x, size=(rows, columns), mode="bilinear", align_corners=True)
        index = self._places(rows, columns, x.device).expand(x.shape[0], -1, -1)
        pairs = self.score(x).flatten(2).gather(1, index)  # (N, seen, seeing)
        weights = pairs.softmax(dim=self.sources)
        if self.sources == 2:  # those who see are those who give
            weights = weights.transpose(1, 2)
        return torch.bmm(x.flatten(2), weights).view_as(x)

    def _places(self, rows: int, columns: int, device: torch.device) -> Tensor:
        """Return where in the square of each pixel each other one lies: (seen, seeing) int64."""
        down, right = (
            torch.arange(side, device=device)[:, None] - torch.arange(side, device=device) + self.square // 2
            for side in (rows, columns)
        )
        places = down[:, None, :, None] * self.square + right[None, :, None, :]  # (h, w, h, w)
        return places.flatten(2).flatten(0, 1)


class PSANet(nn.Module):
    """The network of Figure 5.

    Args:
        encoder: Backbone at output stride 8.
        num_classes: Classes of the output.
        crop: Side of the images that it is trained on, in pixels; larger ones are cut into windows of that size.

    Attributes:
        window: The crop.
    """

    def __init__(self, encoder: Encoder, num_classes: int, *, crop: int) -> None:
        super().__init__()
        deepest, deep = encoder.channels[-1], encoder.channels[-2]
        self.crop = Crop(crop)
        self.window = crop
        cells = -(-(crop - 1) // _STRIDE) // _SHRINK + 1  # along a side of the attention
        self.collect = PointAttention(deepest, 2 * cells - 1, "collect")
        self.distribute = PointAttention(deepest, 2 * cells - 1, "distribute")
        self.project = conv_norm_act(2 * _WIDTH, deepest, 1)
        self.head = _head(2 * deepest, 512, num_classes)
        self.aux_head = _head(deep, 256, num_classes)
        self.aligned = AlignedInput(_STRIDE)
        he_normal(self.collect, self.distribute, self.project, self.head, self.aux_head)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        windows = self.crop.cut(images)
        logits, _ = self._logits(windows, self.aligned(windows))
        return self.crop.join(logits, images)

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and those of the encoder's last stage but one: ``side`` (N, num_classes, H, W)."""
        windows = self.crop.cut(images)
        padded = self.aligned(windows)
        logits, features = self._logits(windows, padded)
        side = self.aligned.enlarge(self.aux_head(features), padded, windows)
        return self.crop.join(logits, images), {"side": self.crop.join(side, images)}

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return 0.4 times the cross-entropy of the side output; targets (N, H, W) int64, 255 ignored."""
        return auxiliary_cross_entropy(outputs, targets, weight=_AUX_WEIGHT)

    def _logits(self, windows: Tensor, padded: Tensor) -> tuple[Tensor, Tensor]:
        side, features = self.encoder(padded)[-2:]  # (N, 2048, H/8, W/8), side half as wide
        context = self.project(torch.cat([self.collect(features), self.distribute(features)], dim=1))
        context = F.interpolate(context, size=features.shape[-2:], mode="bilinear", align_corners=True)
        scores = self.head(torch.cat([features, context], dim=1))
        return self.aligned.enlarge(scores, padded, windows), side


def psanet(
    *,
    in_channels: int,
    num_classes: int,
    crop: int = 705,
    encoder: str = "resnet101s",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> PSANet:
    """Build PSANet: a dilated ResNet-101 whose pixels weigh all others by their relative place, both ways.

    Paper: Zhao et al., "PSANet: Point-wise Spatial Attention Network for Scene Parsing", ECCV
    Year: 2018
    Family: attention
    Encoder: resnet101s
    Parameters: 74,346,963
    Multiply-adds: 291.4 G
    Output stride: 8
    Rate: 3e-3
    Use: context that depends on relative places, pretrained encoder; large GPU

    Its parameters belong to a size of images: a pixel has a weight for every place of a square twice as large, which
    has 2 * k - 1 cells of 16 px a side, k = 45 at 705 px. Training sets the crop to the side of the tiles, and
    prediction takes windows of that size. Smaller images use the middle of the square; larger ones are cut into
    windows. The encoder has three 3x3 convolutions as stem (64, 64, 128 channels). A classifier on its last stage but
    one serves training alone (2,364,691 parameters), with weight 0.4 (section 4.1); dropout of channels is 0.1,
    interpolation aligns corners, as in the authors' code; images are mirrored at the right and bottom edge up to 8 k +
    1 px, as theirs are, and logits cut back; context is enlarged to the features where the authors' comes out smaller
    by a row or column, which their sizes avoid. Deviation: convolutions outside of the encoder start as He et al.
    (2015) propose, where the authors' PyTorch code leaves them as torch draws them.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        crop: Side of the images that it is trained on, in pixels, at least 32.
        encoder: Backbone of timm that can have output stride 8.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(
        encoder, in_channels=in_channels, output_stride=_STRIDE, pretrained=pretrained, weights=encoder_weights
    )
    return PSANet(backbone, num_classes, crop=crop)


def _head(in_channels: int, width: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(conv_norm_act(in_channels, width, 3), nn.Dropout2d(0.1), nn.Conv2d(width, num_classes, 1))
