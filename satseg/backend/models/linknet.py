"""LinkNet: a light decoder whose every step adds the encoder's features of its resolution.

Chaurasia, Culurciello: "LinkNet: Exploiting Encoder Representations for Efficient Semantic Segmentation", VCIP 2017,
arXiv 1707.03718, Figures 1 and 3.
"""

from __future__ import annotations

from torch import Tensor, nn

from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.norm import BatchNorm2d
from satseg.backend.nn.padding import pad_to_multiple

_LAST_WIDTH = 32


class _Up(nn.Sequential):
    """Figure 3: reduce the channels to a quarter, double the resolution, and expand to those of the next level."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        inner = in_channels // 4
        super().__init__(
            conv_norm_act(in_channels, inner, 1),
            nn.ConvTranspose2d(inner, inner, 4, stride=2, padding=1),
            BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            conv_norm_act(inner, out_channels, 1),
        )


class LinkNet(nn.Module):
    """The network of Figure 1 on any encoder.

    Args:
        encoder: Backbone with features from stride 2 or 4 on, each level at twice the stride of the one before.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        coarsest, *finer = reversed(encoder.channels_from(2))
        doublings = encoder.strides[-1].bit_length() - 1
        steps = [*finer, *[finer[-1]] * (doublings - 1 - len(finer)), _LAST_WIDTH]  # no features beyond the finest
        self.links = len(finer)
        self.decoder = nn.ModuleList()
        for channels in steps:
            self.decoder.append(_Up(coarsest, channels))
            coarsest = channels
        self.head = nn.Conv2d(_LAST_WIDTH, num_classes, 1)
        he_normal(self.decoder, self.head)
        for layer in self.decoder.modules():
            if isinstance(layer, nn.ConvTranspose2d):
                # Each output sees a quarter of the 4x4 kernel, which torch's fan-in does not know.
                nn.init.normal_(layer.weight, std=(2 / (4 * layer.in_channels)) ** 0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        levels = self.encoder(pad_to_multiple(images, self.encoder.strides[-1]))
        x, *links = reversed(levels[-self.links - 1 :])
        for number, up in enumerate(self.decoder):
            x = up(x)
            if number < len(links):
                x = x + links[number]
        return self.head(x)[..., :height, :width]  # (N, num_classes, H, W)


def linknet(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "resnet18",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> LinkNet:
    """Build LinkNet: a light decoder that adds the features of its encoder, at every resolution.

    Paper: Chaurasia and Culurciello, "LinkNet: Exploiting Encoder Representations ...", VCIP, arXiv 1707.03718
    Year: 2017
    Family: encoder-decoder
    Encoder: resnet18
    Parameters: 11,664,371
    Multiply-adds: 10.6 G
    Output stride: 32
    Rate: 3e-3
    Use: the lightest decoder for any encoder, at every resolution

    Decoder blocks are those of Figure 3, with transposed convolutions of 4x4 in place of 3x3, so that every pixel of
    the output sees as many weights. Deviations: the paper links features from stride 4 on, here those at stride 2 are
    linked as well; and one more block of that kind, 32 wide, and a 1x1 convolution give the scores, where the paper
    ends in a transposed 3x3, a plain 3x3 and a transposed 2x2 convolution. Sizes that the coarsest stride does not
    divide are mirrored at the right and lower edge and cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: Backbone of timm with features at strides 2 to 32 or 4 to 32 (``resnet50``: 31,178,371 parameters,
            ``convnext_tiny``: 28,913,299).
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    return LinkNet(backbone, num_classes)
