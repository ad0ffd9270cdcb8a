"""MA-Net: U-Net whose deepest features attend to each other, and whose skips are weighed channel by channel.

Fan, Wang, Li, Wang: "MA-Net: A Multi-Scale Attention Network for Liver and Tumor Segmentation", IEEE Access 8, 2020,
doi 10.1109/ACCESS.2020.3025372. Blocks follow its Figures 2 (PAB) and 3 (MFAB).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.padding import pad_to_multiple

_WIDTHS = (256, 128, 64, 32, 16)  # of the decoder, down to stride 1
_KEYS = 64
_REDUCTION = 16


class PositionAttention(nn.Module):
    """PAB: every pixel gathers the features of all others, by how much they are alike."""

    global_context = True  # each pixel attends to the whole window

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, _KEYS, 1)
        self.key = nn.Conv2d(channels, _KEYS, 1)
        self.value = nn.Conv2d(channels, channels, 3, padding=1)
        self.out = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) for (N, C, H, W)."""
        # One head, (N, 1, HW, C): without its axis, ONNX has no such operator.
        query, key, value = (part(x).flatten(2).transpose(1, 2)[:, None] for part in (self.query, self.key, self.value))
        gathered = F.scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0]  # (N, HW, C)
        return self.out(x + gathered.transpose(1, 2).unflatten(2, x.shape[-2:]))


def _weights(channels: int) -> nn.Sequential:
    """Return squeeze and excitation: a weight between 0 and 1 for each channel, from the means of all."""
    inner = max(1, channels // _REDUCTION)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(channels, inner, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(inner, channels, 1),
        nn.Sigmoid(),
    )


def _two_convs(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(conv_norm_act(in_channels, out_channels), conv_norm_act(out_channels, out_channels))


class FusionAttention(nn.Module):
    """MFAB: features from below are enlarged, weighed by the channels of both, and joined with those of the skip.

    Args:
        in_channels: Channels from below.
        skip_channels: Channels of the encoder's features at twice the resolution.
        out_channels: Channels of the output.
    """

    global_context = True  # its means are of the whole window

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            conv_norm_act(in_channels, in_channels), conv_norm_act(in_channels, skip_channels, 1)
        )
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.weigh_below, self.weigh_skip = _weights(skip_channels), _weights(skip_channels)
        self.convs = _two_convs(2 * skip_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return (N, out_channels, 2H, 2W) for (N, in_channels, H, W) and (N, skip_channels, 2H, 2W)."""
        x = self.enlarge(self.reduce(x))
        weighed = x * (self.weigh_below(x) + self.weigh_skip(skip))
        return self.convs(torch.cat([weighed, skip], dim=1))


class MANet(nn.Module):
    """The network of Figure 1 on any encoder.

    Args:
        encoder: Backbone with features from stride 2 or 4 on, each level at twice the stride of the one before.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        below, *skips = reversed(encoder.channels_from(2))
        doublings = encoder.strides[-1].bit_length() - 1
        widths = _WIDTHS[:doublings]
        self.attend = PositionAttention(below)
        self.fuse = nn.ModuleList()
        for skip, width in zip(skips, widths, strict=False):
            self.fuse.append(FusionAttention(below, skip, width))
            below = width
        last = widths[len(skips) :]  # of the resolutions that the encoder has no features of
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.last = nn.ModuleList(_two_convs(a, b) for a, b in zip((below, *last), last, strict=False))
        self.head = nn.Conv2d(last[-1], num_classes, 3, padding=1)
        he_normal(self.attend, self.fuse, self.last, self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        levels = self.encoder(pad_to_multiple(images, self.encoder.strides[-1]))
        deepest, *skips = reversed(levels[-len(self.fuse) - 1 :])
        x = self.attend(deepest)
        for fuse, skip in zip(self.fuse, skips, strict=True):
            x = fuse(x, skip)
        for convs in self.last:
            x = convs(self.enlarge(x))
        return self.head(x)[..., :height, :width]  # (N, num_classes, H, W)


def manet(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "resnet34",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> MANet:
    """Build MA-Net: U-Net with attention between the deepest pixels, and skips weighed channel by channel.

    Paper: Fan et al., "MA-Net: A Multi-Scale Attention Network for Liver and Tumor Segmentation", IEEE Access
    Year: 2020
    Family: attention
    Encoder: resnet34
    Parameters: 31,786,243
    Multiply-adds: 34.0 G
    Output stride: 32
    Rate: 3e-3
    Use: U-Net with context of the whole window

    Deviations: the encoder is a backbone, and the decoder 256, 128, 64, 32 and 16 wide, down to the full resolution;
    what comes from below is enlarged by copying pixels. The weights of a pixel over all others sum to one, where the
    wide-spread implementation in PyTorch normalises all pairs of pixels at once and mixes channels with positions
    when it arranges the result as a map. Sizes that the coarsest stride does not divide are mirrored at the right
    and lower edge and cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: Backbone of timm with features at strides 2 to 32 or 4 to 32 (``resnet50``: 147,442,603 parameters,
            as blocks are as wide as the features below them; ``convnext_tiny``: 48,126,775).
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    return MANet(backbone, num_classes)
