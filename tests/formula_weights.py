"""Weights and images that follow from a formula, so that two builds of a network can be given the same ones."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from satseg.backend.models.bfp import PointLinear

_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.PReLU, PointLinear)
_MASK = 0xFFFFFFFF  # arithmetic is that of 32-bit whole numbers, the same everywhere
_PART = 1 << 15  # numbers made at once: as many as the caches hold, which takes a tenth of the time


def uniform(*shape: int, key: int) -> Tensor:
    """Return float32 numbers between -1 and 1 that depend on their places and the key alone."""
    count = torch.Size(shape).numel()
    parts = [_numbers(start, min(start + _PART, count), key) for start in range(0, count, _PART)]
    return torch.cat(parts).view(shape)


def _numbers(start: int, stop: int, key: int) -> Tensor:
    x = torch.arange(start, stop, dtype=torch.int64) * 2654435761 + (key + 1) * 97531
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        x &= _MASK
        x ^= x >> shift
        x *= factor
    return ((x & _MASK).double() / 2**31 - 1).float()


@torch.no_grad()
def fill(model: nn.Module, images: Tensor) -> nn.Module:
    """Fill a network whatever its layers are called: they count in the order in which they run, by shape.

    Args:
        model: Network of convolutions, batch normalisations, PReLUs and BFP's linear maps; returned in eval mode.
        images: Any that it takes.
    """
    for module in model.modules():
        if not isinstance(module, _LAYERS):
            for parameter in module.parameters(recurse=False):
                if parameter.numel() == 1:
                    parameter.fill_(0.5)  # the scale of a branch that training has yet to open
    running: list[nn.Module] = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, _: running.append(layer))
        for layer in model.modules()
        if isinstance(layer, _LAYERS)
    ]
    model.eval()(images)
    for hook in hooks:
        hook.remove()
    seen: Counter[Any] = Counter()
    for layer in dict.fromkeys(running):
        kind = next(kind for kind in (nn.BatchNorm2d, nn.PReLU, nn.Module) if isinstance(layer, kind))
        shape = (kind, *layer.weight.shape)
        _fill_layer(layer, key=1000 * seen[shape] + sum(layer.weight.shape))
        seen[shape] += 1
    return model


def _fill_layer(layer: Any, *, key: int) -> None:
    shape = layer.weight.shape
    if isinstance(layer, nn.BatchNorm2d):
        layer.weight.copy_(1 + uniform(*shape, key=key) / 4)
        layer.bias.copy_(uniform(*shape, key=key + 1) / 4)
        layer.running_mean.copy_(uniform(*shape, key=key + 2) / 4)
        layer.running_var.copy_(1 + uniform(*shape, key=key + 3) / 4)
    elif isinstance(layer, nn.PReLU):
        layer.weight.copy_((1 + uniform(*shape, key=key)) / 4)
    else:
        fan_in = layer.weight.numel() // layer.out_channels
        layer.weight.copy_(uniform(*shape, key=key) * (3 / fan_in) ** 0.5)
        if layer.bias is not None:
            layer.bias.copy_(uniform(*layer.bias.shape, key=key + 1) / 4)
