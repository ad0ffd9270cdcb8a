"""Choose a batch size that fits into memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.memory import free_memory

DEFAULT, GPU_DEFAULT = 8, 32  # small batches leave a GPU idle
LARGEST = 64  # larger batches mean fewer updates and hardly more throughput
MEMORY_FRACTION = 0.5  # of the free memory; the rest is for optimiser state, workspaces of kernels and cached tiles


def choose_batch_size(
    model: nn.Module, *, in_channels: int, size: int, tiles: int, most: int = LARGEST, free_bytes: int | None = None
) -> int:
    """Choose the largest power of two whose training step fits into memory.

    The memory of a step is computed, not tried out: it is that of the tensors which a forward pass saves for the
    backward pass. They are counted as float32 even if training runs in lower precision, which is a safe overestimate.

    Args:
        model: The network, in training mode, on the device that will train it.
        in_channels: Bands of its input.
        size: Side of a tile in pixels.
        tiles: Number of training tiles; a batch is no larger.
        most: The largest batch size to choose.
        free_bytes: Free memory of the device in bytes; None queries the device.

    Returns:
        Tiles per batch, at least 1.
    """
    device = next(model.parameters()).device
    budget = MEMORY_FRACTION * (_free_bytes(device) if free_bytes is None else free_bytes)
    one, two = (_saved_bytes(model, torch.zeros(count, in_channels, size, size, device=device)) for count in (1, 2))
    fixed, each = max(0, 2 * one - two), max(1, two - one)
    batch = 1
    while 2 * batch <= min(most, tiles) and fixed + 2 * batch * each <= budget:
        batch *= 2
    return batch


def _saved_bytes(model: nn.Module, images: Tensor) -> int:
    """Return the bytes that a forward pass saves for the backward pass; each storage is counted once."""
    saved: dict[int, int] = {}

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    before = {name: buffer.clone() for name, buffer in model.named_buffers()}  # a forward pass updates batch norms
    forward = getattr(model, "forward_with_aux", model)
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        outputs = forward(images)
    del outputs
    for name, buffer in model.named_buffers():
        buffer.copy_(before[name])
    return sum(saved.values())


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()
