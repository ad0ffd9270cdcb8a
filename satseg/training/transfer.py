"""Transfer learning: initialise a network with the matching weights of another one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from satseg.checkpoint import Checkpoint
from satseg.errors import CheckpointError
from satseg.geo.units import Gsd

log = logging.getLogger("satseg")

MIN_FRACTION = 0.1  # of the tensors: fewer match by chance
OTHER_SCALE = 2.0  # pixel sizes further apart show objects larger or smaller than augmentation makes them


@dataclass(frozen=True)
class Transfer:
    """Result of a transfer, as names of tensors.

    Args:
        loaded: Tensors that were copied.
        reshaped: Tensors with another shape, with both shapes; they keep their initial values.
        missing: Tensors that the source does not have; they keep their initial values.
        unused: Tensors of the source that the network does not have.
    """

    loaded: tuple[str, ...]
    reshaped: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """Summarise what was loaded, and what was not and why."""
        kinds = (("different shape", self.reshaped), ("missing", self.missing), ("unused", self.unused))
        rest = [f"{kind}: {', '.join(names)}" for kind, names in kinds if names]
        loaded = len(self.loaded)
        whole = loaded + len(self.reshaped) + len(self.missing)
        return "; ".join([f"{loaded} of {whole} tensors loaded", *rest])


def transfer(model: nn.Module, weights: Mapping[str, Tensor]) -> Transfer:
    """Copy the weights that match a network by name, shape and kind of number; leave its other weights unchanged.

    Args:
        model: The network to initialise.
        weights: State dict of another network.

    Raises:
        CheckpointError: Less than a tenth of the tensors match: it is another architecture.
    """
    own = model.state_dict()
    same = [name for name in own if name in weights]
    fitting = [name for name in same if _fits(weights[name], own[name])]
    learnt = [name for name in own if own[name].is_floating_point()]  # batch counters match in any network
    loaded = len(set(learnt).intersection(fitting))
    if loaded < MIN_FRACTION * len(learnt):
        raise CheckpointError(
            f"Only {loaded} of {len(learnt)} tensors match this network by name and shape.",
            hint="Choose a checkpoint of the same architecture with the same options.",
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


def start_from(model: nn.Module, checkpoint: str, gsd: Gsd) -> None:
    """Copy the matching weights of a checkpoint into a network, and log what does not match.

    Args:
        model: The network to initialise.
        checkpoint: File or run.
        gsd: Ground metres per pixel of the tiles along x and y, or None where they are unknown.

    Raises:
        CheckpointError: The checkpoint cannot be read, or is one of another architecture.
    """
    source = Checkpoint.load(checkpoint)
    theirs = source.card.gsd
    if gsd and theirs and not 1 / OTHER_SCALE <= gsd[0] / theirs[0] <= OTHER_SCALE:
        log.warning(
            "%s has learnt at %.3g m per pixel and the tiles have %.3g m: what it knows of shapes and sizes is of "
            "another scale. Cut tiles of a similar pixel size (`gsd`) to make use of it.",
            source.path,
            theirs[0],
            gsd[0],
        )
    try:
        log.info("Starting from %s: %s.", source.path, transfer(model, source.read_weights()))
    except CheckpointError as error:
        raise CheckpointError(
            f"The network cannot start from {source.path}. {error.message}", hint=error.hint
        ) from error


def _fits(theirs: Tensor, ours: Tensor) -> bool:
    """Return whether shapes agree, and both or neither are floats: quantised weights have another meaning."""
    return theirs.shape == ours.shape and theirs.is_floating_point() == ours.is_floating_point()
