"""What a network sees of a batch: raw values normalised and augmented on the device that trains, all at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from satseg.raster.bands import Normaliser, upload
from satseg.records import BandStatistics
from satseg.training.augment import Draw
from satseg.training.radiometry import add_noise, adjust, bend, blur
from satseg.training.sampling import Batch
from satseg.training.warp import warp

_SHARP = 0.25  # pixels: a Gaussian that is narrower blurs nothing


def prepare(batch: Batch, statistics: BandStatistics, device: torch.device) -> tuple[Tensor, Tensor]:
    """Normalise a batch and do to it what was drawn.

    Args:
        batch: Raw samples, turned and mixed already.
        statistics: Statistics of the training tiles.
        device: Where to compute.

    Returns:
        Images (N, C, S, S) float32 in channels-last order, 0 where not valid, which is the training mean; and targets
        (N, S, S) int64, 255 = ignore.
    """
    bands = upload(batch.bands, device)
    labels, valid = (torch.from_numpy(part).to(device) for part in (batch.labels, batch.valid))
    images, draws = Normaliser(statistics, device)(bands, valid), batch.draws
    images, labels, valid = _move(images, labels, valid, draws)
    images = _light(images, draws, statistics)
    images = images * valid[:, None]
    return images.contiguous(memory_format=torch.channels_last), labels.long()


def _move(images: Tensor, labels: Tensor, valid: Tensor, draws: Draw) -> tuple[Tensor, Tensor, Tensor]:
    """Warp those samples that are to be warped."""
    chosen = np.flatnonzero((draws.angle != 0) | (draws.zoom != 1))
    if not chosen.size:
        return images, labels, valid
    index = torch.from_numpy(chosen).to(images.device)
    angle, zoom = (_on(images, part[chosen]) for part in (draws.angle, draws.zoom))
    parts = warp(images[index], labels[index], valid[index], angle, zoom)
    wholes = (images, labels.clone(), valid.clone())  # images are ours; the others may be the batch's own memory
    for whole, part in zip(wholes, parts, strict=True):
        whole[index] = part
    return wholes


def _light(images: Tensor, draws: Draw, statistics: BandStatistics) -> Tensor:
    """Blur, bend, adjust, add noise and drop bands, in the order of air, light and sensor; only what is due."""
    chosen = np.flatnonzero(draws.blur > _SHARP)
    if chosen.size:
        index = torch.from_numpy(chosen).to(images.device)
        images[index] = blur(images[index], _on(images, draws.blur[chosen]))
    if (draws.gamma != 1).any():
        images = bend(images, _on(images, draws.gamma), statistics)
    images = adjust(images, _on(images, draws.gain), _on(images, draws.offset))
    if draws.noise.any():
        images = add_noise(images, _on(images, draws.noise), draws.noise_seed.tolist())
    if not draws.kept.all():
        images = images * _on(images, draws.kept)[..., None, None]
    return images


def _on(images: Tensor, part: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(part)).to(images.device)
