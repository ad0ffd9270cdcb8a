"""Gather what is counted place by place - tiles, or blocks of scenes - into one report."""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from satseg.evaluation.bootstrap import NO_INTERVALS, Bootstrap
from satseg.evaluation.confusion import report
from satseg.evaluation.tally import class_scores, mean_scores, pixel_tally, share_bf
from satseg.records import EvaluationReport, PlaceScore

FEW_UNITS = 8
"""Blocks below which confidence intervals come with a warning."""

log = logging.getLogger("satseg")


@dataclass(frozen=True)
class Place:
    """Where something was counted.

    Args:
        name: Tile, or scene with the block's first row and column.
        row: First row in its scene.
        col: First column in its scene.
        height: Rows.
        width: Columns.
        unit: What the bootstrap draws as a whole: places of one unit are drawn together.
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
        num_classes: Classes K.
        replicates: Resampled totals for confidence intervals; 0 for none.
        seed: Number that the resampling follows from.
        worst: How many of the worst places to name.
    """

    def __init__(self, num_classes: int, *, replicates: int = 0, seed: int = 0, worst: int = 0) -> None:
        self.counts = np.zeros((num_classes, num_classes), dtype=np.int64)  # (label, prediction)
        self.tally = pixel_tally(self.counts)
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
        """Count a finished place.

        Args:
            place: Where it is.
            counts: (K, K) int64 pixels, row: label, column: prediction.
            tally: (K, C) counts of boundaries and objects; its columns of pixels are empty.
            left_out: (K,) labelled pixels for which the map has no class; they are missed.
            unlabelled: Pixels of the map of which no label says anything.
            loss: Mean cross-entropy of the network there.
        """
        tally = tally + pixel_tally(counts, left_out)
        share_bf(tally)
        self.counts += counts
        self.add_objects(place.unit, tally)
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

    def add_objects(self, unit: tuple[int, ...], tally: np.ndarray) -> None:
        """Count objects that began in a unit, whose place may be finished already."""
        self.tally += tally
        if self._bootstrap is not None:
            self._bootstrap.add(unit, tally)

    def report(self, names: Sequence[str], settings: Mapping[str, str | float] | None = None) -> EvaluationReport:
        """Return the scores of all that was counted.

        Args:
            names: K class names.
            settings: How was measured.
        """
        intervals, settings = NO_INTERVALS, dict(settings or {})
        if self._bootstrap is not None:
            intervals = self._bootstrap.intervals()
            settings["units"] = len(self._units)
            if 1 < len(self._units) < FEW_UNITS:
                log.warning(
                    "The confidence intervals rest on %d blocks only; they may be too narrow.", len(self._units)
                )
        worst = [score for *_, score in sorted(self._worst, reverse=True)]
        return report(
            self.counts,
            self.tally,
            names,
            unlabelled=self.unlabelled,
            intervals=intervals,
            settings=settings,
            worst=worst,
        )


def score_place(
    place: Place, counts: np.ndarray, *, left_out: np.ndarray | int = 0, loss: float = math.nan
) -> PlaceScore:
    """Return the scores of a place from its (K, K) pixel counts and the (K,) pixels that its map leaves out."""
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
