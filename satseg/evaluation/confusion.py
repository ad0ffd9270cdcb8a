"""The confusion matrix, streamed, and every score that follows from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from satseg.classes import IGNORE_INDEX
from satseg.errors import LabelError
from satseg.records import ClassScore, EvaluationReport


class ConfusionMatrix:
    """Count pixels by label and prediction, piece by piece.

    Args:
        num_classes: Classes K, at most 255.
    """

    def __init__(self, num_classes: int) -> None:
        self.counts = np.zeros((num_classes, num_classes), dtype=np.int64)  # (label, prediction)

    def add(self, labels: np.ndarray, classes: np.ndarray) -> None:
        """Count the pixels of one piece.

        Args:
            labels: uint8 class ids of any shape; 255 = ignore. Ids must be below K.
            classes: Predicted uint8 class ids of the same shape; pixels that are 255 (nodata) are left out too.

        Raises:
            LabelError: An id is K or more, and not 255.
        """
        num_classes = len(self.counts)
        counted = (labels != IGNORE_INDEX) & (classes != IGNORE_INDEX)
        labels, classes = labels[counted], classes[counted]
        largest = max(labels.max(initial=0), classes.max(initial=0))
        if largest >= num_classes:
            raise LabelError(f"Class id {largest} does not exist: there are {num_classes} classes, from 0 on.")
        pairs = labels.astype(np.intp) * num_classes + classes
        self.counts += np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def score(counts: np.ndarray, names: Sequence[str]) -> EvaluationReport:
    """Turn pixel counts into scores.

    Args:
        counts: (K, K) int64, row: label, column: prediction.
        names: K class names.

    Returns:
        The report. A score whose denominator is zero is NaN, and NaN scores do not enter the means.
    """
    counts = np.asarray(counts, dtype=np.int64)
    hits = counts.diagonal().astype(np.float64)
    labelled, predicted = counts.sum(axis=1), counts.sum(axis=0)
    total = int(counts.sum())
    iou = _ratio(hits, labelled + predicted - hits)
    recall = _ratio(hits, labelled)
    columns = (iou, _ratio(2 * hits, labelled + predicted), _ratio(hits, predicted), recall)
    scores = zip(names, *(column.tolist() for column in columns), labelled.tolist(), strict=True)
    return EvaluationReport(
        pixels=total,
        global_accuracy=float(_ratio(hits.sum(), float(total))),
        class_average_accuracy=_mean(recall),
        mean_iou=_mean(iou),
        frequency_weighted_iou=float(_ratio(np.sum(labelled * np.nan_to_num(iou)), float(total))),
        classes=tuple(ClassScore(*entry) for entry in scores),
        confusion=tuple(tuple(row) for row in counts.tolist()),
    )


def _ratio(numerator: np.ndarray, denominator: np.ndarray | float) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(numerator, denominator)


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
