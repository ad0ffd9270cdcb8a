"""What an evaluation measures in addition to pixels, and how."""

from __future__ import annotations

from dataclasses import dataclass

from satseg.evaluation.accumulator import ScoreAccumulator
from satseg.evaluation.bootstrap import CONFIDENCE
from satseg.evaluation.boundaries import Boundaries, Reach
from satseg.evaluation.objects import MATCH_IOU
from satseg.evaluation.settings import MeasureSettings
from satseg.geo.units import Gsd


@dataclass(frozen=True)
class Measures:
    """Measures of an evaluation.

    Args:
        settings: What is measured.
    """

    settings: MeasureSettings

    def accumulator(self, num_classes: int) -> ScoreAccumulator:
        """Return an empty accumulator for K classes."""
        settings = self.settings
        return ScoreAccumulator(num_classes, replicates=settings.bootstrap, seed=settings.seed, worst=settings.worst)

    def boundaries(self, side: int, gsd: Gsd) -> Boundaries | None:
        """Return how boundaries are compared in tiles or blocks of ``side`` pixels; None if they are not."""
        if self.settings.pixels_only:
            return None
        shape = (side, side)
        return Boundaries(
            Reach.of(self.settings.tolerance, shape=shape, gsd=gsd),
            Reach.of(self.settings.width, shape=shape, gsd=gsd),
        )

    def record(self, unit: str, side: int | None = None, *, areas: str) -> dict[str, str | float]:
        """Return the settings that the report shows.

        Args:
            unit: What the bootstrap resamples.
            side: Side of these tiles or blocks in pixels; None without a grid.
            areas: Unit of the areas of objects.
        """
        settings = self.settings
        record: dict[str, str | float] = {} if settings.pixels_only else {"object_iou": MATCH_IOU, "object_area": areas}
        if side is not None and not settings.pixels_only:
            record |= self._lengths(side)
        if settings.bootstrap:
            record |= {"confidence": CONFIDENCE, "bootstrap": settings.bootstrap, "seed": settings.seed, "unit": unit}
        return record

    def _lengths(self, side: int) -> dict[str, str | float]:
        lengths: dict[str, str | float] = {}
        named = {"boundary_tolerance": self.settings.tolerance, "boundary_width": self.settings.width}
        for name, length in named.items():
            lengths[name] = getattr(self.settings, name)
            if length.unit == "%":
                lengths[f"{name}_px"] = Reach.of(length, shape=(side, side), gsd=None).length
        return lengths
