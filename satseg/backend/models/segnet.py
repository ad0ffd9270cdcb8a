"""SegNet: VGG-16 and its mirror image, which unpools by the places of the encoder's maxima.

Badrinarayanan, Kendall, Cipolla: "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
Segmentation", arXiv 1511.00561, 2015. Layers follow its Figure 2 and section 3.
"""

from __future__ import annotations

from torch import Tensor, nn

from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.unpool import unpool
from satseg.backend.nn.vgg import VGG_WIDTHS, conv_stage, load_vgg, vgg_depths, vgg_stages


class SegNet(nn.Module):
    """The network of Figure 2.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: A VGG with batch normalisation; the decoder mirrors it.
    """

    def __init__(self, in_channels: int, num_classes: int, *, encoder: str) -> None:
        super().__init__()
        depths = vgg_depths(encoder, norm=True)
        self.encoder = vgg_stages(encoder, in_channels=in_channels, norm=True)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.decoder = nn.ModuleList()
        for i in reversed(range(5)):
            # The last convolution of a stage gives the width that the next finer unpooling needs.
            out = VGG_WIDTHS[max(i - 1, 0)]
            repeats = depths[i] - (i == 0)
            self.decoder.append(conv_stage([VGG_WIDTHS[i]] * repeats + [out], norm=True))
        self.head = nn.Conv2d(VGG_WIDTHS[0], num_classes, 3, padding=1)
        he_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        x, places = pad_to_multiple(images, 32), []
        for stage in self.encoder:
            x, indices = self.pool(stage(x))
            places.append(indices)
        for stage in self.decoder:  # x: (N, 512, H/32, W/32) at first
            x = stage(unpool(x, places.pop()))
        return self.head(x)[..., :height, :width]  # (N, num_classes, H, W)


def segnet(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "vgg16_bn",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> SegNet:
    """Build SegNet: VGG-16 with a mirrored decoder that unpools by the encoder's indices.

    Paper: Badrinarayanan et al., "SegNet: A Deep Convolutional Encoder-Decoder Architecture ...", arXiv 1511.00561
    Year: 2015
    Family: encoder-decoder
    Encoder: vgg16_bn
    Parameters: 29,453,971
    Multiply-adds: 162.8 G
    Output stride: 32
    Rate: 3e-3
    Use: comparison with its paper; outlines by unpooling

    Every convolution is followed by batch normalisation and ReLU but the classifier, a bare 3x3 convolution, and
    initialised as He et al. (2015) propose (section 3.2). Sizes that 32 does not divide are mirrored at the right and
    bottom edge and cut back.

    Where two pixels are nearly equal, rounding decides which one unpooling restores: float32 differs from float64 by up
    to 0.07 of a probability with random weights, and so do other programs, to which it is not exported therefore.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: ``vgg11_bn``, ``vgg13_bn``, ``vgg16_bn`` or ``vgg19_bn``.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    net = SegNet(in_channels, num_classes, encoder=encoder)
    load_vgg(net.encoder, encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    return net
