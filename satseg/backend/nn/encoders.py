"""Backbones of timm behind one protocol: features of falling resolution, any number of bands, chosen output stride."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from satseg.backend.nn.addresses import encoder_at, is_address
from satseg.backend.nn.encoder_weights import load_file, load_weights
from satseg.backend.nn.mix_transformer import DEPTHS, MixTransformer
from satseg.backend.nn.norm import tolerate_single_values
from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.suitability import Suitability, examine
from satseg.backend.nn.vit_pyramid import SimpleFeaturePyramid
from satseg.errors import ArchitectureError

_COARSEST = 32  # stride of the last level, unless it is dilated


class Encoder(nn.Module):
    """A backbone that returns its features level by level.

    Images are mirrored at the right and lower edge up to sides that it takes, and the features cut back.

    Args:
        net: Returns the levels, finest first.
        channels: Channels of each level.
        strides: Input pixels per pixel of each level.
        multiple: What the sides of the images that ``net`` takes are multiples of.
        channels_last: Whether ``net`` returns (N, H, W, C).
        global_context: Whether each pixel sees the whole image by attention.

    Attributes:
        channels: Channels of each level, finest first.
        strides: Input pixels per pixel of each level.
        global_context: Whether each pixel sees the whole image by attention.
    """

    def __init__(
        self,
        net: nn.Module,
        channels: Sequence[int],
        strides: Sequence[int],
        *,
        multiple: int = 1,
        channels_last: bool = False,
        global_context: bool = False,
    ) -> None:
        super().__init__()
        self.net = net
        self.channels: tuple[int, ...] = tuple(channels)
        self.strides: tuple[int, ...] = tuple(strides)
        self.multiple = multiple
        self.channels_last = channels_last
        self.global_context = global_context

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return (N, channels[i], H / strides[i], W / strides[i]) for each level i, sizes rounded up."""
        levels = list(self.net(pad_to_multiple(images, self.multiple)))
        if self.channels_last:
            levels = [level.permute(0, 3, 1, 2) for level in levels]
        return self._cut(levels, images) if self.multiple > 1 else levels

    def channels_from(self, stride: int) -> list[int]:
        """Return the channels of the levels of this stride and of coarser ones, finest first."""
        return [c for c, level in zip(self.channels, self.strides, strict=True) if level >= stride]

    def _cut(self, levels: list[Tensor], images: Tensor) -> list[Tensor]:
        """Cut back the levels of images that were padded."""
        height, width = images.shape[-2:]
        return [
            level[..., : (height + stride - 1) // stride, : (width + stride - 1) // stride]
            for level, stride in zip(levels, self.strides, strict=True)
        ]


class TransformerEncoder(Encoder):
    """A vision transformer without stages, which gets a simple feature pyramid, for images of any size.

    Positions are rotary, or interpolated to the size of the image.

    Args:
        net: Feature extractor of timm.
        multiple: What the sides of the images that ``net`` takes are multiples of.
    """

    def __init__(self, net: nn.Module, *, multiple: int) -> None:
        channels, strides = _levels(net)
        pyramid = SimpleFeaturePyramid(channels[-1], strides[-1])
        super().__init__(net, pyramid.channels, pyramid.strides, multiple=multiple, global_context=True)
        self.net.out_indices = self.net.out_indices[-1:]  # type: ignore[index]
        self.patch = strides[-1]
        self.pyramid = pyramid

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return (N, channels[i], H / strides[i], W / strides[i]) for each level i, sizes rounded up."""
        padded = pad_to_multiple(pad_to_multiple(images, self.strides[-1]), self.multiple)
        return self._cut(self.pyramid(self.net(padded)[-1]), images)


def build_encoder(
    name: str,
    *,
    in_channels: int,
    output_stride: int = 32,
    multi_grid: Sequence[int] = (),
    gradual: bool = False,
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
        gradual: Whether the first block of a stage without such factors has the dilation of the stage before, as in
            timm, and in networks of the family of PyTorch-Encoding.
        levels: Levels of features to return, finest first, at least 3; coarser stages are left out. Default: all.
        pretrained: Start from the weights of an installed package, else from timm's, which are downloaded once.
        weights: File with weights, or their address at a hub or in a package, instead of those.

    Raises:
        ArchitectureError: timm has no such backbone, it cannot serve, or its weights cannot be had.
    """
    name, weights = by_name(name, weights)
    if name in DEPTHS:
        return _build_mix_transformer(
            name,
            in_channels=in_channels,
            pretrained=pretrained,
            weights=weights,
            other_levels=output_stride != 32 or levels is not None,
        )
    found = suitable(name)
    options: dict[str, Any] = {"features_only": True, **found.options}
    if output_stride != _COARSEST:
        options["output_stride"] = output_stride
    if levels is not None:
        options["out_indices"] = tuple(range(_existing(levels, name, found)))
    net = create_backbone(name, in_channels, pretrained, weights, options)
    if found.single_map:
        return TransformerEncoder(net, multiple=found.multiple)
    _dilate(net, output_stride, multi_grid, gradual=gradual)
    _drop_unused(net)
    tolerate_single_values(net)
    return Encoder(
        net,
        *_levels(net),
        multiple=found.multiple,
        channels_last=found.channels_last,
        global_context=found.global_context,
    )


def build_classifier(name: str, *, in_channels: int, pretrained: bool = False, weights: str | None = None) -> nn.Module:
    """Build a backbone of timm with all its layers, for networks that change them; arguments as above.

    Raises:
        ArchitectureError: timm has no such backbone, or its weights cannot be had.
    """
    name, weights = by_name(name, weights)
    return create_backbone(name, in_channels, pretrained, weights, {"num_classes": 0})


def _build_mix_transformer(
    name: str, *, in_channels: int, pretrained: bool, weights: str | None, other_levels: bool
) -> Encoder:
    if other_levels:
        raise ArchitectureError(f"The encoder {name} has features at strides 4 to 32, and at no others.")
    make = partial(MixTransformer, name)
    if weights is not None:
        net = load_file(name, make, in_channels=in_channels, weights=weights)
    elif pretrained:
        raise ArchitectureError(
            f"No package and no hub that timm knows has weights of the encoder {name}.",
            hint="Pass a file with weights, or their address at a hub, as `encoder_weights`.",
        )
    else:
        net = make(in_channels=in_channels)
    return Encoder(net, net.channels, net.strides)


def suitable(name: str) -> Suitability:
    """Return what a backbone of timm can do as an encoder, if it can be one.

    Raises:
        ArchitectureError: timm has no such backbone, or it cannot serve.
    """
    _check_name(name)
    found = examine(name)
    if found.reason:
        raise _unsuitable(name, found.reason)
    return found


def by_name(name: str, weights: str | None) -> tuple[str, str | None]:
    """Return the name of an encoder in timm and where its weights are; its address is both."""
    return (encoder_at(name), weights or name) if is_address(name) else (name, weights)


def create_backbone(
    name: str, in_channels: int, pretrained: bool, weights: str | None, options: dict[str, Any]
) -> nn.Module:
    """Build a network of timm, with weights if they are asked for.

    Args:
        name: Name in timm.
        in_channels: Bands of the input.
        pretrained: Whether it starts from the weights of an installed package, else from timm's.
        weights: File with weights, or their address at a hub, instead of those.
        options: More for ``timm.create_model``.

    Raises:
        ArchitectureError: timm has no such network, it has no such output stride, or its weights cannot be had.
    """
    import timm  # takes a second, which networks without a backbone are spared

    _check_name(name)
    make = partial(timm.create_model, name, **options)
    if not pretrained and weights is None:
        return _build(name, partial(make, in_chans=in_channels), options)
    with torch.device("meta"):  # checks quickly whether the encoder is suitable
        plain = _build(name, partial(make, in_chans=3), options)
    return load_weights(name, make, plain, in_channels=in_channels, weights=weights)


def _check_name(name: str) -> None:
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, [*timm.list_models(), *DEPTHS], n=3)
        hint = (
            f"Did you mean {' or '.join(near)}?"
            if near
            else "The option `encoders` of `satseg models` lists all encoders."
        )
        raise ArchitectureError(f"timm has no encoder named {name!r}.", hint=hint)


def _build(name: str, make: Callable[[], nn.Module], options: dict[str, Any]) -> nn.Module:
    try:
        return make()
    except (TypeError, AssertionError, RuntimeError, KeyError, AttributeError) as error:
        stride = options.get("output_stride", _COARSEST)
        raise ArchitectureError(
            f"The encoder {name} has no features at output stride {stride}.",
            hint="ResNets, Xceptions, MobileNets, EfficientNets and ConvNeXts can.",
        ) from error


def _levels(net: nn.Module) -> tuple[list[int], list[int]]:
    """Return the channels and the strides of each level of timm's feature extractor."""
    info: Any = net.feature_info
    return info.channels(), info.reduction()


def _unsuitable(name: str, reason: str) -> ArchitectureError:
    return ArchitectureError(
        f"The encoder {name} is not suitable: {reason}.",
        hint="The option `encoders` of `satseg models` lists those that are, such as resnet50 and convnext_tiny.",
    )


def _existing(levels: int, name: str, found: Suitability) -> int:
    """Return the number of levels, if the encoder has as many."""
    if found.single_map:
        raise ArchitectureError(
            f"The encoder {name} is a transformer: all its blocks have one resolution, and no levels to leave out.",
            hint="Leave out `levels`.",
        )
    most = len(found.strides)
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


def _dilate(net: nn.Module, output_stride: int, multi_grid: Sequence[int], *, gradual: bool) -> None:
    stages = dict(net.named_children())
    if "layer4" not in stages:
        return  # not a ResNet: as timm has it
    for name, rate, factors in (("layer3", 16 // output_stride, ()), ("layer4", 32 // output_stride, multi_grid)):
        if gradual and not factors:
            continue
        blocks = list(stages[name].children())
        last = list(factors)[-len(blocks) :]  # ResNet-18 has two
        for block, factor in zip(blocks, [1] * (len(blocks) - len(last)) + last, strict=True):
            if max(rate, 1) * factor > 1:
                _set_dilation(block, max(rate, 1) * factor)


def _set_dilation(block: nn.Module, dilation: int) -> None:
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            layer.dilation, layer.padding = (dilation, dilation), (dilation, dilation)
