"""Ranges of random augmentation, and their presets."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from satseg.errors import UsageError
from satseg.signatures import check_fields


@dataclass(frozen=True)
class Augmentation:
    """Ranges of random augmentation. The defaults are the preset ``light``.

    Args:
        symmetries: Rotate by multiples of 90 degrees and flip: the eight symmetries of the square (D4).
        gain: Contrast: standard deviation of the logarithm of a factor on normalised values.
        offset: Brightness: standard deviation of an offset, in standard deviations of the band.
        gamma: Standard deviation of the logarithm of the exponent, see :func:`satseg.training.radiometry.adjust_gamma`.
        warp: Fraction of samples that are rotated, scaled and shifted freely. What they show from outside the tile is
            ignored: mirrored there, objects would have outlines and neighbours that no place has.
        rotation: Maximum angle of free rotation, in degrees.
        scale: Maximum factor of free scaling, in and out.
        shift: Maximum shift along rows and columns, as a fraction of the tile.
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
    shift: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    band_dropout: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("warp", "shift", "band_dropout", "cutmix"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"The augmentation `{name}={getattr(self, name)}` is not in the range 0 to 1.")
        for name, least in (("scale", 1), *((n, 0) for n in ("gain", "offset", "gamma", "rotation", "noise", "blur"))):
            if not getattr(self, name) >= least:
                raise UsageError(f"The augmentation `{name}={getattr(self, name)}` is below {least}.")

    def __str__(self) -> str:
        """Return the name of the preset, if it is one."""
        return next((name for name, preset in PRESETS.items() if preset == self), repr(self))


PRESETS = {
    "none": Augmentation(symmetries=False, gain=0.0, offset=0.0),
    "light": Augmentation(),
    "middle": Augmentation(warp=0.75, rotation=45.0, scale=1.4, shift=0.25),
    "strong": Augmentation(
        gain=0.2, offset=0.2, gamma=0.2, warp=0.5, noise=0.1, blur=1.0, band_dropout=0.05, cutmix=0.25
    ),
}


def as_augmentation(value: str | Mapping[str, Any] | Augmentation, name: str = "augment") -> Augmentation:
    """Return an augmentation from the name of a preset, or from a dictionary of what differs from ``light``.

    Args:
        value: Name, dictionary or augmentation.
        name: Setting that it was passed for.

    Raises:
        UsageError: There is no such preset or range, or a value is out of its range.
    """
    if isinstance(value, Augmentation):
        return value
    if isinstance(value, Mapping):
        for key in value:
            _check_known("range of augmentation", key, [entry.name for entry in fields(Augmentation)])
        return Augmentation(**value)
    if not isinstance(value, str):
        raise UsageError(f"`{name}` is {value!r}, not the name of a preset.", hint=f"Choose from {', '.join(PRESETS)}.")
    _check_known("augmentation", value, list(PRESETS))
    return PRESETS[value]


def _check_known(what: str, name: str, known: list[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Choose from {', '.join(known)}."
        raise UsageError(f"There is no {what} {name!r}.", hint=hint)
