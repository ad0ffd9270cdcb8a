"""The optimiser: which parameters move how fast, and its state as plain tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

OPTIMIZERS = {"adamw": 3e-3, "sgd": 1e-2}
"""Names, and the peak learning rate that each starts from where none is given."""

MOMENTUM = 0.9


def make_optimizer(
    name: str, model: nn.Module, *, lr: float, weight_decay: float, encoder_rate: float = 1.0
) -> Optimizer:
    """Return AdamW (Loshchilov and Hutter 2019), or SGD with Nesterov's momentum, over all parameters of a network.

    Parameters with one axis or none - biases, and scales and shifts of norms - are not decayed: pulling them to
    zero switches channels off instead of smoothing the function.

    Args:
        name: ``adamw`` or ``sgd``.
        model: The network.
        lr: Learning rate.
        weight_decay: Of weights with two axes and more.
        encoder_rate: Factor on the learning rate of the encoder.

    Returns:
        The optimiser; each of its groups has its factor on the learning rate under ``rate``.
    """
    groups = _groups(model, weight_decay, encoder_rate)
    sgd = name == "sgd"
    optimizer = SGD(groups, lr=lr, momentum=MOMENTUM, nesterov=True) if sgd else AdamW(groups, lr=lr)
    set_rate(optimizer, lr)
    return optimizer


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of every group, by its factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["rate"]


def encoder_of(model: nn.Module) -> nn.Module | None:
    """Return the part of a network that is called its encoder or its features, or None where there is no such part."""
    for name in ("encoder", "features"):
        part = getattr(model, name, None)
        if isinstance(part, nn.Module):
            return part
    return None


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the state of each parameter, named ``<group>.<parameter>.<entry>``, as dense tensors on the CPU."""
    return {
        f"{group}.{index}.{entry}": value.detach().cpu().contiguous()
        for group, settings in enumerate(optimizer.param_groups)
        for index, parameter in enumerate(settings["params"])
        for entry, value in optimizer.state[parameter].items()
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` took, into an optimiser built over the same model.

    Moments get the memory layout of their parameter, so that the next update runs the very same kernels.
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
