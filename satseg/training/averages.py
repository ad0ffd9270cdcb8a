"""Averages of the weights of a network, over its steps or over its validations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from satseg.training.interrupts import uninterrupted

_LEAD = 0.05  # mIoU, of single weights that were chosen by one tile


def needed_lead(tiles: int) -> float:
    """Return the validation mIoU by which the weights of a single step have to lead an average to be kept instead.

    The best of many validations is so partly by luck, the more the fewer tiles it is chosen by. On held-out ground,
    averages led the weights with the best validation score in four of four runs with four validation tiles, by 0.00 to
    0.03, though these had led by 0.00 to 0.02 in validation (``docs/recipes.md``).

    Args:
        tiles: Number of validation tiles; the lead falls with its square root, as the standard error of a score does.
    """
    return _LEAD / math.sqrt(tiles)


class WeightAverage:
    """Running average of all parameters and of the running statistics of norms; it begins with those of the network.

    One copy of the weights is kept, however many are averaged. With shares 1, 1/2, 1/3, ... it is the uniform average
    of stochastic weight averaging (Izmailov et al. 2018); their second pass over the data, which measures the
    statistics of batch norms anew, is left out: weights from the end of a run are close to each other, and so are their
    statistics, which are averaged like the weights. With constant shares it is an exponential moving average.

    Args:
        model: The network, on its device.
    """

    def __init__(self, model: nn.Module) -> None:
        self._live = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
        self._averages = {name: tensor.clone() for name, tensor in self._live.items()}

    @torch.no_grad()
    def add(self, share: float) -> None:
        """Add the current weights of the network.

        Args:
            share: Their share in the new average, 0..1.
        """
        torch._foreach_lerp_(list(self._averages.values()), list(self._live.values()), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Swap the averages into the network for the duration of the block; a signal interrupts no swap."""
        swapped = False
        try:
            with uninterrupted():
                self.swap()
                swapped = True
            yield
        finally:
            if swapped:
                with uninterrupted():
                    self.swap()

    def tensors(self) -> dict[str, Tensor]:
        """Return the averages by parameter name, on the CPU."""
        return {name: average.cpu().contiguous() for name, average in self._averages.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`tensors` returned."""
        for name, average in self._averages.items():
            average.copy_(tensors[name])

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averages and the weights of the network."""
        for name, average in self._averages.items():
            live = average.clone()
            average.copy_(self._live[name])
            self._live[name].copy_(live)
