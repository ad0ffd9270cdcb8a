"""Optimisers, their parameter groups, and their state as plain tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from satseg.backend.nn.encoders import Encoder

MOMENTUM = 0.9


def make_optimizer(
    name: str, model: nn.Module, *, lr: float, weight_decay: float, encoder_rate: float = 1.0
) -> Optimizer:
    """Make AdamW (Loshchilov and Hutter 2019), or SGD with Nesterov momentum, for all parameters of a network.

    Weight decay applies to parameters with two and more axes. Biases, and scales and shifts of norms, are not decayed:
    pulling them to zero switches channels off instead of smoothing the function.

    Args:
        name: ``adamw`` or ``sgd``.
        model: The network.
        lr: Learning rate.
        weight_decay: Weight decay.
        encoder_rate: Factor on the learning rate of the encoder.

    Returns:
        The optimiser; every parameter group has its factor on the learning rate under ``rate``.
    """
    groups = _groups(model, weight_decay, encoder_rate)
    sgd = name == "sgd"
    optimizer = SGD(groups, lr=lr, momentum=MOMENTUM, nesterov=True) if sgd else AdamW(groups, lr=lr)
    set_rate(optimizer, lr)
    return optimizer


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group, times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["rate"]


def encoder_of(model: nn.Module) -> nn.Module | None:
    """Return the submodule named ``encoder`` or ``features``, else that of ``base``, or None if there is neither.

    Of an encoder of timm, it is what timm's weights are for: without the pyramid on a transformer. A network that wraps
    another one has it as ``base``.
    """
    for name in ("encoder", "features"):
        part = getattr(model, name, None)
        if isinstance(part, Encoder):
            return part.net
        if isinstance(part, nn.Module):
            return part
    base = getattr(model, "base", None)
    return encoder_of(base) if isinstance(base, nn.Module) else None


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the optimiser state by ``<group>.<parameter>.<entry>``, as contiguous tensors on the CPU."""
    return {
        f"{group}.{index}.{entry}": value.detach().cpu().contiguous()
        for group, settings in enumerate(optimizer.param_groups)
        for index, parameter in enumerate(settings["params"])
        for entry, value in optimizer.state[parameter].items()
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore what :func:`optimizer_tensors` returned, into an optimiser of the same model.

    Moments get the memory layout of their parameter, so that the next update runs the same kernels.
    """
    for name, value in tensors.items():
        group, index, entry = name.split(".")
        parameter = optimizer.param_groups[int(group)]["params"][int(index)]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter).copy_(value)
        optimizer.state[parameter][entry] = value


def _groups(model: nn.Module, weight_decay: float, encoder_rate: float) -> list[dict[str, Any]]:
    encoder = encoder_of(model) if encoder_rate != 1 else None
    slow = {id(parameter) for parameter in encoder.parameters()} if encoder else set()
    kinds: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            kinds.setdefault((id(parameter) in slow, parameter.ndim <= 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": 0.0 if plain else weight_decay,
            "rate": encoder_rate if of_encoder else 1.0,
        }
        for (of_encoder, plain), parameters in sorted(kinds.items(), key=lambda item: item[0])
    ]
