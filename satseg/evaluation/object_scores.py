"""Scores of objects from their counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from satseg.evaluation.object_counts import CELLS, THRESHOLDS, ObjectCount, ObjectTotals, by_rank, by_size
from satseg.evaluation.tally import mean, ratio

Scores = Mapping[str, np.ndarray]
"""(R,) scores by name: one, or one for each replicate."""
_MEANS = ("object_f1", "pq", "ap")
_RECALLS = np.linspace(0, 1, 101)


def scores_by_class(totals: ObjectTotals) -> dict[int, Scores]:
    """Return the scores of each class that has objects, as :class:`~satseg.records.ClassScore` has them."""
    found: dict[int, Scores] = {}
    for number in sorted(totals.classes):
        cells = totals.of_class(number)
        found[number] = {**object_scores(by_size(cells).sum(axis=-2)), **average_precisions(cells)}
    return found


def scores_by_size(totals: ObjectTotals, number: int) -> dict[int, Scores]:
    """Return the scores of the objects of a class in each size that has some."""
    counts = by_size(totals.of_class(number))
    return {size: object_scores(counts[:, size]) for size in np.flatnonzero(counts.any(axis=(0, 2))).tolist()}


def mean_object_scores(totals: ObjectTotals, by_class: Mapping[int, Scores]) -> dict[str, np.ndarray]:
    """Return means over the classes with objects in the labels, as :class:`~satseg.records.EvaluationReport` has them.

    Args:
        totals: Counts of objects.
        by_class: Scores of each class.
    """
    if not by_class:
        return {}
    labelled = [by_size(totals.of_class(number))[..., ObjectCount.LABELLED].sum(axis=-1) for number in by_class]
    absent = np.stack(labelled, axis=-1) == 0
    return {name: mean(np.stack([scores[name] for scores in by_class.values()], axis=-1), absent) for name in _MEANS}


def object_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of objects without regard to their order.

    Args:
        counts: (..., C) counts by :class:`ObjectCount`.

    Returns:
        (...) float64 by name, as :class:`~satseg.records.ClassScore` has them; NaN where the denominator is zero.
        Panoptic, segmentation and recognition quality are those of Kirillov et al. ("Panoptic Segmentation", 2019).
    """
    n = {column: counts[..., column] for column in ObjectCount}
    f1 = ratio(n[ObjectCount.FOUND] + n[ObjectCount.CORRECT], n[ObjectCount.LABELLED] + n[ObjectCount.MAPPED])
    quality = ratio(n[ObjectCount.IOU], n[ObjectCount.FOUND])
    return {
        "object_f1": f1,
        "object_precision": ratio(n[ObjectCount.CORRECT], n[ObjectCount.MAPPED]),
        "object_recall": ratio(n[ObjectCount.FOUND], n[ObjectCount.LABELLED]),
        "pq": f1 * np.where(n[ObjectCount.FOUND] > 0, quality, 0.0),
        "sq": quality,
        "rq": f1,
        "split": ratio(n[ObjectCount.SPLIT], n[ObjectCount.LABELLED]),
        "merged": ratio(n[ObjectCount.MERGED], n[ObjectCount.LABELLED]),
    }


def average_precisions(cells: np.ndarray) -> dict[str, np.ndarray]:
    """Return the average precision of a class, over all IoU thresholds and at an IoU of 0.5.

    As COCO defines it (Lin et al., "Microsoft COCO", 2014): objects of the map are taken by falling score, and the
    largest precision at or beyond each of 101 recalls is averaged. Objects of one level are taken together, so that the
    result does not depend on their order; without scores, all are of one level.

    Args:
        cells: (..., CELLS) counts of the class.

    Returns:
        (...) float64 by name; NaN where the labels have no object.
    """
    leading = cells.shape[:-1]
    rows = cells.reshape(-1, CELLS)
    labelled = by_size(rows)[..., ObjectCount.LABELLED].sum(axis=-1)
    ranked = by_rank(rows)[:, ::-1]
    ranked = ranked[:, ranked.any(axis=(0, 2))]  # few of the levels may be taken
    mapped = ranked[:, :, 0].cumsum(axis=1)
    right = ranked[:, :, :0:-1].cumsum(axis=2)[:, :, ::-1].cumsum(axis=1)  # (N, L, T), by falling score
    found = np.stack([_average_precision(mapped, right[..., t], labelled) for t in range(len(THRESHOLDS))])
    found = np.where(labelled > 0, found, np.nan)
    return {"ap": found.mean(axis=0).reshape(leading), "ap50": found[0].reshape(leading)}


def _average_precision(mapped: np.ndarray, right: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Return the (N,) average precision at one threshold.

    Args:
        mapped: (N, L) objects of the map down to each level.
        right: (N, L) those among them that match.
        labelled: (N,) objects of the labels.
    """
    if not mapped.shape[1]:
        return np.zeros(len(labelled))
    precision = np.nan_to_num(ratio(right, mapped))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]  # the largest at or beyond each recall
    padded = np.concatenate([precision, np.zeros((len(labelled), 1))], axis=1)
    recall = np.nan_to_num(ratio(right, labelled[:, None]))
    at = np.stack([np.searchsorted(row, _RECALLS, side="left") for row in recall])
    return np.take_along_axis(padded, at, axis=1).mean(axis=1)
