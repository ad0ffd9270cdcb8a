"""DeepLab v3: a dilated ResNet with multi-grid under an atrous pyramid with image-level features.

Chen, Papandreou, Schroff, Adam: "Rethinking Atrous Convolution for Semantic Image Segmentation", arXiv 1706.05587,
2017. Layers follow its Figure 5 and section 3.3.
"""

from __future__ import annotations

from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.pyramid import ASPP

_WIDTH = 256
_MULTI_GRID = (1, 2, 4)  # Table 3


class DeepLabV3(nn.Module):
    """The network of Figure 5.

    Args:
        encoder: Backbone at output stride 16 or 8.
        num_classes: Classes of the output.
        rates: Dilations of the pyramid.
    """

    def __init__(self, encoder: Encoder, num_classes: int, *, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.pyramid = ASPP(encoder.channels[-1], _WIDTH, rates=rates)
        self.head = nn.Conv2d(_WIDTH, num_classes, 1)
        self.aligned = AlignedInput(encoder.strides[-1])
        he_normal(self.pyramid, self.head)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        features = self.encoder(padded)[-1]  # (N, 2048, H/16, W/16)
        return self.aligned.enlarge(self.head(self.pyramid(features)), padded, images)


def deeplabv3(
    *,
    in_channels: int,
    num_classes: int,
    output_stride: int = 16,
    encoder: str = "resnet101",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> DeepLabV3:
    """Build DeepLab v3: a dilated ResNet-101 with multi-grid under an atrous pyramid with image-level features.

    Paper: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", arXiv 1706.05587
    Year: 2017
    Family: dilated
    Encoder: resnet101
    Parameters: 58,040,147
    Multiply-adds: 71.1 G
    Output stride: 16
    Rate: 3e-3
    Use: wide context, pretrained encoder; coarser outlines than deeplabv3plus

    Multi-grid is (1, 2, 4), the pyramid's dilations are 6, 12 and 18 at output stride 16 and twice that at 8 (section
    4), its output has dropout 0.1, and scores are interpolated with aligned corners, as in the authors' code; images
    are mirrored at the right and bottom edge up to a multiple of the stride and one pixel (the paper trains on 513),
    and logits cut back. Deviations: convolutions of pyramid and classifier start as He et al. (2015) propose, where the
    authors take the defaults of their library; running statistics follow with momentum 0.1, where the paper has 3e-4,
    which takes tens of thousands of steps; downsampling blocks of the ResNet are those of timm.

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
    rates = tuple(rate * 16 // output_stride for rate in (6, 12, 18))
    return DeepLabV3(backbone, num_classes, rates=rates)
