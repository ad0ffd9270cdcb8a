"""Streamed confusion matrix, and the report of the scores from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from satseg.classes import IGNORE_INDEX
from satseg.errors import LabelError
from satseg.evaluation.bootstrap import NO_INTERVALS, Intervals
from satseg.evaluation.tally import Count, class_scores, mean_scores, pixel_tally
from satseg.records import ClassScore, EvaluationReport, PlaceScore


class ConfusionMatrix:
    """Counts of pixels by label and prediction.

    Args:
        num_classes: Number of classes K, at most 255.
    """

    def __init__(self, num_classes: int) -> None:
        self.counts = np.zeros((num_classes, num_classes), dtype=np.int64)  # (label, prediction)
        self.left_out = np.zeros(num_classes, dtype=np.int64)  # by label: pixels for which the map has no class
        self.unlabelled = 0  # pixels of the map without a label

    def add(self, labels: np.ndarray, classes: np.ndarray) -> None:
        """Add pixels.

        Args:
            labels: uint8 class ids of any shape; 255 = ignore. Ids must be below K.
            classes: Predicted uint8 class ids of the same shape; 255 where the map has no class (nodata).

        Raises:
            LabelError: An id is K or more, and not 255.
        """
        num_classes = len(self.counts)
        labelled = labels != IGNORE_INDEX
        self.unlabelled += int((classes[~labelled] != IGNORE_INDEX).sum())
        labels, classes = labels[labelled], classes[labelled]
        mapped = classes != IGNORE_INDEX
        missed, labels, classes = labels[~mapped], labels[mapped], classes[mapped]
        largest = max(ids.max(initial=0) for ids in (missed, labels, classes))
        if largest >= num_classes:
            raise LabelError(f"Class id {largest} does not exist: there are {num_classes} classes, numbered from 0.")
        pairs = labels.astype(np.intp) * num_classes + classes
        self.counts += np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
        self.left_out += np.bincount(missed, minlength=num_classes)


def score(counts: np.ndarray, names: Sequence[str]) -> EvaluationReport:
    """Compute scores from pixel counts.

    Args:
        counts: (K, K) int64, row: label, column: prediction.
        names: K class names.

    Returns:
        The report, without boundaries and objects. Scores with a zero denominator are NaN; means are over the classes
        present in the labels.
    """
    counts = np.asarray(counts, dtype=np.int64)
    return report(counts, pixel_tally(counts), names)


def report(
    counts: np.ndarray,
    tally: np.ndarray,
    names: Sequence[str],
    *,
    unlabelled: int = 0,
    intervals: Intervals = NO_INTERVALS,
    settings: Mapping[str, str | float] | None = None,
    worst: Sequence[PlaceScore] = (),
) -> EvaluationReport:
    """Make a report.

    Args:
        counts: (K, K) int64, row: label, column: prediction.
        tally: (K, C) counts of pixels, boundaries and objects, including labelled pixels without a class in the map.
        names: K class names.
        unlabelled: Pixels of the map without a label.
        intervals: Confidence intervals of the scores.
        settings: Settings that the report shows.
        worst: The worst places.
    """
    by_class = {name: _plain(values) for name, values in class_scores(tally).items()}
    entries = [
        ClassScore(
            name=name,
            **{key: values[i] for key, values in by_class.items()},
            pixels=int(tally[i, Count.LABELLED]),
            label_objects=int(tally[i, Count.LABEL_OBJECTS]),
            map_objects=int(tally[i, Count.MAP_OBJECTS]),
            intervals=intervals.classes[i] if intervals.classes else {},
        )
        for i, name in enumerate(names)
    ]
    return EvaluationReport(
        pixels=int(counts.sum()),
        left_out=max(0, int(tally[:, Count.LABELLED].sum()) - int(counts.sum())),
        unlabelled=unlabelled,
        **{name: _plain(value)[0] for name, value in mean_scores(tally).items()},
        classes=tuple(entries),
        confusion=tuple(tuple(row) for row in counts.tolist()),
        intervals=intervals.overall,
        settings=settings or {},
        worst=tuple(worst),
    )


def _plain(values: np.ndarray) -> list[float]:
    """Return Python numbers; every NaN is the same object, so that equal records compare equal."""
    return [math.nan if math.isnan(value) else value for value in np.atleast_1d(values).tolist()]
