"""Radiometric augmentation of normalised images (N, C, H, W) float32, with parameters per sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from satseg.records import BandStatistics


def adjust_gamma(images: Tensor, gamma: Tensor, statistics: BandStatistics) -> Tensor:
    """Apply a gamma curve to each band.

    Raw values are scaled so that the minimum of the training tiles is 0 and their mean is 1, and raised to the power of
    gamma. Minimum and mean stay fixed; values above the mean are stretched (gamma above 1) or compressed (below 1),
    independently of the unit and the outliers of a band. Values below the minimum are set to it.

    Args:
        images: (N, C, H, W), normalised by ``statistics``.
        gamma: (N, C), above zero.
        statistics: Band statistics of the training tiles.
    """
    # In float64 on the CPU: in float32, a mean near 1e9 cannot be told from the minimum.
    mean, std, low = (torch.tensor(part, dtype=torch.float64) for part in _columns(statistics))
    height = ((mean - low) / torch.where(std > 0, std, 1.0)).float().to(images.device)[:, None, None]  # normalised
    safe = torch.where(height > 0, height, 1.0)
    bent = safe * ((images / safe + 1).clamp(min=0) ** gamma[..., None, None] - 1)
    return torch.where(height > 0, bent, images)


def scale_and_shift(images: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    """Multiply bands by ``gain`` (N, C) and add ``offset`` (N, C)."""
    return torch.addcmul(offset[..., None, None], images, gain[..., None, None])


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur with Gaussians of standard deviation ``sigma`` (N,) in pixels, above zero; edges are reflected."""
    count, bands, height, width = images.shape
    radius = min(math.ceil(3 * float(sigma.max())), height - 1, width - 1)
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    kernels = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)  # (N, 2 radius + 1)
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(bands, 0)[:, None]  # (N C, 1, ...)
    padded = F.pad(images, (radius, radius, radius, radius), mode="reflect")
    rows = F.conv2d(padded.flatten(0, 1)[None], kernels[:, :, None], groups=count * bands)
    return F.conv2d(rows, kernels[..., None], groups=count * bands).view(count, bands, height, width)


def add_noise(images: Tensor, std: Tensor, seeds: list[int]) -> Tensor:
    """Add white noise of standard deviation ``std`` (N,), with a seed per sample."""
    noise = [
        torch.randn(image.shape, generator=torch.Generator(images.device).manual_seed(seed), device=images.device)
        for image, seed in zip(images, seeds, strict=True)
    ]
    return torch.addcmul(images, torch.stack(noise), std[:, None, None, None])


def _columns(statistics: BandStatistics) -> tuple[tuple[float, ...], ...]:
    return statistics.mean, statistics.std, statistics.minimum
