"""What happens to a sample, drawn from its own random generator: geometry, light, noise, lost bands, and CutMix.

A draw is a plain record, so what happens to a sample is a function of (seed, epoch, sample) alone, in whatever thread
and order samples are prepared, and on however many devices. :mod:`satseg.training.prepare` does it to whole batches.
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
    """How far samples may be changed. Without an argument, it is the preset ``light``.

    Args:
        symmetries: Whether to turn and flip: the eight symmetries of the square (D4), exact on the pixel grid.
        gain: Standard deviation of the logarithm of the gain; contrast around the training mean.
        offset: Standard deviation of the offset, in standard deviations of the band; brightness.
        gamma: Standard deviation of the logarithm of the exponent, see :func:`satseg.training.radiometry.bend`.
        warp: Share of samples that are rotated and scaled freely; what comes from outside the tile is ignored.
        rotation: Largest angle of these, in degrees.
        scale: Largest zoom of these, in and out.
        noise: Largest standard deviation of white noise, in standard deviations of the band.
        blur: Largest standard deviation of the Gaussian that blurs, in pixels.
        band_dropout: Share of bands that are set to their mean; never all bands of a sample.
        cutmix: Share of samples that get a rectangle of another training tile, labels included (Yun et al. 2019).
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
                raise UsageError(f"The share {name} = {getattr(self, name)} of an augmentation is not in 0..1.")
        for name, least in (("scale", 1), *((n, 0) for n in ("gain", "offset", "gamma", "rotation", "noise", "blur"))):
            if not getattr(self, name) >= least:
                raise UsageError(f"The {name} = {getattr(self, name)} of an augmentation is below {least}.")


PRESETS = {
    "none": Augmentation(symmetries=False, gain=0.0, offset=0.0),
    "light": Augmentation(),
    "strong": Augmentation(
        gain=0.2, offset=0.2, gamma=0.2, warp=0.5, noise=0.1, blur=1.0, band_dropout=0.05, cutmix=0.25
    ),
}


def find_augmentation(name: str) -> Augmentation:
    """Return the preset of that name.

    Raises:
        UsageError: There is none.
    """
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name, PRESETS, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Choose from {', '.join(PRESETS)}."
    raise UsageError(f"There is no augmentation {name!r}.", hint=hint)


@dataclass(frozen=True, eq=False)
class Draw:
    """What is done to one sample; of a batch, every array has an axis N in front.

    Args:
        symmetry: () int64, 0..7: quarter turns, plus 4 where the columns are mirrored first.
        angle: () float32 degrees of free rotation, anticlockwise as seen with the first row on top.
        zoom: () float32 factor of the size; 1 is none.
        gamma: (C,) float32 exponent of each band.
        gain: (C,) float32 factor of each band's normalised values.
        offset: (C,) float32 summand of each band's normalised values.
        noise: () float32 standard deviation.
        noise_seed: () int64 seed of the noise.
        blur: () float32 standard deviation in pixels.
        kept: (C,) bool, bands that are not dropped.
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


def draw(augmentation: Augmentation, num_bands: int, rng: np.random.Generator) -> Draw:
    """Draw what to do to one sample.

    Half of the variance of gain, offset and gamma is common to all bands (light), half is each band's own (colour).
    """
    symmetry = int(rng.integers(SYMMETRIES)) if augmentation.symmetries else 0
    gain, offset = _per_band(rng, 2, num_bands)
    (gamma,) = _per_band(rng, 1, num_bands)
    warped = rng.random() < augmentation.warp
    angle, zoom = rng.uniform(-1, 1, 2) * warped
    noise, blur = rng.random(2)
    kept = rng.random(num_bands) >= augmentation.band_dropout
    return Draw(
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


def stack_draws(draws: Sequence[Draw]) -> Draw:
    """Return the draws of a batch as one."""
    return Draw(*(np.stack([getattr(one, part.name) for one in draws]) for part in fields(Draw)))


def draw_box(size: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Draw rows and columns of a rectangle in a square of ``size`` pixels, as CutMix does with Beta(1, 1).

    Its sides are those of the square times the root of a share that is uniform in 0..1; what lies beyond the square is
    cut off.
    """
    side = size * np.sqrt(rng.random())
    centres = rng.uniform(0, size, 2)
    starts = np.clip(centres - side / 2, 0, size).round().astype(int)
    stops = np.clip(centres + side / 2, 0, size).round().astype(int)
    return slice(int(starts[0]), int(stops[0])), slice(int(starts[1]), int(stops[1]))


def turn(array: np.ndarray, symmetry: int) -> np.ndarray:
    """Apply one of the eight symmetries to (..., H, W); returns a view, turned shapes swap H and W."""
    if symmetry >= 4:
        array = array[..., ::-1]
    return np.rot90(array, symmetry % 4, axes=(-2, -1))


def _per_band(rng: np.random.Generator, rows: int, num_bands: int) -> np.ndarray:
    """Return (rows, C) normal numbers of variance 1, of which half is common to a row."""
    common, own = rng.standard_normal((rows, 1)), rng.standard_normal((rows, num_bands))
    mixed: np.ndarray = (common + own) / np.sqrt(2)
    return mixed
