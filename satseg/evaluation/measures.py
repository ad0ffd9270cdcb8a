"""What is measured beside pixels, and how."""

from __future__ import annotations

from dataclasses import dataclass

from satseg.errors import UsageError
from satseg.evaluation.assessment import Assessment
from satseg.evaluation.bootstrap import CONFIDENCE
from satseg.evaluation.boundaries import Boundaries, Reach
from satseg.evaluation.objects import MATCH_IOU

Gsd = tuple[float, float] | None
"""Ground metres per pixel along x and along y, or None where they are unknown."""


@dataclass(frozen=True)
class Measures:
    """What is measured, as users say it.

    Args:
        boundary_tolerance: How far apart two boundaries may lie and still match: ``2px``, ``0.5m``, or ``0.75%`` of the
            diagonal of a tile or block, the tolerance of the SegNet paper.
        boundary_width: Width of the bands of the boundary IoU, likewise; 2 % is that of its paper.
        pixels_only: Measure neither boundaries nor objects.
        block: Side in pixels of the blocks of scenes that are scored apart.
        bootstrap: Replicates for confidence intervals; 0 for none.
        seed: Number that they follow from.
        worst: How many of the worst places to name.

    Raises:
        UsageError: A value makes no sense.
    """

    boundary_tolerance: str = "0.75%"
    boundary_width: str = "2%"
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
        for text in (self.boundary_tolerance, self.boundary_width):
            Reach.parse(text, shape=(1, 1), gsd=(1.0, 1.0))  # a typing error is told before any work

    def assessment(self, num_classes: int) -> Assessment:
        """Return what takes the counts of K classes."""
        return Assessment(num_classes, replicates=self.bootstrap, seed=self.seed, worst=self.worst)

    def boundaries(self, side: int, gsd: Gsd) -> Boundaries | None:
        """Return how boundaries are compared where tiles or blocks have a side of ``side`` pixels."""
        if self.pixels_only:
            return None
        shape = (side, side)
        return Boundaries(
            Reach.parse(self.boundary_tolerance, shape=shape, gsd=gsd),
            Reach.parse(self.boundary_width, shape=shape, gsd=gsd),
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
        for name in ("boundary_tolerance", "boundary_width"):
            text = getattr(self, name)
            found[name] = text
            if text.strip().endswith("%"):
                found[f"{name}_px"] = Reach.parse(text, shape=(side, side), gsd=None).length
        return found
