"""Augmentation for any number of bands: exact symmetries of the square, and gain and offset per band.

A draw is a plain record, so what happens to a sample is decided by its random generator alone, in whatever thread
and order samples are prepared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SYMMETRIES = 8


@dataclass(frozen=True)
class Augmentation:
    """How far samples may be changed.

    Args:
        symmetries: Whether to turn and flip: the eight symmetries of the square (D4), exact on the pixel grid.
        gain: Standard deviation of the logarithm of the gain; contrast around the training mean.
        offset: Standard deviation of the offset, in standard deviations of the band; brightness.
    """

    symmetries: bool = True
    gain: float = 0.1
    offset: float = 0.1


@dataclass(frozen=True, eq=False)
class Draw:
    """What is done to one sample.

    Args:
        symmetry: 0..7: quarter turns, plus 4 where the columns are mirrored first.
        gain: (C,) float32 factor of each band's normalised values.
        offset: (C,) float32 summand of each band's normalised values.
    """

    symmetry: int
    gain: np.ndarray
    offset: np.ndarray


def draw(augmentation: Augmentation, num_bands: int, rng: np.random.Generator) -> Draw:
    """Draw what to do to one sample.

    Half of the variance of gain and offset is common to all bands (light), half is each band's own (colour). There
    is no gamma: a power is not defined for normalised values, which lie on both sides of zero.
    """
    symmetry = int(rng.integers(SYMMETRIES)) if augmentation.symmetries else 0
    common, own = rng.standard_normal((2, 1)), rng.standard_normal((2, num_bands))
    gain, offset = (common + own) / np.sqrt(2)
    return Draw(
        symmetry,
        np.exp(augmentation.gain * gain).astype(np.float32),
        (augmentation.offset * offset).astype(np.float32),
    )


def turn(array: np.ndarray, symmetry: int) -> np.ndarray:
    """Apply one of the eight symmetries to (..., H, W); returns a view, turned shapes swap H and W."""
    if symmetry >= 4:
        array = array[..., ::-1]
    return np.rot90(array, symmetry % 4, axes=(-2, -1))


def adjust(images: Tensor, gain: Tensor, offset: Tensor, valid: Tensor) -> Tensor:
    """Apply gain and offset to normalised images.

    Args:
        images: (N, C, H, W) float32, normalised.
        gain: (N, C) float32.
        offset: (N, C) float32.
        valid: (N, H, W) bool.

    Returns:
        (N, C, H, W) float32; pixels that are not valid stay at 0, the fill value of normalised images.
    """
    adjusted = torch.addcmul(offset[..., None, None], images, gain[..., None, None])
    return adjusted * valid[:, None]
