"""Convert raw values between scales and offsets, such as those of two processing baselines."""

from __future__ import annotations

import math
from dataclasses import dataclass

from satseg.records import BandSpec, BandStatistics


@dataclass(frozen=True)
class Conversion:
    """Conversion of raw values of a scene to the scale and offset of the training scenes: ``gain * raw + shift``.

    Args:
        gains: Of each band, positive.
        shifts: Of each band.
    """

    gains: tuple[float, ...]
    shifts: tuple[float, ...]

    @classmethod
    def between(cls, here: BandSpec, trained: BandSpec) -> Conversion | None:
        """Compare two specs of the same bands.

        Args:
            here: Bands of a scene.
            trained: Bands that a network was trained on.

        Returns:
            The conversion, or None if it is unknown: only one of the two has a scale or offset, a scale is 0, or a
            gain would be negative.
        """
        if same_scale(here, trained):
            return cls((1.0,) * len(here), (0.0,) * len(here))
        if not (states_scale(here) and states_scale(trained)) or 0 in trained.scales:
            return None
        gains = tuple(a / b for a, b in zip(here.scales, trained.scales, strict=True))
        offsets = zip(here.offsets, trained.offsets, trained.scales, strict=True)
        shifts = tuple((a - b) / scale for a, b, scale in offsets)
        return cls(gains, shifts) if min(gains) > 0 else None

    @property
    def changes_nothing(self) -> bool:
        """Whether raw values have the same meaning."""
        return set(self.gains) == {1.0} and set(self.shifts) == {0.0}

    def statistics(self, trained: BandStatistics) -> BandStatistics:
        """Return the statistics of the training scenes at the scale and offset of the scene."""
        if self.changes_nothing:
            return trained

        def to_scene(values: tuple[float, ...]) -> tuple[float, ...]:
            return tuple((v - shift) / gain for v, gain, shift in zip(values, self.gains, self.shifts, strict=True))

        return BandStatistics(
            count=trained.count,
            mean=to_scene(trained.mean),
            # A band that was constant in training is divided by 1, in units of the training.
            std=tuple((value or 1.0) / gain for value, gain in zip(trained.std, self.gains, strict=True)),
            minimum=to_scene(trained.minimum),
            maximum=to_scene(trained.maximum),
        )


def same_scale(one: BandSpec, other: BandSpec) -> bool:
    """Tell whether raw values of two specs have the same meaning, up to the rounding of scales in files."""
    pairs = zip(one.scales + one.offsets, other.scales + other.offsets, strict=True)
    return all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12) for a, b in pairs)


def states_scale(spec: BandSpec) -> bool:
    """Tell whether a file has a scale or an offset; GDAL reports scale 1 and offset 0 if not."""
    return any(scale != 1 for scale in spec.scales) or any(offset != 0 for offset in spec.offsets)
