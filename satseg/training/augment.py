"""Augmentation parameters of a sample: geometry, radiometry, noise, dropped bands and CutMix.

Parameters are drawn from a random generator seeded by (seed, epoch, sample), so that a sample is augmented in the same
way whatever the thread, the order of preparation and the number of devices. :mod:`satseg.training.prepare` applies them
to whole batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from satseg.training.augmentation import Augmentation

SYMMETRIES = 8


@dataclass(frozen=True, eq=False)
class AugmentationParams:
    """Augmentation parameters of one sample, or of a batch: then every array has a leading axis N.

    Args:
        symmetry: () int64, 0..7: number of 90 degree rotations, plus 4 if the columns are mirrored first.
        angle: () float32, degrees of free rotation, anticlockwise with the first row on top.
        zoom: () float32, factor of the size; 1 leaves it unchanged.
        shift: (2,) float32, shift of the contents to the right and downwards, as a fraction of the tile.
        gamma: (C,) float32, exponent of each band.
        gain: (C,) float32, factor on the normalised values of each band.
        offset: (C,) float32, added to the normalised values of each band.
        noise: () float32, standard deviation of the noise.
        noise_seed: () int64, seed of the noise.
        blur: () float32, standard deviation of the blur in pixels.
        kept: (C,) bool, False for dropped bands.
    """

    symmetry: np.ndarray
    angle: np.ndarray
    zoom: np.ndarray
    shift: np.ndarray
    gamma: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    noise: np.ndarray
    noise_seed: np.ndarray
    blur: np.ndarray
    kept: np.ndarray


def draw_params(augmentation: Augmentation, num_bands: int, rng: np.random.Generator) -> AugmentationParams:
    """Draw the augmentation parameters of one sample.

    Half of the variance of gain, offset and gamma is shared by all bands (illumination), half is independent for each
    band (colour).
    """
    symmetry = int(rng.integers(SYMMETRIES)) if augmentation.symmetries else 0
    gain, offset = _per_band(rng, 2, num_bands)
    (gamma,) = _per_band(rng, 1, num_bands)
    warped = rng.random() < augmentation.warp
    angle, zoom = rng.uniform(-1, 1, 2) * warped
    noise, blur = rng.random(2)
    kept = rng.random(num_bands) >= augmentation.band_dropout
    noise_seed = rng.integers(2**62)
    shift = rng.uniform(-1, 1, 2) * warped
    return AugmentationParams(
        symmetry=np.array(symmetry),
        angle=np.array(augmentation.rotation * angle, dtype=np.float32),
        zoom=np.array(augmentation.scale**zoom, dtype=np.float32),
        shift=(augmentation.shift * shift).astype(np.float32),
        gamma=np.exp(augmentation.gamma * gamma).astype(np.float32),
        gain=np.exp(augmentation.gain * gain).astype(np.float32),
        offset=(augmentation.offset * offset).astype(np.float32),
        noise=np.array(augmentation.noise * noise, dtype=np.float32),
        noise_seed=np.array(noise_seed),
        blur=np.array(augmentation.blur * blur, dtype=np.float32),
        kept=kept | ~kept.any(),
    )


def stack_params(params: Sequence[AugmentationParams]) -> AugmentationParams:
    """Stack the parameters of samples into those of a batch."""
    return AugmentationParams(
        *(np.stack([getattr(one, part.name) for one in params]) for part in fields(AugmentationParams))
    )


def cutmix_box(size: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Draw rows and columns of a CutMix rectangle in a square of ``size`` pixels, with area fraction Beta(1, 1).

    The sides are those of the square times the root of a uniform random number in 0..1, and clipped to the square.
    """
    side = size * np.sqrt(rng.random())
    centres = rng.uniform(0, size, 2)
    starts = np.clip(centres - side / 2, 0, size).round().astype(int)
    stops = np.clip(centres + side / 2, 0, size).round().astype(int)
    return slice(int(starts[0]), int(stops[0])), slice(int(starts[1]), int(stops[1]))


def apply_symmetry(array: np.ndarray, symmetry: int) -> np.ndarray:
    """Apply one of the eight symmetries to (..., H, W) and return a view; odd rotations swap H and W."""
    if symmetry >= 4:
        array = array[..., ::-1]
    return np.rot90(array, symmetry % 4, axes=(-2, -1))


def _per_band(rng: np.random.Generator, rows: int, num_bands: int) -> np.ndarray:
    """Return (rows, C) standard normal numbers; half of the variance is shared within a row."""
    common, own = rng.standard_normal((rows, 1)), rng.standard_normal((rows, num_bands))
    mixed: np.ndarray = (common + own) / np.sqrt(2)
    return mixed
