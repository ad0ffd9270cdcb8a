"""Accumulate counts of tiles, or blocks of scenes, into a report."""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from satseg.evaluation.bootstrap import NO_INTERVALS, Bootstrap
from satseg.evaluation.confusion import report
from satseg.evaluation.object_counts import CountedObjects, ObjectTotals
from satseg.evaluation.tally import class_scores, mean_scores, pixel_tally, share_bf
from satseg.records import EvaluationReport, PlaceScore

FEW_UNITS = 8
"""Confidence intervals from fewer units than this come with a warning."""

log = logging.getLogger("satseg")


@dataclass(frozen=True)
class Place:
    """A tile, or a block of a scene.

    Args:
        name: Name of the tile, or scene with first row and column of the block.
        row: First row in its scene.
        col: First column in its scene.
        height: Number of rows.
        width: Number of columns.
        unit: Bootstrap unit; places of one unit are resampled together.
    """

    name: str
    row: int
    col: int
    height: int
    width: int
    unit: tuple[int, ...]


class ScoreAccumulator:
    """Totals, resampled totals and the worst places.

    Args:
        num_classes: Number of classes K.
        replicates: Bootstrap replicates for confidence intervals; 0 for none.
        seed: Seed of the resampling.
        worst: Number of worst places to report.
    """

    def __init__(self, num_classes: int, *, replicates: int = 0, seed: int = 0, worst: int = 0) -> None:
        self.counts = np.zeros((num_classes, num_classes), dtype=np.int64)  # (label, prediction)
        self.tally = pixel_tally(self.counts)
        self.objects = ObjectTotals()
        self._bootstrap = Bootstrap(num_classes, replicates=replicates, seed=seed) if replicates else None
        self._number_of_worst = worst
        self._worst: list[tuple[float, int, PlaceScore]] = []
        self._places = 0
        self._units: set[tuple[int, ...]] = set()
        self.unlabelled = 0

    def add(
        self,
        place: Place,
        counts: np.ndarray,
        tally: np.ndarray,
        *,
        left_out: np.ndarray | int = 0,
        unlabelled: int = 0,
        loss: float = math.nan,
    ) -> PlaceScore:
        """Add the counts of a place.

        Args:
            place: The place.
            counts: (K, K) int64 pixels, row: label, column: prediction.
            tally: (K, C) counts of boundaries; its columns of pixels are zero.
            left_out: (K,) labelled pixels for which the map has no class; they count as missed.
            unlabelled: Pixels of the map without a label.
            loss: Mean cross-entropy of the network.

        Returns:
            The scores of the place.
        """
        tally = tally + pixel_tally(counts, left_out)
        share_bf(tally)
        self.counts += counts
        self.tally += tally
        if self._bootstrap is not None:
            self._bootstrap.add(place.unit, tally)
        score = score_place(place, counts, left_out=left_out, loss=loss)
        self._places += 1
        self.unlabelled += unlabelled
        if score.pixels or np.any(left_out):
            self._units.add(place.unit)
        if self._number_of_worst and not math.isnan(score.mean_iou):
            heapq.heappush(self._worst, (-score.mean_iou, -self._places, score))
            if len(self._worst) > self._number_of_worst:
                heapq.heappop(self._worst)
        return score

    def add_objects(self, unit: tuple[int, ...], counted: CountedObjects) -> None:
        """Add counts of objects that begin in a unit; its places may have been added before."""
        self.objects.add(counted)
        self._units.add(unit)
        if self._bootstrap is not None:
            self._bootstrap.add_objects(unit, counted)

    def report(self, names: Sequence[str], settings: Mapping[str, str | float] | None = None) -> EvaluationReport:
        """Return the scores of all counts.

        Args:
            names: K class names.
            settings: Settings that the report shows.
        """
        intervals, settings = NO_INTERVALS, dict(settings or {})
        if self._bootstrap is not None:
            intervals = self._bootstrap.intervals()
            settings["units"] = len(self._units)
            if 1 < len(self._units) < FEW_UNITS:
                log.warning(
                    "The confidence intervals are based on only %d blocks and may be too narrow.", len(self._units)
                )
        worst = [score for *_, score in sorted(self._worst, reverse=True)]
        return report(
            self.counts,
            self.tally,
            names,
            self.objects,
            unlabelled=self.unlabelled,
            intervals=intervals,
            settings=settings,
            worst=worst,
        )


def score_place(
    place: Place, counts: np.ndarray, *, left_out: np.ndarray | int = 0, loss: float = math.nan
) -> PlaceScore:
    """Return the scores of a place from (K, K) pixel counts and (K,) labelled pixels without a class in the map."""
    tally = pixel_tally(counts, left_out)
    overall = mean_scores(tally)
    return PlaceScore(
        name=place.name,
        row=place.row,
        col=place.col,
        height=place.height,
        width=place.width,
        pixels=int(counts.sum()),
        accuracy=float(overall["global_accuracy"]),
        mean_iou=float(overall["mean_iou"]),
        iou=tuple(class_scores(tally)["iou"].tolist()),
        loss=loss,
    )
