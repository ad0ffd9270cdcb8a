"""Backbones of timm behind one protocol: features of falling resolution, any number of bands, chosen output stride."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from satseg.backend.nn.addresses import encoder_at, is_address
from satseg.backend.nn.encoder_weights import load_weights
from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.vit_pyramid import SimpleFeaturePyramid
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


class TransformerEncoder(Encoder):
    """A vision transformer for images of any size; one without stages of its own gets a simple feature pyramid.

    Positions are rotary, or interpolated to the size of the image. Images are mirrored at the right and lower edge up
    to whole patches, and the features cut back.

    Args:
        net: Feature extractor of timm.

    Attributes:
        global_context: Whether each pixel sees the whole image, as where there is no stage with windows.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.patch = self.strides[0]
        self.pyramid: SimpleFeaturePyramid | None = None
        self.global_context = len(set(self.strides)) == 1
        if self.global_context:
            self.net.out_indices = self.net.out_indices[-1:]  # type: ignore[index]
            self.pyramid = SimpleFeaturePyramid(self.channels[-1], self.patch)
            self.channels, self.strides = self.pyramid.channels, self.pyramid.strides

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return (N, channels[i], H / strides[i], W / strides[i]) for each level i, sizes rounded up."""
        height, width = images.shape[-2:]
        levels = self.net(pad_to_multiple(pad_to_multiple(images, self.strides[-1]), self.patch))
        if self.pyramid is not None:
            levels = self.pyramid(levels[-1])
        return [
            level[..., : -(-height // stride), : -(-width // stride)]
            for level, stride in zip(levels, self.strides, strict=True)
        ]


def build_encoder(
    name: str,
    *,
    in_channels: int,
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    levels: int | None = None,
    pretrained: bool = False,
    weights: str | None = None,
) -> Encoder:
    """Build a backbone of timm as an encoder; vision transformers without stages get a simple feature pyramid.

    In a ResNet every block of a stage that keeps its resolution is dilated alike, the first one too, as in DeepLab and
    PSPNet; timm alone would give the first block the dilation of the stage before.

    Args:
        name: Name of the backbone in timm, or its address at a hub or in a package, which brings its weights.
        in_channels: Bands of the input; weights of the first layer are adapted to it.
        output_stride: Stride of the coarsest level: 8, 16 or 32.
        multi_grid: Factors on the dilation of the last blocks of the last stage, ResNets alone.
        levels: Levels of features to return, finest first, at least 3; coarser stages are left out. Default: all.
        pretrained: Start from the weights of an installed package, else from timm's, which are downloaded once.
        weights: File with weights, or their address at a hub or in a package, instead of those.

    Raises:
        ArchitectureError: timm has no such backbone, it cannot serve, or its weights cannot be had.
    """
    name, weights = _by_name(name, weights)
    options: dict[str, Any] = {"features_only": True}
    if output_stride != 32:
        options["output_stride"] = output_stride
    is_transformer = _takes_one_size(name)  # unless it is told to interpolate its positions
    if is_transformer:
        options |= {"dynamic_img_size": True, "feature_cls": _normed_features}
    if levels is not None:
        if is_transformer:
            raise ArchitectureError(
                f"The encoder {name} is a transformer: all its blocks have one resolution, and no levels to leave out.",
                hint="Leave out `levels`.",
            )
        options["out_indices"] = tuple(range(_existing(levels, name)))
    net = _create(name, in_channels, pretrained, weights, options)
    if is_transformer:
        return TransformerEncoder(net)
    _dilate(net, output_stride, multi_grid)
    _drop_unused(net)
    return Encoder(net)


def build_classifier(name: str, *, in_channels: int, pretrained: bool = False, weights: str | None = None) -> nn.Module:
    """Build a backbone of timm with all its layers, for networks that change them; arguments as above.

    Raises:
        ArchitectureError: timm has no such backbone, or its weights cannot be had.
    """
    name, weights = _by_name(name, weights)
    return _create(name, in_channels, pretrained, weights, {"num_classes": 0})


def _by_name(name: str, weights: str | None) -> tuple[str, str | None]:
    """Return the name of an encoder in timm and where its weights are; its address is both."""
    return (encoder_at(name), weights or name) if is_address(name) else (name, weights)


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
    resizes = "dynamic_img_size" in options
    try:
        net = make()
    except (TypeError, AssertionError, RuntimeError, KeyError, AttributeError) as error:
        dilated = "output_stride" in options or not resizes
        raise (_no_stride(name, options.get("output_stride", 32)) if dilated else _unsuitable(name)) from error
    if "features_only" in options:
        suitable = len(_strides(net)) >= 3 or (resizes and len(_strides(net)) == 1)
    else:
        suitable = not _takes_one_size(name)
    if not suitable:
        raise _unsuitable(name)
    return net


def _normed_features(net: nn.Module, **options: Any) -> nn.Module:
    """Return the features of a transformer in channels-first order, those of its last block behind its last norm."""
    from timm.models._features import FeatureGetterNet

    return FeatureGetterNet(net, **options | {"norm": True, "output_fmt": "NCHW"})


def _strides(net: Any) -> set[int]:
    return set(net.feature_info.reduction())


def _no_stride(name: str, stride: int) -> ArchitectureError:
    return ArchitectureError(
        f"The encoder {name} has no features at output stride {stride}.",
        hint="ResNets, Xceptions, MobileNets, EfficientNets and ConvNeXts can.",
    )


def _unsuitable(name: str) -> ArchitectureError:
    return ArchitectureError(
        f"The encoder {name} is not suitable: it accepts only one image size, or has features at a single stride.",
        hint="Convolutional backbones and plain vision transformers can: resnet50, convnext_tiny, "
        "vit_small_patch16_dinov3.",
    )


def _existing(levels: int, name: str) -> int:
    """Return the number of levels, if the encoder has as many."""
    with torch.device("meta"):
        most = len(build_encoder(name, in_channels=3).channels)
    if not 3 <= levels <= most:
        raise ArchitectureError(f"The encoder {name} has {most} levels; `levels` is {levels}, not 3 to {most}.")
    return levels


def _drop_unused(net: nn.Module) -> None:
    """Drop the stages behind the last level: timm's EfficientNets and MobileNets run them for nothing."""
    info: Any = net.feature_info
    holder, _, number = info.module_name()[-1].partition(".")
    stages = getattr(net, holder, None)
    if isinstance(stages, nn.Sequential) and holder == "blocks":
        net.blocks = stages[: int(number) + 1]


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
        last = list(factors)[-len(blocks) :]  # ResNet-18 has two
        for block, factor in zip(blocks, [1] * (len(blocks) - len(last)) + last, strict=True):
            if max(rate, 1) * factor > 1:
                _set_dilation(block, max(rate, 1) * factor)


def _set_dilation(block: nn.Module, dilation: int) -> None:
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            layer.dilation, layer.padding = (dilation, dilation), (dilation, dilation)
