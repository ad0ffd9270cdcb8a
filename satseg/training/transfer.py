"""Start a network from the weights of another one, so far as they fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from satseg.errors import CheckpointError

LEAST = 0.1  # of the tensors: fewer have the same name and shape by chance


@dataclass(frozen=True)
class Transfer:
    """What came over.

    Args:
        loaded: Names of tensors that were taken.
        reshaped: Names of tensors of another shape, with theirs and ours; they stay fresh.
        missing: Names of tensors that the source does not have; they stay fresh.
        unused: Names of tensors of the source that the network does not have.
    """

    loaded: tuple[str, ...]
    reshaped: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """Say what was not loaded, and why."""
        kinds = (("of another shape", self.reshaped), ("missing there", self.missing), ("unknown here", self.unused))
        rest = [f"{kind}: {', '.join(names)}" for kind, names in kinds if names]
        taken = len(self.loaded)
        whole = taken + len(self.reshaped) + len(self.missing)
        return "; ".join([f"{taken} of {whole} tensors taken", *rest])


def transfer(model: nn.Module, weights: Mapping[str, Tensor]) -> Transfer:
    """Copy the weights whose name, shape and kind of numbers a network has, and leave its others as they are.

    Args:
        model: The network that takes them.
        weights: State dict of another network.

    Raises:
        CheckpointError: Hardly any fits: it is another architecture.
    """
    own = model.state_dict()
    same = [name for name in own if name in weights]
    fitting = [name for name in same if _fits(weights[name], own[name])]
    learnt = [name for name in own if own[name].is_floating_point()]  # counts of batches fit anything
    taken = len(set(learnt).intersection(fitting))
    if taken < LEAST * len(learnt):
        raise CheckpointError(
            f"Only {taken} of {len(learnt)} tensors of this network are there in the same shape.",
            hint="Start from a network of the same architecture and options.",
        )
    with torch.no_grad():
        for name in fitting:
            own[name].copy_(weights[name])
    return Transfer(
        loaded=tuple(fitting),
        reshaped=tuple(
            f"{name} {tuple(weights[name].shape)} for {tuple(own[name].shape)}" for name in same if name not in fitting
        ),
        missing=tuple(name for name in own if name not in weights),
        unused=tuple(name for name in weights if name not in own),
    )


def _fits(theirs: Tensor, ours: Tensor) -> bool:
    """Tell whether shapes agree, and both are floats or neither is: quantised weights mean something else."""
    return theirs.shape == ours.shape and theirs.is_floating_point() == ours.is_floating_point()
