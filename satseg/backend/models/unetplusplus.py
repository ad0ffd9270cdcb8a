"""UNet++: between encoder and decoder of U-Net, every level is convolved again with all that came before on it.

Zhou, Siddiquee, Tajbakhsh, Liang: "UNet++: A Nested U-Net Architecture for Medical Image Segmentation", DLMIA 2018,
arXiv 1807.10165, Figure 1 and section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.padding import pad_to_multiple

_WIDTHS = (256, 128, 64, 32, 16)  # of the outermost nodes, down to stride 1


def _two_convs(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(conv_norm_act(in_channels, out_channels), conv_norm_act(out_channels, out_channels))


class UNetPlusPlus(nn.Module):
    """The nested network of Figure 1 on any encoder.

    ``nodes[i]`` holds those of level i, finest first: X(i, 1), X(i, 2) and so on. X(i, j) sees the features of the
    encoder at its level, X(i, 0), the nodes before it, and the enlarged X(i + 1, j - 1).

    Args:
        encoder: Backbone with features from stride 2 or 4 on, each level at twice the stride of the one before.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        channels = encoder.channels_from(2)
        levels = len(channels)
        doublings = encoder.strides[-1].bit_length() - 1
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.nodes = nn.ModuleList()
        below = [channels[-1]]  # channels of the nodes one level below, X(i + 1, 0) first
        for level in reversed(range(levels - 1)):
            own = [channels[level]]
            nodes = nn.ModuleList()
            for inputs in below:
                outermost = len(nodes) == len(below) - 1
                width = _WIDTHS[levels - 2 - level] if outermost else channels[level]
                nodes.append(_two_convs(inputs + sum(own), width))
                own.append(width)
            self.nodes.insert(0, nodes)
            below = own
        widths = _WIDTHS[levels - 1 : doublings]
        above = (below[-1], *widths[:-1])
        self.last = nn.ModuleList(_two_convs(a, b) for a, b in zip(above, widths, strict=True))
        self.head = nn.Conv2d(widths[-1], num_classes, 3, padding=1)
        he_normal(self.nodes, self.last, self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        levels = self.encoder(pad_to_multiple(images, self.encoder.strides[-1]))
        *levels, coarsest = levels[-len(self.nodes) - 1 :]
        below = [coarsest]
        for features, nodes in zip(reversed(levels), reversed(self.nodes), strict=True):
            own = [features]
            for node, x in zip(nodes, below, strict=True):  # type: ignore[call-overload]
                own.append(node(torch.cat([self.enlarge(x), *reversed(own)], dim=1)))
            below = own
        x = below[-1]  # X(0, levels - 1), at the resolution of the encoder's finest level
        for convs in self.last:
            x = convs(self.enlarge(x))
        return self.head(x)[..., :height, :width]  # (N, num_classes, H, W)


def unetplusplus(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "resnet34",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> UNetPlusPlus:
    """Build UNet++: skips of U-Net grown to chains of convolutions, which see everything before them.

    Paper: Zhou et al., "UNet++: A Nested U-Net Architecture for Medical Image Segmentation", arXiv 1807.10165
    Year: 2018
    Family: encoder-decoder
    Encoder: resnet34
    Parameters: 26,081,219
    Multiply-adds: 74.2 G
    Output stride: 32
    Rate: 3e-3
    Use: fine outlines at any cost: U-Net with denser skips

    Deviations: the encoder is a backbone, with one more level, and nodes between encoder and decoder are as wide as
    their level of it; the outermost ones are 256, 128, 64, 32 and 16 wide, on the way to the full resolution. The deep
    supervision of section 3.2 is left out: the scores are those of the outermost node, without the mean of those
    before it. Enlargement copies pixels, where the paper's figure says only that it enlarges. Sizes that the
    coarsest stride does not divide are mirrored at the right and lower edge and cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: Backbone of timm with features at strides 2 to 32 or 4 to 32 (``resnet50``: 48,988,355 parameters,
            ``convnext_tiny``: 34,338,275).
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    return UNetPlusPlus(backbone, num_classes)
