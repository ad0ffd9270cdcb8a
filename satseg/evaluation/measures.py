"""What is measured beside pixels, and how."""

from __future__ import annotations

from dataclasses import dataclass

from satseg.errors import UsageError
from satseg.evaluation.accumulator import ScoreAccumulator
from satseg.evaluation.bootstrap import CONFIDENCE
from satseg.evaluation.boundaries import Boundaries, Reach
from satseg.evaluation.objects import MATCH_IOU
from satseg.geo.units import Gsd, Length, Quantity, parse_length


@dataclass(frozen=True)
class Measures:
    """What is measured, as users say it.

    Args:
        boundary_tolerance: How far apart two boundaries may lie and still match: ``2px``, ``0.5m``, a plain number of
            metres, or ``0.75%`` of the diagonal of a tile or block, the tolerance of the SegNet paper.
        boundary_width: Width of the bands of the boundary IoU, likewise; 2 % is that of its paper.
        pixels_only: Measure neither boundaries nor objects.
        block: Side in pixels of the blocks of scenes that are scored apart.
        bootstrap: Replicates for confidence intervals; 0 for none.
        seed: Number that they follow from.
        worst: How many of the worst places to name.

    Raises:
        UsageError: A value makes no sense.
    """

    boundary_tolerance: Quantity = "0.75%"
    boundary_width: Quantity = "2%"
    pixels_only: bool = False
    block: int = 512
    bootstrap: int = 1000
    seed: int = 0
    worst: int = 0

    def __post_init__(self) -> None:
        if self.block < 1:
            raise UsageError(f"Blocks of {self.block} px are none.")
        if min(self.bootstrap, self.worst) < 0:
            raise UsageError("The numbers of replicates and of worst places cannot be negative.")
        self._tolerance, self._width  # noqa: B018 - a typing error is told before any work

    def assessment(self, num_classes: int) -> ScoreAccumulator:
        """Return what takes the counts of K classes."""
        return ScoreAccumulator(num_classes, replicates=self.bootstrap, seed=self.seed, worst=self.worst)

    def boundaries(self, side: int, gsd: Gsd) -> Boundaries | None:
        """Return how boundaries are compared where tiles or blocks have a side of ``side`` pixels."""
        if self.pixels_only:
            return None
        shape = (side, side)
        return Boundaries(
            Reach.of(self._tolerance, shape=shape, gsd=gsd),
            Reach.of(self._width, shape=shape, gsd=gsd),
        )

    def settings(self, unit: str, side: int | None = None) -> dict[str, str | float]:
        """Say what was measured.

        Args:
            unit: What was resampled as a whole.
            side: Their side in pixels; None where there was no grid.
        """
        settings: dict[str, str | float] = {}
        if not self.pixels_only:
            settings["object_iou"] = MATCH_IOU
        if side is None:
            return settings
        if not self.pixels_only:
            settings |= self._lengths(side)
        if self.bootstrap:
            settings |= {"confidence": CONFIDENCE, "bootstrap": self.bootstrap, "seed": self.seed, "unit": unit}
        return settings

    def _lengths(self, side: int) -> dict[str, str | float]:
        found: dict[str, str | float] = {}
        for name, length in (("boundary_tolerance", self._tolerance), ("boundary_width", self._width)):
            found[name] = getattr(self, name)
            if length.unit == "%":
                found[f"{name}_px"] = Reach.of(length, shape=(side, side), gsd=None).length
        return found

    @property
    def _tolerance(self) -> Length:
        return parse_length(self.boundary_tolerance, "boundary_tolerance", per_cent=True)

    @property
    def _width(self) -> Length:
        return parse_length(self.boundary_width, "boundary_width", zero=False, per_cent=True)
