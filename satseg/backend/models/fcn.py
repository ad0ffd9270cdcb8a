"""FCN: VGG-16 turned into a fully convolutional network, with predictions fused from strides 32, 16 and 8.

Shelhamer, Long, Darrell: "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, arXiv 1411.4038.
Layers follow its Figure 3 and sections 4.1 to 4.3.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.initialise import looks_linear, normal
from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.vgg import load_vgg, vgg_stages


class FCN(nn.Module):
    """The network of Figure 3.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        stride: Stride of the finest prediction: 32, 16 or 8.
        dropout: Share of activations dropped behind both fully connected layers.
        encoder: A VGG without batch normalisation.
    """

    def __init__(self, in_channels: int, num_classes: int, *, stride: int, dropout: float, encoder: str) -> None:
        super().__init__()
        self.encoder = vgg_stages(encoder, in_channels=in_channels, norm=False)
        self.pool = nn.MaxPool2d(2)
        self.top = nn.Sequential(
            nn.Conv2d(512, 4096, 7),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(4096, 4096, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        looks_linear(self.top, paired=True)
        self.score = _score(4096, num_classes)
        skips = {32: (), 16: (512,), 8: (512, 256)}[stride]  # widths of the pooled features at strides 16, 8
        self.skip_scores = nn.ModuleList(_score(width, num_classes) for width in skips)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images, 32)
        x, pooled = padded, []
        for stage in self.encoder:
            x = self.pool(stage(x))
            pooled.append(x)
        # Padded apart: oneDNN takes twenty times as long for gradients where it pads maps smaller than the kernel.
        scores = self.score(self.top(F.pad(x, (3, 3, 3, 3))))  # (N, num_classes, H/32, W/32)
        for score, features in zip(self.skip_scores, pooled[3::-1], strict=False):
            scores = _enlarge(scores, features) + score(features)
        return _enlarge(scores, padded)[..., :height, :width]  # (N, num_classes, H, W)


def fcn32s(
    *,
    in_channels: int,
    num_classes: int,
    dropout: float = 0.5,
    encoder: str = "vgg16",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> FCN:
    """Build FCN-32s: VGG-16 made fully convolutional, one prediction at stride 32.

    Paper: Shelhamer et al., "Fully Convolutional Networks for Semantic Segmentation", CVPR, arXiv 1411.4038
    Year: 2015
    Family: fully convolutional
    Encoder: vgg16
    Parameters: 134,338,387
    Multiply-adds: 110.8 G
    Output stride: 32
    Rate: 1e-4
    Warm-up: 0.1
    Use: comparison with its paper; coarsest outlines of all

    Score layers start at zero and dropout of 0.5 follows the two converted layers (section 4.3). Upsampling is fixed
    bilinear interpolation, as in the authors' published networks. The paper starts from VGG-16 trained on ImageNet;
    without it the convolutions start as a linear map (Balduzzi et al., 2017): drawn independently, hundreds of steps
    pass before so deep a network without norms learns anything. Deviations: the 7x7 layer has same padding in
    place of 100 pixels of zeros around the image and crops (111 instead of 190 GMAC at 512 px), so that scores near the
    edge are others; and the outermost scores are repeated beyond it, which tells in the outer 16 px (24 of FCN-16s, 28
    of FCN-8s). Sizes that 32 does not divide are mirrored at the right and bottom edge and cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        dropout: Share of activations dropped behind both converted layers, 0 to below 1.
        encoder: ``vgg11``, ``vgg13``, ``vgg16`` or ``vgg19``.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    return _fcn(32, in_channels, num_classes, dropout, encoder, pretrained, encoder_weights)


def fcn16s(
    *,
    in_channels: int,
    num_classes: int,
    dropout: float = 0.5,
    encoder: str = "vgg16",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> FCN:
    """Build FCN-16s: FCN-32s with a second prediction from the features at stride 16.

    Paper: Shelhamer et al., "Fully Convolutional Networks for Semantic Segmentation", CVPR, arXiv 1411.4038
    Year: 2015
    Family: fully convolutional
    Encoder: vgg16
    Parameters: 134,348,134
    Multiply-adds: 110.8 G
    Output stride: 32
    Rate: 1e-4
    Warm-up: 0.1
    Use: comparison with its paper; between fcn32s and fcn8s

    Arguments, initialisation, dropout and deviations are those of ``fcn32s``.
    """
    return _fcn(16, in_channels, num_classes, dropout, encoder, pretrained, encoder_weights)


def fcn8s(
    *,
    in_channels: int,
    num_classes: int,
    dropout: float = 0.5,
    encoder: str = "vgg16",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> FCN:
    """Build FCN-8s: FCN-16s with a third prediction from the features at stride 8.

    Paper: Shelhamer et al., "Fully Convolutional Networks for Semantic Segmentation", CVPR, arXiv 1411.4038
    Year: 2015
    Family: fully convolutional
    Encoder: vgg16
    Parameters: 134,353,017
    Multiply-adds: 110.8 G
    Output stride: 32
    Rate: 1e-4
    Warm-up: 0.1
    Use: comparison with its paper; finest of the three FCNs

    Arguments, initialisation, dropout and deviations are those of ``fcn32s``.
    """
    return _fcn(8, in_channels, num_classes, dropout, encoder, pretrained, encoder_weights)


def _fcn(
    stride: int,
    in_channels: int,
    num_classes: int,
    dropout: float,
    encoder: str,
    pretrained: bool,
    weights: str | None,
) -> FCN:
    net = FCN(in_channels, num_classes, stride=stride, dropout=dropout, encoder=encoder)
    load_vgg(net.encoder, encoder, in_channels=in_channels, pretrained=pretrained, weights=weights, top=net.top)
    return net


def _score(in_channels: int, num_classes: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, num_classes, 1)
    normal(conv, std=0.0)
    return conv


def _enlarge(scores: Tensor, like: Tensor) -> Tensor:
    # What the authors' fixed bilinear deconvolution computes but at the edge: where that takes zeros from beyond the
    # map, which fade the scores, this repeats the outermost ones.
    return F.interpolate(scores, size=like.shape[-2:], mode="bilinear", align_corners=False)
