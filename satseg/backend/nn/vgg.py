"""The convolutions of VGG as five stages, between which networks pool as they need; timm's weights fit.

Simonyan and Zisserman: "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv 1409.1556,
2014, Table 1, columns A, B, D and E.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from torch import nn

from satseg.backend.nn.encoders import build_classifier
from satseg.backend.nn.first_layer import hand_on
from satseg.backend.nn.initialise import he_normal, looks_linear
from satseg.errors import ArchitectureError

VGG_WIDTHS = (64, 128, 256, 512, 512)
VGG_DEPTHS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2,) * 5, "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


def vgg_stages(encoder: str, *, in_channels: int, norm: bool, last_dilation: int = 1) -> nn.ModuleList:
    """Return the five stages without their poolings; each keeps the size of its input.

    Args:
        encoder: A VGG as timm names it: ``vgg16``, or ``vgg16_bn`` with batch normalisation.
        in_channels: Bands of the input.
        norm: Whether the network needs batch normalisation after each convolution.
        last_dilation: Dilation of the fifth stage.

    Raises:
        ArchitectureError: The encoder is no VGG, or not one with or without normalisation, as needed.
    """
    stages = nn.ModuleList()
    width = in_channels
    for i, (out, depth) in enumerate(zip(VGG_WIDTHS, vgg_depths(encoder, norm=norm), strict=True)):
        dilation = last_dilation if i == len(VGG_WIDTHS) - 1 else 1
        stages.append(conv_stage([width] + [out] * depth, norm=norm, dilation=dilation))
        width = out
    if norm:
        he_normal(stages, mode="fan_out")
    else:
        looks_linear(stages)
    return stages


def vgg_depths(encoder: str, *, norm: bool) -> tuple[int, ...]:
    """Return the convolutions of each stage of a VGG.

    Raises:
        ArchitectureError: The encoder is no VGG, or not one with or without normalisation, as needed.
    """
    names = {name + "_bn" * norm: depths for name, depths in VGG_DEPTHS.items()}
    if encoder not in names:
        raise ArchitectureError(
            f"This network cannot use the encoder {encoder!r}.", hint=f"It takes {', '.join(names)}."
        )
    return names[encoder]


def conv_stage(widths: list[int], *, norm: bool, dilation: int = 1) -> nn.Sequential:
    """Return 3x3 convolutions with bias from one width to the next, each with ReLU, normalised before it or not."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers.append(nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation))
        if norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def load_vgg(
    stages: nn.ModuleList,
    encoder: str,
    *,
    in_channels: int,
    pretrained: bool,
    weights: str | None,
    top: nn.Module | None = None,
) -> None:
    """Copy timm's weights into the stages, if they are asked for.

    Args:
        stages: What ``vgg_stages`` returned for this encoder.
        encoder: A VGG as timm names it.
        in_channels: Bands of the input; weights of the first layer are adapted to it.
        pretrained: Take those of timm.
        weights: File with such weights, or their address at a hub, instead of those.
        top: Two convolutions, 7x7 and 1x1, that take the weights of the first two fully connected layers.

    Raises:
        ArchitectureError: The weights cannot be had.
    """
    if not pretrained and weights is None:
        return
    net: Any = build_classifier(encoder, in_channels=in_channels, pretrained=pretrained, weights=weights)
    pairs = list(zip(_weighted(net.features), _weighted(stages), strict=True))
    if top is not None:
        pairs += zip(_weighted(net.pre_logits), _weighted(top), strict=True)
    for source, target in pairs:
        target.load_state_dict(source.state_dict())
        hand_on(source, target)


def _weighted(module: nn.Module) -> Iterator[nn.Module]:
    return (layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d))
