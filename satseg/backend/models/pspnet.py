"""PSPNet: a dilated ResNet, and under the classifier the means of its features over grids of several sizes.

Zhao, Shi, Qi, Wang, Jia: "Pyramid Scene Parsing Network", CVPR 2017, arXiv 1612.01105. Layers follow its Figures 3
and 4 and section 3.
"""

from __future__ import annotations

from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.pyramid import PyramidPooling

_AUX_WEIGHT = 0.4  # section 3.3


class PSPNet(nn.Module):
    """The network of Figure 3, with the side classifier of Figure 4.

    Args:
        encoder: Backbone at output stride 8.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        deepest, deep = encoder.channels[-1], encoder.channels[-2]
        self.pyramid = PyramidPooling(deepest, deepest // 4)
        self.head = _head(self.pyramid.out_channels, 512, num_classes)
        self.aux_head = _head(deep, 256, num_classes)
        self.aligned = AlignedInput(8)
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
        """Return 0.4 times the cross-entropy of the side output; targets (N, H, W) int64, 255 ignored."""
        return auxiliary_cross_entropy(outputs, targets, weight=_AUX_WEIGHT)

    def _logits(self, images: Tensor, padded: Tensor) -> tuple[Tensor, Tensor]:
        side, features = self.encoder(padded)[-2:]  # (N, 2048, H/8, W/8), side half as wide
        return self.aligned.enlarge(self.head(self.pyramid(features)), padded, images), side


def pspnet(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "resnet101s",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> PSPNet:
    """Build PSPNet: a dilated ResNet-101 with pyramid pooling of its features over 1, 2, 3 and 6 cells a side.

    Paper: Zhao et al., "Pyramid Scene Parsing Network", CVPR, arXiv 1612.01105
    Year: 2017
    Family: pyramid
    Encoder: resnet101s
    Parameters: 65,707,475
    Multiply-adds: 269.7 G
    Output stride: 8
    Rate: 3e-3
    Use: context of whole windows with a pretrained encoder; large GPU

    The encoder has three 3x3 convolutions as stem (64, 64, 128 channels). A classifier on its last stage but one serves
    training alone, with weight 0.4 (section 3.3); dropout of channels is 0.1, interpolation aligns corners, as in the
    authors' code; images are mirrored at the right and bottom edge up to 8 k + 1 px, as theirs are (473, 713), and
    logits cut back. Deviation: convolutions outside of the encoder start as He et al. (2015) propose, where the
    authors' PyTorch code leaves them as torch draws them. With encoder ``resnet50s`` it has 46,715,347 parameters.

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
    return PSPNet(backbone, num_classes)


def _head(in_channels: int, width: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(conv_norm_act(in_channels, width, 3), nn.Dropout2d(0.1), nn.Conv2d(width, num_classes, 1))
