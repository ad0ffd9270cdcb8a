"""Sums over all devices of a run, through which gradients flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Total = Callable[[Tensor], Tensor]
"""Adds up a tensor over all devices."""


def alone(tensor: Tensor) -> Tensor:
    """Return the sum over one device: the tensor itself."""
    return tensor


class AllSum(torch.autograd.Function):
    """The sum of a tensor over all processes.

    A loss made of such sums is the same number in every process: that of the whole batch. Backward hands each process
    the gradient of that loss times the number of processes, which is what averaging gradients afterwards, as data
    parallel training does, divides by. So the average is the exact gradient of the whole batch.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        """Return the sum in every process."""
        total = tensor.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient for this process's share of the sum."""
        return gradient * torch.distributed.get_world_size()


def total_over(devices: int) -> Total:
    """Return what adds up over ``devices`` processes."""
    if devices == 1:
        return alone
    apply: Total = AllSum.apply
    return apply
