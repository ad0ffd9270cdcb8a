"""DeepLab v3+: DeepLab v3 on an aligned Xception, with separable convolutions and a small decoder.

Chen, Zhu, Papandreou, Schroff, Adam: "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation", ECCV 2018, arXiv 1802.02611. Layers follow its Figures 2 and 4 and section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.conv import conv_norm_act, separable_conv
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.pyramid import ASPP
from satseg.backend.nn.resize import resize_like

_WIDTH = 256
_DETAIL_WIDTH = 48  # Table 1


class DeepLabV3Plus(nn.Module):
    """The network of Figure 2.

    Args:
        encoder: Backbone at output stride 16 or 8, with features at stride 4.
        num_classes: Classes of the output.
        rates: Dilations of the pyramid.
    """

    def __init__(self, encoder: Encoder, num_classes: int, *, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.pyramid = ASPP(encoder.channels[-1], _WIDTH, rates=rates, separable=True)
        self.detail = conv_norm_act(encoder.channels[-4], _DETAIL_WIDTH, 1)
        self.decoder = nn.Sequential(separable_conv(_WIDTH + _DETAIL_WIDTH, _WIDTH), separable_conv(_WIDTH, _WIDTH))
        self.head = nn.Conv2d(_WIDTH, num_classes, 1)
        self.aligned = AlignedInput(encoder.strides[-1])
        he_normal(self.pyramid, self.detail, self.decoder, self.head)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        features = self.encoder(padded)
        detail = self.detail(features[-4])  # (N, 48, H/4, W/4)
        context = resize_like(self.pyramid(features[-1]), detail, align_corners=True)  # (N, 256, H/4, W/4)
        scores = self.head(self.decoder(torch.cat([context, detail], dim=1)))
        return self.aligned.enlarge(scores, padded, images)


def deeplabv3plus(
    *,
    in_channels: int,
    num_classes: int,
    output_stride: int = 16,
    encoder: str = "xception65",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> DeepLabV3Plus:
    """Build DeepLab v3+: an atrous pyramid of separable convolutions on Xception-65, and a decoder at stride 4.

    Paper: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic ...", arXiv 1802.02611
    Year: 2018
    Family: dilated
    Encoder: xception65
    Parameters: 41,054,899
    Multiply-adds: 54.0 G
    Output stride: 16
    Rate: 3e-3
    Use: wide context with a pretrained encoder, on a GPU

    The pyramid's dilations are 6, 12 and 18 at output stride 16 and twice that at 8, its output has dropout 0.1; the
    decoder reduces the encoder's features at stride 4 to 48 channels and has two separable convolutions (section 4.1).
    Normalisation and ReLU stand between depthwise and pointwise convolutions, and interpolation aligns corners, as in
    the authors' code; images are mirrored at the right and bottom edge up to a multiple of the stride and one pixel
    (the paper trains on 513), and logits cut back. Deviations: features at stride 4 are taken behind their ReLU, where
    the authors take them before it; ResNets have no multi-grid, which theirs have; outside of the encoder convolutions
    start as He et al. (2015) propose, where the authors draw depthwise ones with standard deviation 0.33 and pointwise
    ones with 0.06; running statistics follow with momentum 0.1, where the authors have 3e-4, which takes tens of
    thousands of steps.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        output_stride: 16 or 8; 8 is finer and costs several times the arithmetic.
        encoder: Backbone of timm that can have this output stride, with features at stride 4.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(
        encoder, in_channels=in_channels, output_stride=output_stride, pretrained=pretrained, weights=encoder_weights
    )
    rates = tuple(rate * 16 // output_stride for rate in (6, 12, 18))
    return DeepLabV3Plus(backbone, num_classes, rates=rates)
