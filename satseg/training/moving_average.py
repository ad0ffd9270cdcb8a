"""Exponential moving average (EMA) of the weights of a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Exponential moving average of all parameters and of the running statistics of norms.

    The decay starts lower, (1 + t) / (10 + t) after t updates, so that the initial weights are forgotten soon.

    Args:
        model: The network, on its device.
        decay: Weight of the previous average in an update, 0..1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._live = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
        self._averages = {name: tensor.clone() for name, tensor in self._live.items()}
        self._decay = decay

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Add the current weights to the average.

        Args:
            updates: Optimiser updates done before.
        """
        decay = min(self._decay, (1 + updates) / (10 + updates))
        for name, average in self._averages.items():
            average.lerp_(self._live[name], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Swap the averages into the network for the duration of the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def tensors(self) -> dict[str, Tensor]:
        """Return the averages by parameter name, on the CPU."""
        return {name: average.cpu().contiguous() for name, average in self._averages.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`tensors` returned."""
        for name, average in self._averages.items():
            average.copy_(tensors[name])

    @torch.no_grad()
    def _swap(self) -> None:
        for name, average in self._averages.items():
            live = average.clone()
            average.copy_(self._live[name])
            self._live[name].copy_(live)
