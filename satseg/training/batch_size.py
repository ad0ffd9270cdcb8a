"""How many tiles fit into memory at once."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

LARGEST = 64  # beyond that, updates get rarer and hardly faster
SHARE = 0.5  # of the free memory; the rest is for the optimiser, the kernels' work space, tiles, and others


def choose_batch_size(
    model: nn.Module, *, in_channels: int, size: int, tiles: int, free_bytes: int | None = None
) -> int:
    """Choose the largest power of two, 64 at most, whose training step fits into memory.

    What a step holds is counted, not tried: the tensors that a forward pass keeps for the backward pass. They are of
    float32 also where training is in lower precision, which errs on the safe side.

    Args:
        model: The network, in training mode, on the device that will train it.
        in_channels: Bands of its input.
        size: Side of a tile in pixels.
        tiles: Training tiles; a batch holds no more.
        free_bytes: Memory that is free on the device; None asks the device.

    Returns:
        Tiles of a batch, at least 1.
    """
    device = next(model.parameters()).device
    budget = SHARE * (_free_bytes(device) if free_bytes is None else free_bytes)
    one, two = (_kept_bytes(model, torch.zeros(count, in_channels, size, size, device=device)) for count in (1, 2))
    fixed, each = max(0, 2 * one - two), max(1, two - one)
    batch = 1
    while 2 * batch <= min(LARGEST, tiles) and fixed + 2 * batch * each <= budget:
        batch *= 2
    return batch


def _kept_bytes(model: nn.Module, images: Tensor) -> int:
    """Return the bytes that one forward pass keeps for the backward pass, each storage counted once."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    before = {name: buffer.clone() for name, buffer in model.named_buffers()}  # norms note what passes through them
    forward = getattr(model, "forward_with_aux", model)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = forward(images)
    del outputs
    for name, buffer in model.named_buffers():
        buffer.copy_(before[name])
    return sum(kept.values())


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo") as file:
            found = next(line for line in file if line.startswith("MemAvailable:"))
        return int(found.split()[1]) * 1024
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
