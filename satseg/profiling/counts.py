"""Machine-independent cost of networks: parameters and multiply-adds."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(model: nn.Module) -> int:
    """Count the learnable parameters, without those of modules named ``aux...``, which only training needs."""
    named = ((name.split("."), parameter) for name, parameter in model.named_parameters())
    return sum(p.numel() for parts, p in named if p.requires_grad and not any(part.startswith("aux") for part in parts))


def count_multiply_adds(model: nn.Module, *, in_channels: int, height: int, width: int) -> int:
    """Count the multiply-adds of convolutions and matrix products for one image.

    Normalisation, activations and interpolation are not counted, as in the literature. A network on the ``meta`` device
    needs neither memory nor computation for this.

    Args:
        model: A network; it is left in eval mode.
        in_channels: Bands of the image.
        height: Rows of the image.
        width: Columns of the image.
    """
    like = next(model.parameters())
    images = torch.empty(1, in_channels, height, width, device=like.device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(images)
    return int(counter.get_total_flops()) // 2  # the counter counts a multiplication and an addition as two
