"""Backbones of timm behind one protocol: features of falling resolution, any number of bands, chosen output stride."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from satseg.backend.nn.encoder_weights import load_weights
from satseg.errors import ArchitectureError


class Encoder(nn.Module):
    """A backbone that returns its features level by level.

    Args:
        net: Feature extractor of timm.

    Attributes:
        channels: Channels of each level, finest first.
        strides: Input pixels per pixel of each level.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        info: Any = net.feature_info
        self.channels: tuple[int, ...] = tuple(info.channels())
        self.strides: tuple[int, ...] = tuple(info.reduction())

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return (N, channels[i], H / strides[i], W / strides[i]) for each level i, sizes rounded up."""
        return list(self.net(images))


def build_encoder(
    name: str,
    *,
    in_channels: int,
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    pretrained: bool = False,
    weights: str | None = None,
) -> Encoder:
    """Build a backbone of timm as an encoder.

    In a ResNet every block of a stage that keeps its resolution is dilated alike, the first one too, as in DeepLab and
    PSPNet; timm alone would give the first block the dilation of the stage before.

    Args:
        name: Name of the backbone in timm.
        in_channels: Bands of the input; weights of the first layer are adapted to it.
        output_stride: Stride of the coarsest level: 8, 16 or 32.
        multi_grid: Factors on the dilation of the last blocks of the last stage, ResNets alone.
        pretrained: Start from the weights of an installed package, else from timm's, which are downloaded once.
        weights: File with weights, or their address at a hub, instead of those.

    Raises:
        ArchitectureError: timm has no such backbone, it cannot serve, or its weights cannot be had.
    """
    options: dict[str, Any] = {"features_only": True}
    if output_stride != 32:
        options["output_stride"] = output_stride
    net = _create(name, in_channels, pretrained, weights, options)
    _dilate(net, output_stride, multi_grid)
    return Encoder(net)


def build_classifier(name: str, *, in_channels: int, pretrained: bool = False, weights: str | None = None) -> nn.Module:
    """Build a backbone of timm with all its layers, for networks that change them; arguments as above.

    Raises:
        ArchitectureError: timm has no such backbone, or its weights cannot be had.
    """
    return _create(name, in_channels, pretrained, weights, {"num_classes": 0})


def _create(name: str, in_channels: int, pretrained: bool, weights: str | None, options: dict[str, Any]) -> nn.Module:
    import timm  # takes a second, which networks without a backbone are spared

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "timm.list_models() lists all encoders."
        raise ArchitectureError(f"timm has no encoder named {name!r}.", hint=hint)
    make = partial(timm.create_model, name, **options)
    if not pretrained and weights is None:
        return _build(name, partial(make, in_chans=in_channels), options)
    with torch.device("meta"):  # checks quickly whether the encoder is suitable
        plain = _build(name, partial(make, in_chans=3), options)
    return load_weights(name, make, plain, in_channels=in_channels, weights=weights)


def _build(name: str, make: Callable[[], nn.Module], options: dict[str, Any]) -> nn.Module:
    stride = options.get("output_stride", 32)
    try:
        net = make()
    except (TypeError, AssertionError, RuntimeError, KeyError, AttributeError) as error:
        raise ArchitectureError(
            f"The encoder {name} has no features at output stride {stride}.",
            hint="ResNets, Xceptions, MobileNets, EfficientNets and ConvNeXts can.",
        ) from error
    strides = list(net.feature_info.reduction()) if "features_only" in options else []  # type: ignore[operator, union-attr]
    if _takes_one_size(name) or ("features_only" in options and len(set(strides)) < 3):
        raise ArchitectureError(
            f"The encoder {name} is not suitable: it accepts only one image size, or has features at a single stride.",
            hint="Convolutional backbones can: resnet50, convnext_tiny, efficientnet_b0.",
        )
    return net


def _takes_one_size(name: str) -> bool:
    import timm

    config = timm.get_pretrained_cfg(name)
    return bool(config and config.fixed_input_size)  # as of most transformers


def _dilate(net: nn.Module, output_stride: int, multi_grid: Sequence[int]) -> None:
    stages = dict(net.named_children())
    if "layer4" not in stages:
        return  # not a ResNet: as timm has it
    for name, rate, factors in (("layer3", 16 // output_stride, ()), ("layer4", 32 // output_stride, multi_grid)):
        blocks = list(stages[name].children())
        for block, factor in zip(blocks, [1] * (len(blocks) - len(factors)) + list(factors), strict=True):
            if max(rate, 1) * factor > 1:
                _set_dilation(block, max(rate, 1) * factor)


def _set_dilation(block: nn.Module, dilation: int) -> None:
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            layer.dilation, layer.padding = (dilation, dilation), (dilation, dilation)
