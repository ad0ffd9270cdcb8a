"""The optimiser, and its state as plain tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer


def adamw(model: nn.Module, *, lr: float, weight_decay: float) -> AdamW:
    """Return AdamW (Loshchilov and Hutter 2019) over all parameters of ``model``.

    Parameters with one axis or none - biases, and scales and shifts of norms - are not decayed: pulling them to
    zero switches channels off instead of smoothing the function.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=lr)


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the state of each parameter, named ``<group>.<parameter>.<entry>``, as dense tensors on the CPU."""
    return {
        f"{group}.{index}.{entry}": value.detach().cpu().contiguous()
        for group, settings in enumerate(optimizer.param_groups)
        for index, parameter in enumerate(settings["params"])
        for entry, value in optimizer.state[parameter].items()
    }


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` took, into an optimiser built over the same model.

    Moments get the memory layout of their parameter, so that the next update runs the very same kernels.
    """
    for name, value in tensors.items():
        group, index, entry = name.split(".")
        parameter = optimizer.param_groups[int(group)]["params"][int(index)]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter).copy_(value)
        optimizer.state[parameter][entry] = value
