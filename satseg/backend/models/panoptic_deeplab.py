"""Panoptic-DeepLab: DeepLab v3+ with a second decoder, which tells objects apart by their centres.

Cheng, Collins, Zhu, Liu, Huang, Adam, Chen: "Panoptic-DeepLab: A Simple, Strong, and Fast Baseline for Bottom-Up
Panoptic Segmentation", CVPR 2020, arXiv 1911.10194. Layers follow its Figure 2 and section 3.1.
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

_PYRAMID_WIDTH = 256
_SEMANTIC_WIDTH, _INSTANCE_WIDTH, _HEAD_WIDTH = 256, 128, 32
_SKIPS = ((8, 64), (4, 32))  # strides of the encoder's features, and the channels that they are reduced to
_MULTI_GRID = (1, 2, 4)
_SMALL = 1e-3  # standard deviation of the weights that predict centres and offsets: both begin near 0


class Decoder(nn.Module):
    """An atrous pyramid, whose output gains detail in two steps: at stride 8, and at stride 4.

    Args:
        encoder: Backbone that the features come from.
        width: Channels of the output.
        rates: Dilations of the pyramid.
    """

    def __init__(self, encoder: Encoder, width: int, *, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.levels = [encoder.strides.index(stride) for stride, _ in _SKIPS]
        self.pyramid = ASPP(encoder.channels[-1], _PYRAMID_WIDTH, rates=rates, separable=True, norm_image=False)
        reduced = [channels for _, channels in _SKIPS]
        self.skips = nn.ModuleList(
            conv_norm_act(encoder.channels[level], channels, 1)
            for level, channels in zip(self.levels, reduced, strict=True)
        )
        inputs = (_PYRAMID_WIDTH + reduced[0], width + reduced[1])
        self.fuse = nn.ModuleList(separable_conv(channels, width, 5) for channels in inputs)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return (N, width, H/4, W/4) for the levels of the encoder."""
        x = self.pyramid(features[-1])  # (N, 256, H/16, W/16)
        for level, skip, fuse in zip(self.levels, self.skips, self.fuse, strict=True):
            detail = skip(features[level])
            x = fuse(torch.cat([resize_like(x, detail), detail], dim=1))  # (N, width, H/8, W/8), then H/4, W/4
        return x


class InstanceBranch(nn.Module):
    """The decoder and heads of section 3.1 that say where centres of objects are, and where each pixel's own one is.

    Args:
        encoder: Backbone that the features come from.
        rates: Dilations of the pyramid.
    """

    def __init__(self, encoder: Encoder, *, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder = Decoder(encoder, _INSTANCE_WIDTH, rates=rates)
        self.centre = nn.Sequential(
            conv_norm_act(_INSTANCE_WIDTH, _INSTANCE_WIDTH),
            conv_norm_act(_INSTANCE_WIDTH, _HEAD_WIDTH),
            nn.Conv2d(_HEAD_WIDTH, 1, 1),
        )
        self.offset = nn.Sequential(
            separable_conv(_INSTANCE_WIDTH, _HEAD_WIDTH, 5),
            nn.Conv2d(_HEAD_WIDTH, 2, 1),
        )
        he_normal(self.decoder, self.centre, self.offset)
        for last in (self.centre[-1], self.offset[-1]):
            assert isinstance(last, nn.Conv2d)
            nn.init.normal_(last.weight, std=_SMALL)

    def forward(self, features: list[Tensor], images: Tensor) -> Tensor:
        """Return (N, 3, H, W): heat of centres, and offsets along rows and columns in pixels of the images."""
        x = self.decoder(features)  # (N, 128, H/4, W/4)
        offset = self.offset(x)
        scale = offset.new_tensor([images.shape[axis] / x.shape[axis] for axis in (-2, -1)]).view(1, 2, 1, 1)
        # Offsets are lengths: what is enlarged becomes longer.
        return torch.cat([resize_like(self.centre(x), images), resize_like(offset, images) * scale], dim=1)


class PanopticDeepLab(nn.Module):
    """The network of Figure 2.

    Args:
        encoder: Backbone at output stride 16 or 8, with features at strides 8 and 4.
        num_classes: Classes of the output.
        rates: Dilations of the pyramids.
        objects: Whether it has the instance branch.
    """

    def __init__(self, encoder: Encoder, num_classes: int, *, rates: tuple[int, ...], objects: bool) -> None:
        super().__init__()
        self.decoder = Decoder(encoder, _SEMANTIC_WIDTH, rates=rates)
        self.head = nn.Sequential(
            separable_conv(_SEMANTIC_WIDTH, _SEMANTIC_WIDTH, 5), nn.Conv2d(_SEMANTIC_WIDTH, num_classes, 1)
        )
        self.aligned = AlignedInput(encoder.strides[-1], corners=False)
        he_normal(self.decoder, self.head)
        self.instances = InstanceBranch(encoder, rates=rates) if objects else None
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits for images (N, in_channels, H, W), H and W of 32 and more.

        Returns:
            (N, num_classes, H, W); (N, num_classes + 3, H, W) with the instance branch: the heat of centres, which is 1
            in the centre of an object, and the offset to the own centre along rows and columns in pixels follow.
        """
        padded = self.aligned(images)
        features = self.encoder(padded)
        logits = self.aligned.enlarge(self.head(self.decoder(features)), padded, images)
        if self.instances is None:
            return logits
        height, width = images.shape[-2:]
        return torch.cat([logits, self.instances(features, padded)[..., :height, :width]], dim=1)


def panoptic_deeplab(
    *,
    in_channels: int,
    num_classes: int,
    objects: bool = False,
    output_stride: int = 16,
    encoder: str = "resnet50s",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> PanopticDeepLab:
    """Build Panoptic-DeepLab: separable pyramid and decoder on ResNet-50, beside them centres and offsets of objects.

    Paper: Cheng et al., "Panoptic-DeepLab: A Simple, Strong, and Fast Baseline ...", CVPR, arXiv 1911.10194
    Year: 2020
    Family: dilated
    Encoder: resnet50s
    Parameters: 26,943,411
    Multiply-adds: 45.3 G
    Output stride: 16
    Rate: 3e-3
    Use: objects by their centres, on tiles that keep objects

    The ResNet has three 3x3 convolutions as stem (64, 64, 128 channels) and multi-grid (1, 2, 4); the pyramid's
    dilations are 6, 12 and 18 at output stride 16 and twice that at 8, with dropout 0.1. Sizes that the stride does not
    divide are mirrored at the right and bottom edge and cut back. Each decoder has a pyramid of its own and two steps
    with one separable 5x5 convolution each. With the instance branch the network has 30,271,350 parameters. These are
    the layers of its Detectron2 version with separable convolutions, whose counts are met: there, features of the
    encoder are reduced to 64 and 32 channels in both decoders, where the paper has 32 and 16 in the instance decoder
    (28,016 parameters less); image-level features have a bias in place of normalisation; and two plain 3x3 convolutions
    find centres.

    The paper trains classes with the cross-entropy of the hardest fifth of the pixels, those of small objects weighing
    three times as much (section 3.2). ``loss="ohem(threshold=0, keep=0.2)"`` takes the hardest fifth of each tile;
    there are no weights by size of object, since losses of classes do not know the objects.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        objects: Add the instance branch, whose three outputs follow those of the classes.
        output_stride: 16 or 8; 8 is finer and costs several times the arithmetic.
        encoder: Backbone of timm that can have this output stride, with features at strides 8 and 4; multi-grid acts on
            ResNets alone.
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
    return PanopticDeepLab(backbone, num_classes, rates=rates, objects=objects)
