"""What a backbone of timm can do as an encoder: found out on tensors without values, once for each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

_DYNAMIC = {"dynamic_img_size": True}
_FINEST, _COARSEST = 8, 32  # strides: decoders enlarge from the finest level, and have parts for levels down to 32
_ODD = (33, 47)  # no stride divides them
_ATTENDS = re.compile(r"Att(entio)?n|XCA|MLA|SHMA")
_LOCALLY = re.compile(r"Window|Local|SplitAttn|Kernel|Neighborhood")  # or over channels alone


@dataclass(frozen=True)
class Suitability:
    """What a backbone can do.

    Args:
        parameters: Parameters of the feature extractor for three bands; 0 if there is none.
        channels: Channels of each level that timm hands out, finest first.
        strides: Input pixels per pixel of each of them; a plain transformer has the same for all.
        multiple: What the sides of its images must be multiples of; 1 if it takes any.
        channels_last: Whether timm hands out (N, H, W, C).
        global_context: Whether each pixel sees the whole image by attention.
        options: What ``timm.create_model`` is to be told, beside ``features_only``.
        reason: Why it cannot be an encoder, without a subject and a full stop; empty if it can.
    """

    parameters: int = 0
    channels: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    multiple: int = 1
    channels_last: bool = False
    global_context: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""

    @property
    def single_map(self) -> bool:
        """Whether all features have one stride, so that a pyramid is made of the last ones."""
        return len(self.strides) > 0 and len(set(self.strides)) == 1


@cache
def examine(name: str) -> Suitability:
    """Return what a backbone of timm can do as an encoder.

    Args:
        name: Name in timm.
    """
    import timm

    config = timm.get_pretrained_cfg(name)
    side = config.input_size[-1] if config else 224
    net, options = _feature_extractor(name, fixed=bool(config and config.fixed_input_size))
    if net is None:
        return Suitability(reason="timm hands out no features of it")
    info: Any = net.feature_info
    channels, strides = tuple(info.channels()), tuple(info.reduction())
    found = partial(Suitability, sum(p.numel() for p in net.parameters()), channels, strides)
    one_stride = len(set(strides)) == 1
    if not one_stride and not _is_pyramid(strides):
        return found(
            reason=f"it has features at strides {_listed(strides)}, not one for each doubling from 2, 4 or 8 to 32"
        )
    if one_stride and not 3 <= strides[0] <= 45:
        return found(reason=f"it has features at stride {strides[0]} alone")
    coarsest = strides[-1]
    ladder = [(coarsest, (2 * coarsest, 3 * coarsest)), (side, (side, 2 * side))]
    if not one_stride:
        ladder.insert(0, (1, _ODD))
    for multiple, size in ladder:
        channels_last = _handed_out(net, size, channels, strides)
        if channels_last is not None:
            return found(multiple, channels_last, one_stride or _attends_to_all(net), options)
    return found(reason=_why_not(net, side, channels, strides))


def normed_features(net: nn.Module, **options: Any) -> nn.Module:
    """Return the features of a transformer in channels-first order, those of its last block behind its last norm."""
    from timm.models._features import FeatureGetterNet

    return FeatureGetterNet(net, **options | {"norm": True, "output_fmt": "NCHW"})


def _feature_extractor(name: str, *, fixed: bool) -> tuple[nn.Module | None, dict[str, Any]]:
    """Build the feature extractor without memory, and return what timm was told; None if it cannot be built.

    Args:
        name: Name in timm.
        fixed: Whether it is made for images of one size, unless it is told to interpolate its positions.
    """
    normed: dict[str, Any] = {"feature_cls": normed_features}
    tried: list[dict[str, Any]] = [_DYNAMIC | normed, {}, normed] if fixed else [{}, normed]
    for options in tried:
        net = _built(name, options)
        if net is None:
            continue
        info: Any = net.feature_info
        if "feature_cls" in options or len(set(info.reduction())) > 1:
            return net, options
    return None, {}


def _built(name: str, options: Mapping[str, Any]) -> nn.Module | None:
    import timm

    try:
        with torch.device("meta"):
            net: nn.Module = timm.create_model(name, features_only=True, **options)
    except Exception:  # networks of timm refuse what they do not know in many ways
        return None
    return net.eval()


def _is_pyramid(strides: Sequence[int]) -> bool:
    doubled = all(below == 2 * above for above, below in pairwise(strides))
    return doubled and strides[0] <= _FINEST and strides[-1] == _COARSEST


def _shapes(net: nn.Module, size: tuple[int, int]) -> list[tuple[int, ...]] | None:
    """Return the shapes of the levels of an image of this size, without the batch; None if it cannot have it."""
    try:
        with torch.device("meta"), torch.no_grad():
            return [tuple(level.shape[1:]) for level in net(torch.empty(1, 3, *size))]
    except Exception:  # of assertions on sizes, shapes that do not fit, values that are asked for
        return None


def _handed_out(net: nn.Module, size: tuple[int, int], channels: Sequence[int], strides: Sequence[int]) -> bool | None:
    """Return whether the levels for an image of this size are channels-last; None if they are not as announced."""
    sides = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in strides]
    found = _shapes(net, size)
    if found == [(c, *side) for c, side in zip(channels, sides, strict=True)]:
        return False
    return True if found == [(*side, c) for c, side in zip(channels, sides, strict=True)] else None


def _why_not(net: nn.Module, side: int, channels: Sequence[int], strides: Sequence[int]) -> str:
    """Return why a backbone takes neither images of any size nor multiples of its own size."""
    if _handed_out(net, (side, side), channels, strides) is not None:
        return f"it takes images of {side} x {side} px alone"
    if _shapes(net, (side, side)) is not None:
        return "its features do not lie evenly on the image, as it has convolutions without padding"
    return "timm cannot work out its features for images of any size that was tried"


def _attends_to_all(net: nn.Module) -> bool:
    kinds = {type(layer).__name__ for layer in net.modules()}
    return any(_ATTENDS.search(kind) and not _LOCALLY.search(kind) for kind in kinds)


def _listed(strides: Sequence[int]) -> str:
    return ", ".join(str(stride) for stride in strides)
