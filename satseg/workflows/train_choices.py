"""What a run chooses by its device: the size of batches, and whether to compile the network."""

from __future__ import annotations

import logging

import torch
from torch import nn

from satseg.backend import Builder
from satseg.backend.device import can_compile
from satseg.training.batch_size import DEFAULT, GPU_DEFAULT, LARGEST, choose_batch_size
from satseg.training.recipe import Recipe
from satseg.training.schedule import Budget
from satseg.workflows.training_data import TrainingData

log = logging.getLogger("satseg")


def batch_size_for(recipe: Recipe, model: nn.Module, data: TrainingData, device: torch.device) -> int:
    """Return the batch size of the recipe, or else one for the device of the network, which fits into its memory."""
    if isinstance(recipe.batch_size, int):
        return recipe.batch_size
    if recipe.batch_size is None and device.type != "cuda":
        return DEFAULT
    size = choose_batch_size(
        model,
        in_channels=len(data.tile_set.bands),
        size=data.tile_set.tile_size,
        tiles=len(data.train),
        most=LARGEST if recipe.batch_size == "auto" else GPU_DEFAULT,
    )
    log.info("Batches have %d tiles, which fit into memory.", size)
    return size


def pays_to_compile(device: torch.device, budget: Budget, builder: str | Builder) -> bool:
    """Return whether a run is long enough to compile its network, on a GPU of NVIDIA and with a network of our own."""
    return device.type == "cuda" and budget.is_long and isinstance(builder, str) and can_compile()
