"""Prepare batches for training: normalise and augment whole batches on the training device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from satseg.raster.bands import Normaliser, upload
from satseg.records import BandStatistics, Clipping
from satseg.training.augment import AugmentationParams
from satseg.training.radiometry import add_noise, adjust_gamma, gaussian_blur, scale_and_shift
from satseg.training.sampling import Batch
from satseg.training.warp import warp

_Parts = tuple[Tensor, Tensor, Tensor, Tensor]

_MIN_BLUR = 0.25  # pixels: a narrower Gaussian changes nothing visible


def prepare(
    batch: Batch, statistics: BandStatistics, device: torch.device, *, clipping: Clipping | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise and augment a batch.

    Args:
        batch: Raw samples with symmetries and CutMix already applied.
        statistics: Band statistics of the training tiles.
        device: Device to compute on.
        clipping: What normalises bands with heavy tails, or None.

    Returns:
        Images (N, C, S, S) float32 in channels-last order, invalid pixels 0 (the training mean); targets (N, S, S)
        int64, 255 = ignore; and objects (N, P, S, S).
    """
    bands = upload(batch.bands, device)
    labels, valid, objects = (torch.from_numpy(part).to(device) for part in (batch.labels, batch.valid, batch.objects))
    images, params = Normaliser(statistics, device, clipping)(bands, valid), batch.params
    images, labels, valid, objects = _warp((images, labels, valid, objects), params)
    images = _change_radiometry(images, params, clipping.middle(statistics) if clipping else statistics)
    images = images * valid[:, None]
    return images.contiguous(memory_format=torch.channels_last), labels.long(), objects


def _warp(parts: _Parts, params: AugmentationParams) -> _Parts:
    """Warp the samples that have an angle, a zoom or a shift."""
    images, labels, valid, objects = parts
    chosen = np.flatnonzero((params.angle != 0) | (params.zoom != 1) | (params.shift != 0).any(axis=1))
    if not chosen.size:
        return parts
    index = torch.from_numpy(chosen).to(images.device)
    angle, zoom, shift = (_on(images, part[chosen]) for part in (params.angle, params.zoom, params.shift))
    warped = warp(images[index], labels[index], valid[index], objects[index], angle, zoom, shift)
    wholes = (images, labels.clone(), valid.clone(), objects.clone())  # all but images may share memory with the batch
    for whole, part in zip(wholes, warped, strict=True):
        whole[index] = part
    return wholes


def _change_radiometry(images: Tensor, params: AugmentationParams, statistics: BandStatistics) -> Tensor:
    """Blur, change gamma, gain and offset, add noise and drop bands: atmosphere, illumination, sensor."""
    chosen = np.flatnonzero(params.blur > _MIN_BLUR)
    if chosen.size:
        index = torch.from_numpy(chosen).to(images.device)
        images[index] = gaussian_blur(images[index], _on(images, params.blur[chosen]))
    if (params.gamma != 1).any():
        images = adjust_gamma(images, _on(images, params.gamma), statistics)
    images = scale_and_shift(images, _on(images, params.gain), _on(images, params.offset))
    if params.noise.any():
        images = add_noise(images, _on(images, params.noise), params.noise_seed.tolist())
    if not params.kept.all():
        images = images * _on(images, params.kept)[..., None, None]
    return images


def _on(images: Tensor, part: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(part)).to(images.device)
