"""Measure how far a network sees in practice: the effective receptive field of Luo et al., arXiv 1701.04128 (2016).

On paper a pixel of the output depends on hundreds of pixels around it; most of them hardly count. Gradients
fall off from the centre like a bell, and the square that holds most of them is what windows need to overlap by.
"""

from __future__ import annotations

import numpy as np
import torch

from satseg.exported.model import OnnxModel
from satseg.inference.network import Member, Network

_SMALLEST = 128
_JITTER = 16  # pixels: what a pixel sees depends on where it lies in the cells of a strided network


def effective_receptive_field(
    network: Network, *, window: int = 256, share: float = 0.95, samples: int = 2, seed: int = 0
) -> int | None:
    """Return the side of the square around a pixel that holds most of the gradient of its logits.

    Random images go through each model in float32, forth and back: in a small window first, which is enough for a
    network that sees less than half of it. See ``Views.span`` for what that is in pixels of a scene.

    Args:
        network: Its models are measured one by one; the farthest sight counts.
        window: Side of the largest window to try, 32 or more; no field is found to be larger. An overlap is at most
            0.139 of a window, so 256 is enough for windows of up to 1800 px.
        share: Share of the summed absolute gradient, between 0 and 1.
        samples: Images per model and window.
        seed: Of the images; equal seeds give equal fields on one kind of device.

    Returns:
        Side in pixels of the training, 1 to ``window``; None where no gradient reaches the images. Through ONNX files
        none goes: they say what was measured when they were exported.
    """
    sides = [_member_side(member, network.device, window, share, samples, seed) for member in network.members]
    return max((side for side in sides if side is not None), default=None)


def _member_side(
    member: Member, device: torch.device, window: int, share: float, samples: int, seed: int
) -> int | None:
    if isinstance(member.model, OnnxModel):
        return member.model.receptive_field
    tried = min(_SMALLEST, window)
    while True:
        rings = _gradient_by_distance(member, device, tried, samples, seed)
        if not rings.sum() > 0:
            return None
        side = 2 * int(np.searchsorted(rings.cumsum(), share * rings.sum())) + 1
        if side <= tried // 2 or tried == window:
            return min(side, tried)
        tried = min(2 * tried, window)


def _gradient_by_distance(member: Member, device: torch.device, window: int, samples: int, seed: int) -> np.ndarray:
    """Sum absolute gradients over bands and images by their distance, in rings of one pixel: (D,) float64."""
    generator = torch.Generator().manual_seed(seed)
    rings = np.zeros(window)
    for _ in range(samples):
        images = torch.randn(1, member.channels, window, window, generator=generator)
        row, column = (window // 2 + torch.randint(-_JITTER, _JITTER, (2,), generator=generator)).tolist()
        gradient = _gradient(member, images.to(device), row, column, generator)
        rows, columns = np.ogrid[:window, :window]
        distance = np.maximum(abs(rows - row), abs(columns - column))
        rings += np.bincount(distance.ravel(), weights=gradient.ravel(), minlength=window)
    return rings


@torch.enable_grad()
def _gradient(member: Member, images: torch.Tensor, row: int, column: int, generator: torch.Generator) -> np.ndarray:
    """Return (H, W) float64, how strongly the logits of a pixel react to each pixel; zero where they do not."""
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    logits = member.model(images)[0, :, row, column]
    if not logits.requires_grad:
        return np.zeros(images.shape[-2:])
    # A random mixture: the plain sum of logits may be nearly constant, since softmax does not care for it.
    mixture = torch.randn(len(logits), generator=generator).to(logits.device)
    (gradient,) = torch.autograd.grad((logits * mixture).sum(), images)
    found: np.ndarray = gradient.abs().sum(dim=(0, 1)).double().cpu().numpy()
    return found
