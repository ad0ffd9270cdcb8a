"""What a network costs on any machine: parameters and multiply-adds."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(model: nn.Module) -> int:
    """Count the learnable values, without those of parts named ``aux...``, which serve training alone."""
    named = ((name.split("."), parameter) for name, parameter in model.named_parameters())
    return sum(p.numel() for parts, p in named if p.requires_grad and not any(part.startswith("aux") for part in parts))


def count_multiply_adds(model: nn.Module, *, in_channels: int, height: int, width: int) -> int:
    """Count the multiplications, each with its addition, of convolutions and matrix products for one image.

    Normalisation, activations and interpolation do not count, as in the papers. Built on the ``meta`` device, a network
    takes no memory and no arithmetic for this.

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
