"""Augmentation parameters of a sample: geometry, radiometry, noise, dropped bands and CutMix.

Parameters are drawn from a random generator seeded by (seed, epoch, sample), so that a sample is augmented in the same
way whatever the thread, the order of preparation and the number of devices. :mod:`satseg.training.prepare` applies them
to whole batches.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from satseg.errors import UsageError
from satseg.signatures import check_fields

SYMMETRIES = 8


@dataclass(frozen=True)
class Augmentation:
    """Ranges of random augmentation. The defaults are the preset ``light``.

    Args:
        symmetries: Rotate by multiples of 90 degrees and flip: the eight symmetries of the square (D4).
        gain: Contrast: standard deviation of the logarithm of a factor on normalised values.
        offset: Brightness: standard deviation of an offset, in standard deviations of the band.
        gamma: Standard deviation of the logarithm of the exponent, see :func:`satseg.training.radiometry.adjust_gamma`.
        warp: Fraction of samples that are rotated and scaled freely; pixels from outside the tile are ignored.
        rotation: Maximum angle of free rotation, in degrees.
        scale: Maximum factor of free scaling, in and out.
        noise: Maximum standard deviation of white noise, in standard deviations of the band.
        blur: Maximum standard deviation of a Gaussian blur, in pixels.
        band_dropout: Fraction of bands that are set to their mean; never all bands of a sample.
        cutmix: Fraction of samples that get a rectangle of another training tile, labels included (Yun et al. 2019).

    Raises:
        UsageError: A value is out of its range.
    """

    symmetries: bool = True
    gain: float = 0.1
    offset: float = 0.1
    gamma: float = 0.0
    warp: float = 0.0
    rotation: float = 45.0
    scale: float = 1.5
    noise: float = 0.0
    blur: float = 0.0
    band_dropout: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("warp", "band_dropout", "cutmix"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"The augmentation `{name}={getattr(self, name)}` is not in the range 0 to 1.")
        for name, least in (("scale", 1), *((n, 0) for n in ("gain", "offset", "gamma", "rotation", "noise", "blur"))):
            if not getattr(self, name) >= least:
                raise UsageError(f"The augmentation `{name}={getattr(self, name)}` is below {least}.")


PRESETS = {
    "none": Augmentation(symmetries=False, gain=0.0, offset=0.0),
    "light": Augmentation(),
    "strong": Augmentation(
        gain=0.2, offset=0.2, gamma=0.2, warp=0.5, noise=0.1, blur=1.0, band_dropout=0.05, cutmix=0.25
    ),
}


def find_augmentation(name: str) -> Augmentation:
    """Return a preset by its name.

    Raises:
        UsageError: The preset does not exist.
    """
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name, PRESETS, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Choose from {', '.join(PRESETS)}."
    raise UsageError(f"There is no augmentation {name!r}.", hint=hint)


@dataclass(frozen=True, eq=False)
class AugmentationParams:
    """Augmentation parameters of one sample, or of a batch: then every array has a leading axis N.

    Args:
        symmetry: () int64, 0..7: number of 90 degree rotations, plus 4 if the columns are mirrored first.
        angle: () float32, degrees of free rotation, anticlockwise with the first row on top.
        zoom: () float32, factor of the size; 1 leaves it unchanged.
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
    return AugmentationParams(
        symmetry=np.array(symmetry),
        angle=np.array(augmentation.rotation * angle, dtype=np.float32),
        zoom=np.array(augmentation.scale**zoom, dtype=np.float32),
        gamma=np.exp(augmentation.gamma * gamma).astype(np.float32),
        gain=np.exp(augmentation.gain * gain).astype(np.float32),
        offset=(augmentation.offset * offset).astype(np.float32),
        noise=np.array(augmentation.noise * noise, dtype=np.float32),
        noise_seed=np.array(rng.integers(2**62)),
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
