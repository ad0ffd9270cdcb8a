"""ResNeSt for segmentation: DeepLab v3 on a ResNet whose blocks weigh two groups of channels against each other.

Zhang, Wu, Zhang, Zhu, Lin, Zhang, Sun, He, Mueller, Manmatha, Li, Smola: "ResNeSt: Split-Attention Networks",
arXiv 2004.08955. The encoder is that of its section 3, dilation and head are those of the authors' code.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder, by_name
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.pyramid import ASPP
from satseg.errors import ArchitectureError

_WIDTH = 256
_RATES = (12, 24, 36)
_AUX_WEIGHT = 0.2  # of the authors' script


class ResNeSt(nn.Module):
    """DeepLab v3 with a 3x3 convolution before the classifier.

    Args:
        encoder: ResNeSt at output stride 8.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        self.pyramid = ASPP(encoder.channels[-1], _WIDTH, rates=_RATES, dropout=0.0)
        self.head = nn.Sequential(nn.Dropout2d(0.5), _classifier(_WIDTH, _WIDTH, num_classes))
        self.aux_head = _classifier(encoder.channels[-2], _WIDTH, num_classes)
        self.aligned = AlignedInput(encoder.strides[-1])
        he_normal(self.pyramid, self.head, self.aux_head)
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
        """Return 0.2 times the cross-entropy of the side output; targets (N, H, W) int64, 255 ignored."""
        return auxiliary_cross_entropy(outputs, targets, weight=_AUX_WEIGHT)

    def _logits(self, images: Tensor, padded: Tensor) -> tuple[Tensor, Tensor]:
        side, features = self.encoder(padded)[-2:]  # (N, 1024 and 2048, H/8, W/8)
        return self.aligned.enlarge(self.head(self.pyramid(features)), padded, images), side


def resnest(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "resnest200e",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> ResNeSt:
    """Build ResNeSt: DeepLab v3 on ResNeSt-200, whose blocks weigh two groups of channels against each other.

    Paper: Zhang et al., "ResNeSt: Split-Attention Networks", arXiv 2004.08955
    Year: 2020
    Family: dilated
    Encoder: resnest200e
    Parameters: 84,282,867
    Multiply-adds: 342.4 G
    Output stride: 8
    Rate: 3e-3
    Use: wide context with a strong pretrained encoder; large GPU

    Blocks halve resolution by means of 3x3 pixels; dilations of the last two stages are 2 and 4, that of their first
    blocks half of it. The pyramid's dilations are 12, 24 and 36, its output has dropout of channels of 0.5, and a 3x3
    convolution with dropout 0.1 precedes the classifier. A classifier on the encoder's last stage but one serves
    training alone, with weight 0.2. Interpolation aligns corners; images are mirrored at the right and bottom edge up
    to 8 k + 1 px, and logits cut back. Deviation: convolutions outside of the encoder start as He et al. (2015)
    propose, where the authors leave them as torch draws them. Every block weighs its channels by means over the whole
    window. With encoder ``resnest101e`` it has 62,356,339 parameters, with ``resnest50d`` 41,564,563.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: ResNeSt of timm.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.

    Raises:
        ArchitectureError: The encoder is no ResNeSt, or its weights cannot be had.
    """
    if not by_name(encoder, None)[0].startswith("resnest"):
        raise ArchitectureError(
            f"{encoder} is no ResNeSt.",
            hint="The option `encoders` of `satseg models`, given resnest, lists those there are.",
        )
    backbone = build_encoder(
        encoder, in_channels=in_channels, output_stride=8, gradual=True, pretrained=pretrained, weights=encoder_weights
    )
    _dilate_as_published(backbone.net)
    return ResNeSt(backbone, num_classes)


def _dilate_as_published(net: Any) -> None:
    """Let the first block of each dilated stage of a ResNeSt pool as the authors' one does.

    Its branch keeps the 3x3 mean by which others halve the size; timm leaves it out. Its shortcut has no pooling, where
    timm has a 2x2 mean, which shifts features by half a cell.
    """
    place = "avd_last" if net["layer2"][0].avd_first is None else "avd_first"
    for stage in ("layer3", "layer4"):
        block = net[stage][0]
        setattr(block, place, nn.AvgPool2d(3, stride=1, padding=1))
        block.downsample[0] = nn.Identity()


def _classifier(in_channels: int, width: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(conv_norm_act(in_channels, width, 3), nn.Dropout(0.1), nn.Conv2d(width, num_classes, 1))
