"""CPN: a dilated ResNet, which learns for each pixel which others are of its class, and takes their mean.

Yu, Wang, Gao, Yu, Shen, Sang: "Context Prior for Scene Segmentation", CVPR 2020, arXiv 2004.01547. Layers and losses
follow its Figures 2 to 4 and section 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.affinity import affinity_loss
from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.cropping import Crop
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.norm import BatchNorm2d
from satseg.classes import IGNORE_INDEX

_STRIDE = 8
_WIDTH = 512
_STRIP = 11  # cells of the long side of a kernel, section 3.2
_AUX_WEIGHT = 0.4  # section 3.4; the affinity has weight 1


class Aggregation(nn.Module):
    """Sums over crosses around each pixel by separated kernels, in both orders (Figure 4).

    Args:
        in_channels: Channels of the features.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.reduce = conv_norm_act(in_channels, _WIDTH, 3)
        self.down_right = nn.Sequential(_strip((_STRIP, 1)), _strip((1, _STRIP)))
        self.right_down = nn.Sequential(_strip((1, _STRIP)), _strip((_STRIP, 1)))
        self.norm = nn.Sequential(BatchNorm2d(_WIDTH), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 512, H, W) for features (N, C, H, W)."""
        x = self.reduce(x)
        return self.norm(self.down_right(x) + self.right_down(x))


class ContextPrior(nn.Module):
    """Means of the pixels that are likely of the same class, and of the others (Figure 2).

    Memory is that of all pairs of pixels.

    Args:
        cells: Rows and columns of the features, which its parameters belong to.
    """

    global_context = True

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.prior = conv_norm_act(_WIDTH, cells * cells, 1, act=False)
        self.intra = conv_norm_act(_WIDTH, _WIDTH, 1)
        self.inter = conv_norm_act(_WIDTH, _WIDTH, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both means (N, 1024, H, W) for features (N, 512, H, W), and logits of the prior.

        These are (N, 1, pixels, pixels): in each row, which pixels have the class of one pixel.
        """
        logits = self.prior(x).flatten(2).transpose(1, 2)  # (N, seeing, seen)
        pixels = x.flatten(2).transpose(1, 2)  # (N, pixels, 512)
        within = torch.bmm(logits.sigmoid(), pixels) / pixels.shape[1]
        beyond = pixels.mean(dim=1, keepdim=True) - within  # of 1 - prior, which need not be held
        within, beyond = (part.transpose(1, 2).reshape_as(x) for part in (within, beyond))
        return torch.cat([self.intra(within), self.inter(beyond)], dim=1), logits.unsqueeze(1)


class CPN(nn.Module):
    """The network of Figure 2.

    Args:
        encoder: Backbone at output stride 8.
        num_classes: Classes of the output.
        crop: Side of the images that it is trained on, in pixels: smaller ones are mirrored at the right and lower edge
            up to it, larger ones are cut into windows of that size.

    Attributes:
        window: The crop.
    """

    def __init__(self, encoder: Encoder, num_classes: int, *, crop: int) -> None:
        super().__init__()
        deepest, deep = encoder.channels[-1], encoder.channels[-2]
        self.crop = Crop(crop)
        self.window = crop
        cells = -(-crop // _STRIDE)
        self.aggregate = Aggregation(deepest)
        self.context = ContextPrior(cells)
        self.head = _head(deepest + 2 * _WIDTH, _WIDTH, num_classes)
        self.aux_head = _head(deep, 256, num_classes)
        self.aligned = AlignedInput(cells * _STRIDE, corners=False)
        he_normal(self.aggregate, self.context, self.head, self.aux_head)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        windows = self.crop.cut(images)
        logits, _, _ = self._logits(windows, self.aligned(windows))
        return self.crop.join(logits, images)

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and what has losses of its own.

        Returns:
            Logits (N, num_classes, H, W), and by name: ``side``, logits of the encoder's last stage but one, of the
            same shape; ``prior`` (N, 1, cells, cells), of each window for itself where images are cut into such.
        """
        windows = self.crop.cut(images)
        padded = self.aligned(windows)
        logits, features, prior = self._logits(windows, padded)
        side = self.aligned.enlarge(self.aux_head(features), padded, windows)
        return self.crop.join(logits, images), {"side": self.crop.join(side, images), "prior": prior}

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return 0.4 times the cross-entropy of the side output and the affinity loss of the prior.

        Args:
            outputs: As :meth:`forward_with_aux` returns them.
            targets: (N, H, W) int64, 255 ignored.
        """
        windows = self.crop.cut(targets)
        room = [part for side in windows.shape[:0:-1] for part in (0, self.aligned.stride - side)]
        whole = F.pad(windows, room, value=IGNORE_INDEX)
        side = auxiliary_cross_entropy({"side": outputs["side"]}, targets, weight=_AUX_WEIGHT)
        return side + affinity_loss(outputs["prior"][:, 0], whole[:, ::_STRIDE, ::_STRIDE].flatten(1))

    def _logits(self, windows: Tensor, padded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        side, features = self.encoder(padded)[-2:]  # (N, 2048, H/8, W/8), side half as wide
        context, prior = self.context(self.aggregate(features))
        scores = self.head(torch.cat([features, context], dim=1))
        return self.aligned.enlarge(scores, padded, windows), side, prior


def cpn(
    *,
    in_channels: int,
    num_classes: int,
    crop: int = 512,
    encoder: str = "resnet101c",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> CPN:
    """Build CPN: a dilated ResNet-101 whose pixels take the mean of those that a learnt prior says are alike.

    Paper: Yu et al., "Context Prior for Scene Segmentation", CVPR, arXiv 2004.01547
    Year: 2020
    Family: attention
    Encoder: resnet101c
    Parameters: 68,781,427
    Multiply-adds: 294.6 G
    Output stride: 8
    Rate: 3e-3
    Use: context of the own class, taught by the labels, pretrained encoder; large GPU

    Its parameters belong to a size of images: the prior has one channel for each cell of 8 x 8 px of the crop. Training
    sets the crop to the side of the tiles, and prediction takes windows of that size; smaller images are mirrored up to
    it, and larger ones cut into windows. The encoder has three 3x3 convolutions as stem (32, 32, 64 channels). The
    affinity of the labels, those at the first pixel of each cell, teaches the prior with weight 1, and a classifier on
    the encoder's last stage but one serves training alone (2,364,691 parameters), with weight 0.4 (section 3.4);
    dropout of channels is 0.1. Deviations: the authors' code makes ignored pixels a class of their own in the affinity,
    here they do not count; a pixel without others of its class has no recall and no precision here, where theirs are
    held at the least logarithm; scores are interpolated between the centres of cells, since aligned corners would slide
    them by up to 7 px over a window of 512 px; convolutions outside of the encoder start as He et al. (2015) propose.
    The authors' code has no licence: outputs are not compared.

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
    return CPN(backbone, num_classes, crop=crop)


def _strip(kernel: tuple[int, int]) -> nn.Conv2d:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Conv2d(_WIDTH, _WIDTH, kernel, padding=padding, groups=_WIDTH)


def _head(in_channels: int, width: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(conv_norm_act(in_channels, width, 3), nn.Dropout2d(0.1), nn.Conv2d(width, num_classes, 1))
