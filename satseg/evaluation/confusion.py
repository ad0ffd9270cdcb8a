"""Streamed confusion matrix, and the report of the scores from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from satseg.classes import IGNORE_INDEX
from satseg.errors import LabelError
from satseg.evaluation.bootstrap import NO_INTERVALS, Intervals
from satseg.evaluation.object_counts import SIZES, ObjectCount, ObjectTotals, by_size
from satseg.evaluation.object_scores import mean_object_scores, scores_by_class, scores_by_size
from satseg.evaluation.tally import Count, class_scores, mean_scores, pixel_tally
from satseg.records import ClassScore, EvaluationReport, PlaceScore, SizeScore


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
    objects: ObjectTotals | None = None,
    *,
    unlabelled: int = 0,
    intervals: Intervals = NO_INTERVALS,
    settings: Mapping[str, str | float] | None = None,
    worst: Sequence[PlaceScore] = (),
) -> EvaluationReport:
    """Make a report.

    Args:
        counts: (K, K) int64, row: label, column: prediction.
        tally: (K, C) counts of pixels and boundaries, including labelled pixels without a class in the map.
        names: K class names.
        objects: Counts of objects; None if they are not measured.
        unlabelled: Pixels of the map without a label.
        intervals: Confidence intervals of the scores.
        settings: Settings that the report shows.
        worst: The worst places.
    """
    objects = objects or ObjectTotals()
    of_pixels, of_objects = class_scores(tally), scores_by_class(objects)
    entries = [
        ClassScore(
            name=name,
            **_shown(of_pixels, i),
            **_shown(of_objects.get(i, {}), 0),
            pixels=int(tally[i, Count.LABELLED]),
            **_number_of_objects(by_size(objects.of_class(i)).sum(axis=(0, 1))),
            sizes=_sizes(objects, i, intervals),
            intervals=intervals.classes[i] if intervals.classes else {},
        )
        for i, name in enumerate(names)
    ]
    overall = mean_scores(tally) | mean_object_scores(objects, of_objects)
    return EvaluationReport(
        pixels=int(counts.sum()),
        left_out=max(0, int(tally[:, Count.LABELLED].sum()) - int(counts.sum())),
        unlabelled=unlabelled,
        **_shown(overall, 0),
        classes=tuple(entries),
        confusion=tuple(tuple(row) for row in counts.tolist()),
        intervals=intervals.overall,
        settings=settings or {},
        worst=tuple(worst),
    )


def _shown(scores: Mapping[str, np.ndarray], number: int) -> dict[str, Any]:
    """Return one value of each score; every NaN is the same object, so that equal records compare equal."""
    values = {name: float(np.atleast_1d(score)[number]) for name, score in scores.items()}
    return {name: math.nan if math.isnan(value) else value for name, value in values.items()}


def _number_of_objects(counts: np.ndarray) -> dict[str, int]:
    """Return the numbers of objects from (C,) counts, as a record has them."""
    return {"label_objects": int(counts[ObjectCount.LABELLED]), "map_objects": int(counts[ObjectCount.MAPPED])}


_OF_SIZES = {"object_precision": "precision", "object_recall": "recall", "split": "split", "merged": "merged"}
"""Scores of the objects of a size, and what a record calls them."""


def _sizes(objects: ObjectTotals, number: int, intervals: Intervals) -> tuple[SizeScore, ...]:
    """Return the scores of the objects of a class by size."""
    counts = by_size(objects.of_class(number))[0]
    found = intervals.sizes.get(number, {})
    return tuple(
        SizeScore(
            low=SIZES[size - 1] if size else 0.0,
            high=SIZES[size] if size < len(SIZES) else math.inf,
            **_number_of_objects(counts[size]),
            **_shown({named: scores[name] for name, named in _OF_SIZES.items()}, 0),
            intervals={named: found[size][name] for name, named in _OF_SIZES.items() if name in found.get(size, {})},
        )
        for size, scores in scores_by_size(objects, number).items()
    )
