"""PAN: a pyramid of convolutions weighs the deepest features, and means of deep features weigh shallow ones.

Li, Xiong, An, Wang: "Pyramid Attention Network for Semantic Segmentation", BMVC 2018, arXiv 1805.10180. Blocks
follow its Figures 3 (feature pyramid attention) and 4 (global attention upsample), the network its Figure 2.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.norm import BatchNorm2d
from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.resize import resize_like

_WIDTH = 32
_FINEST = 4  # stride of the last features


def _conv(in_channels: int, out_channels: int, kernel: int, *, act: bool = True) -> nn.Sequential:
    """Return a convolution that keeps the size, batch normalisation and ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
    return nn.Sequential(conv, BatchNorm2d(out_channels), *([nn.ReLU(inplace=True)] if act else []))


def _double(x: Tensor, like: Tensor) -> Tensor:
    """Enlarge to twice the size, and cut to that of ``like``: a pooled map may have a row or column more than half."""
    return F.interpolate(x, scale_factor=2, mode="bilinear")[..., : like.shape[-2], : like.shape[-1]]


class FeaturePyramidAttention(nn.Module):
    """FPA (Figure 3): a pyramid of one channel weighs the features of each pixel; those of the image are added."""

    global_context = True  # its means are of the whole window

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), _conv(in_channels, _WIDTH, 1))
        self.middle = _conv(in_channels, _WIDTH, 1)
        self.halve = nn.MaxPool2d(2, ceil_mode=True)  # maps of a single pixel stay
        self.down = nn.ModuleList([_conv(in_channels, 1, 7), _conv(1, 1, 5), _conv(1, 1, 3)])
        self.across = nn.ModuleList([_conv(1, 1, 7), _conv(1, 1, 5), _conv(1, 1, 3)])

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 32, H, W) for (N, in_channels, H, W)."""
        maps = [x]
        for down in self.down:
            maps.append(down(self.halve(maps[-1])))  # (N, 1, H/2, W/2), then H/4, W/4 and H/8, W/8
        weight = self.across[-1](maps[-1])
        for across, finer in zip(list(self.across)[-2::-1], maps[-2:0:-1], strict=True):
            weight = across(finer) + _double(weight, finer)
        middle = self.middle(x)
        return middle * _double(weight, x) + self.image(x)


class GlobalAttentionUpsample(nn.Module):
    """GAU (Figure 4): shallow features, weighed by the means of deep ones, are added to these."""

    global_context = True  # its means are of the whole window

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.reduce = _conv(in_channels, _WIDTH, 3)
        self.weigh = nn.Sequential(nn.AdaptiveAvgPool2d(1), _conv(_WIDTH, _WIDTH, 1, act=False), nn.Sigmoid())

    def forward(self, deep: Tensor, shallow: Tensor) -> Tensor:
        """Return (N, 32, H, W) for deep features (N, 32, h, w) and shallow ones (N, in_channels, H, W)."""
        reduced = self.reduce(shallow)
        return resize_like(deep, reduced) + reduced * self.weigh(deep)


class PAN(nn.Module):
    """The network of Figure 2.

    Args:
        encoder: Backbone at output stride 16 or 32, with features from stride 4 on.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        *finer, deepest = encoder.channels_from(_FINEST)
        self.attend = FeaturePyramidAttention(deepest)
        self.up = nn.ModuleList(GlobalAttentionUpsample(channels) for channels in reversed(finer))
        self.head = nn.Conv2d(_WIDTH, num_classes, 3, padding=1)
        he_normal(self.attend, self.up, self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images, self.encoder.strides[-1])
        deepest, *finer = reversed(self.encoder(padded)[-len(self.up) - 1 :])
        x = self.attend(deepest)  # (N, 32, H/16, W/16)
        for up, shallow in zip(self.up, finer, strict=True):
            x = up(x, shallow)  # (N, 32, H/16, W/16), then H/8, W/8 and H/4, W/4
        return resize_like(self.head(x), padded)[..., :height, :width]


def pan(
    *,
    in_channels: int,
    num_classes: int,
    output_stride: int = 16,
    encoder: str = "resnet50",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> PAN:
    """Build PAN: a small decoder, in which attention of pixels and of channels takes the place of many convolutions.

    Paper: Li et al., "Pyramid Attention Network for Semantic Segmentation", BMVC, arXiv 1805.10180
    Year: 2018
    Family: attention
    Encoder: resnet50
    Parameters: 24,265,018
    Multiply-adds: 34.7 G
    Output stride: 16
    Rate: 3e-3
    Use: small decoder with context, for encoders at stride 16

    Features are 32 wide, as many as the classes of large data sets, and the pyramid of the attention has a single
    channel, which weighs all. Deviations: convolutions have a bias beside their normalisation; maps of odd sizes are
    halved upwards, so that windows of 32 px do. The paper's encoder is ResNet-101, dilated to stride 16.
    Sizes that the coarsest stride does not divide are mirrored at the right and lower edge and cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        output_stride: Stride of the deepest features, 16 or 32, which most transformers have.
        encoder: Backbone of timm that can have this output stride (``convnext_tiny``: 28,108,378 parameters).
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(
        encoder,
        in_channels=in_channels,
        output_stride=output_stride,
        pretrained=pretrained,
        weights=encoder_weights,
    )
    return PAN(backbone, num_classes)
