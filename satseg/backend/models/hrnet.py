"""HRNet: branches of four resolutions in parallel, which exchange what they know again and again.

Wang et al.: "Deep High-Resolution Representation Learning for Visual Recognition", TPAMI, arXiv 1908.07919. Layers
follow its Figures 2 to 4 and section 3; the form for segmentation is HRNetV2.
"""

from __future__ import annotations

from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.high_resolution import COARSEST, HighResolutionEncoder, build_high_resolution_encoder
from satseg.backend.nn.initialise import he_normal


class HRNet(nn.Module):
    """The network of Figure 4 (b), with a classifier.

    Args:
        encoder: HRNet whose maps of all strides come as one.
        aligned: What extends the images.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: HighResolutionEncoder, aligned: AlignedInput, num_classes: int) -> None:
        super().__init__()
        (width,) = encoder.channels
        self.head = nn.Sequential(conv_norm_act(width, width, 1, bias=True), nn.Conv2d(width, num_classes, 1))
        self.aligned = aligned
        he_normal(self.head)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        (features,) = self.encoder(padded)  # (N, 720, H/4, W/4)
        return self.aligned.enlarge(self.head(features), padded, images)


def hrnet(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "hrnet_w48",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> HRNet:
    """Build HRNet: branches at strides 4, 8, 16 and 32 in parallel, with repeated fusions, put side by side (HRNetV2).

    Paper: Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", arXiv 1908.07919
    Year: 2019
    Family: pyramid
    Encoder: hrnet_w48
    Parameters: 65,859,379
    Multiply-adds: 97.4 G
    Output stride: 32
    Rate: 3e-3
    Use: fine outlines with wide context, pretrained encoder; large GPU

    The branches have 48, 96, 192 and 384 channels; stages of two, three and four branches have 1, 4 and 3 modules, each
    with four residual blocks a branch and a fusion of all of them (section 3.4). A 1x1 convolution mixes the 720
    channels at stride 4 before the classifier; there is no dropout. Interpolation aligns corners, in fusions, too, as
    in the authors' code; images are mirrored at the right and bottom edge up to 32 k + 1 px, where the maps of all
    strides meet, and logits cut back, which costs 4 % more multiply-adds at 512 px. Deviation: convolutions start as
    He et al. (2015) propose, where the authors, whose trunk is pretrained, draw them with standard deviation 0.001.
    With encoder ``hrnet_w18`` it has 9,641,119 parameters.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: HRNet of timm, of ``hrnet_w18_small`` to ``hrnet_w64``.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.

    Raises:
        ArchitectureError: The encoder is no HRNet, or its weights cannot be had.
    """
    aligned = AlignedInput(COARSEST)
    trunk = build_high_resolution_encoder(
        encoder, aligned=aligned, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights
    )
    return HRNet(trunk, aligned, num_classes)
