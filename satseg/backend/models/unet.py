"""U-Net: a contracting path, a mirrored expanding one, and the features of the first handed to the second.

Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015,
arXiv 1505.04597, Figure 1.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.padding import pad_to_multiple
from satseg.errors import ArchitectureError

_WIDTHS = (64, 128, 256, 512, 1024)
_DECODER_WIDTHS = (256, 128, 64, 32, 16)  # on a backbone, down to stride 1
_LIGHT_WIDTHS = (128, 64, 32, 32)  # down to stride 2


class _DoubleConv(nn.Sequential):
    """Two 3x3 convolutions, each with batch normalisation and ReLU; they keep the size."""

    def __init__(self, in_channels: int, out_channels: int, mid_channels: int | None = None) -> None:
        mid_channels = mid_channels or out_channels
        super().__init__(
            nn.Conv2d(in_channels, mid_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(mid_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(mid_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class _Doubling(nn.Upsample):
    """Interpolate between the centres of cells, as the poolings of the contracting path have them."""

    def as_in_format_1(self) -> None:
        """Align corners, as networks of checkpoints of format 1 do."""
        self.align_corners = True


class _Up(nn.Module):
    """Double the resolution, put the encoder's features beside, and convolve both.

    Args:
        in_channels: Channels from below.
        skip_channels: Channels of the encoder's features at this resolution.
        out_channels: Channels of the output.
        bilinear: Interpolate instead of a transposed convolution, which would halve the channels.
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, *, bilinear: bool) -> None:
        super().__init__()
        self.up: nn.Module
        if bilinear:
            self.up = _Doubling(scale_factor=2, mode="bilinear")
            joined = in_channels + skip_channels
            self.convs = _DoubleConv(joined, out_channels, mid_channels=joined // 2)
        else:
            self.up = nn.ConvTranspose2d(in_channels, in_channels // 2, 2, stride=2)
            self.convs = _DoubleConv(in_channels // 2 + skip_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.convs(torch.cat([skip, self.up(x)], dim=1))  # (N, out, 2H, 2W)


class UNet(nn.Module):
    """The network of Figure 1, with padded convolutions.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        bilinear: Upsample by interpolation.
        dropout: Share of activations dropped at the end of the contracting path.
    """

    def __init__(self, in_channels: int, num_classes: int, *, bilinear: bool, dropout: float) -> None:
        super().__init__()
        # Interpolation does not halve the channels, so every level hands on half of its width itself.
        widths = (*_WIDTHS[:-1], _WIDTHS[-1] // 2) if bilinear else _WIDTHS
        self.stem = _DoubleConv(in_channels, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), _DoubleConv(above, below)) for above, below in pairwise(widths)
        )
        self.dropout = nn.Dropout(dropout)
        self.up = nn.ModuleList()
        below = widths[-1]
        for i, skip in reversed(list(enumerate(widths[:-1]))):
            out = skip // 2 if bilinear and i > 0 else skip
            self.up.append(_Up(below, skip, out, bilinear=bilinear))
            below = out
        self.head = nn.Conv2d(widths[0], num_classes, 1)
        he_normal(self)
        for up in self.up.modules():
            if isinstance(up, nn.ConvTranspose2d):
                # Kernel equals stride: each output sees every input channel once, which torch's fan-in does not know.
                nn.init.normal_(up.weight, std=(2 / up.in_channels) ** 0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        skips = [self.stem(pad_to_multiple(images, 16))]
        for down in self.down:
            skips.append(down(skips[-1]))
            if len(skips) >= len(_WIDTHS) - 1:  # the last two levels
                skips[-1] = self.dropout(skips[-1])
        x = skips.pop()  # (N, 1024, H/16, W/16)
        for up in self.up:
            x = up(x, skips.pop())
        return self.head(x)[..., :height, :width]  # (N, num_classes, H, W)


class EncoderUNet(nn.Module):
    """U-Net on a backbone: nearest-neighbour upsampling, skips wherever the backbone has features.

    Args:
        encoder: Contracting path.
        num_classes: Classes of the output.
        dropout: Share of activations dropped at the end of the contracting path.
        light: End at half the size of the input with about half the width, and interpolate the scores.
    """

    def __init__(self, encoder: Encoder, num_classes: int, *, dropout: float, light: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        below, *skips = reversed(encoder.channels)
        steps = encoder.strides[-1].bit_length() - 1 - light  # doublings up to the size of the scores
        widths = (_LIGHT_WIDTHS if light else _DECODER_WIDTHS)[-steps:]
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.decoder = nn.ModuleList()
        for skip, out in zip([*skips, *[0] * (steps - len(skips))], widths, strict=True):
            self.decoder.append(_DoubleConv(below + skip, out))
            below = out
        self.head = nn.Conv2d(below, num_classes, 3, padding=1)
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear") if light else nn.Identity()
        he_normal(self.decoder, self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        x, *skips = reversed(self.encoder(pad_to_multiple(images, self.encoder.strides[-1])))
        x = self.dropout(x)  # (N, encoder.channels[-1], H/32, W/32), or H/16, W/16 with four levels
        for i, convs in enumerate(self.decoder):
            x = self.up(x)
            x = convs(torch.cat([x, skips[i]], dim=1) if i < len(skips) else x)
        return self.enlarge(self.head(x))[..., :height, :width]  # (N, num_classes, H, W)


def unet(
    *,
    in_channels: int,
    num_classes: int,
    bilinear: bool = False,
    dropout: float | None = None,
    encoder: str | None = None,
    pretrained: bool = False,
    encoder_weights: str | None = None,
    levels: int | None = None,
    light: bool = False,
) -> UNet | EncoderUNet:
    """Build U-Net: encoder and decoder of plain convolutions with skips at every resolution.

    Paper: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", arXiv 1505.04597
    Year: 2015
    Family: encoder-decoder
    Encoder: own
    Parameters: 31,038,803
    Multiply-adds: 193.0 G
    Output stride: 16
    Rate: 3e-3
    Use: fine outlines on a GPU: best boundaries of those five

    Convolutions start from a normal distribution of variance 2 / fan-in (section 3), and the two lowest levels of
    the contracting path end in dropout (section 3.1 names it, the authors' published network has 0.5). Deviations,
    as is usual today: convolutions are padded and followed by batch normalisation in place of their bias, and
    the classes have one output each. Sizes that 16 does not divide are mirrored at the right and bottom edge and
    cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        bilinear: Upsample by interpolation instead of transposed convolutions (17,264,147 parameters). Between
            centres of cells: aligned corners, as a well-known implementation has them, would shift what comes from
            stride 16 by up to 15 px against the skips.
        dropout: Share of activations dropped at the end of the contracting path, 0 to below 1. By default 0.5,
            and 0 with an encoder.
        encoder: Backbone of timm as contracting path, with features at strides 2 to 32 or 4 to 32; the decoder is
            then 256, 128, 64, 32 and 16 wide, with nearest-neighbour upsampling (``resnet18``: 14,330,819 parameters,
            ``resnet50``: 32,523,715).
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
        levels: Levels of the encoder to use, finest first, at least 3; its coarser stages, which have most of its
            parameters, and their part of the decoder are left out (``tf_efficientnet_lite0``: 5,200,771 parameters
            with all five levels, 1,190,627 with four). By default all.
        light: With an encoder, a decoder 128, 64, 32 and 32 wide that ends at half the size of the images, whose scores
            are interpolated (``tf_efficientnet_lite0``: 3,801,715 parameters): a training step on a CPU takes little
            more than half the time.

    Raises:
        ArchitectureError: The encoder cannot serve, or options for another contracting path are given.
    """
    if encoder is None:
        if levels is not None:
            raise ArchitectureError("U-Net's own contracting path has all its levels.", hint="Name an encoder.")
        if light:
            raise ArchitectureError("U-Net's light decoder is for encoders.", hint="Name an encoder.")
        if pretrained or encoder_weights:
            raise ArchitectureError("U-Net's own contracting path has no pretrained weights.", hint="Name an encoder.")
        return UNet(in_channels, num_classes, bilinear=bilinear, dropout=0.5 if dropout is None else dropout)
    if bilinear:
        raise ArchitectureError("U-Net takes either an encoder or bilinear upsampling.", hint="Leave out bilinear.")
    backbone = build_encoder(
        encoder, in_channels=in_channels, levels=levels, pretrained=pretrained, weights=encoder_weights
    )
    return EncoderUNet(backbone, num_classes, dropout=dropout or 0.0, light=light)
