"""Tallies of counts by class, and the scores from them.

A tally is a (K, C) float64 array: a row per class, a column per :class:`Count`. Tallies of parts add up to that of the
whole, so that they can be streamed; float64 counts exactly up to 2**53.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Count(IntEnum):
    """Columns of a tally."""

    HITS = 0  # pixels of the class in labels and map
    LABELLED = 1  # pixels of the class in the labels, including those without a class in the map: they are missed
    MAPPED = 2  # pixels of the class in the map
    LABEL_EDGE = 3  # boundary pixels in the labels
    LABEL_EDGE_HITS = 4  # those within the tolerance of a boundary of the map
    MAP_EDGE = 5  # boundary pixels in the map
    MAP_EDGE_HITS = 6  # those within the tolerance of a boundary of the labels
    BAND_BOTH = 7  # pixels in the bands of labels and map
    BAND_EITHER = 8  # pixels in the band of labels or map
    BF_SUM = 9  # boundary F1 of the class on a place, divided by the number of classes that have one there
    BF_SHARE = 10  # one, divided likewise


def empty_tally(num_classes: int) -> np.ndarray:
    """Return a (K, C) float64 tally of zeros."""
    return np.zeros((num_classes, len(Count)))


def pixel_tally(confusion: np.ndarray, left_out: np.ndarray | int = 0) -> np.ndarray:
    """Return the tally of a confusion matrix; its columns of boundaries are zero.

    Args:
        confusion: (K, K) pixel counts, row: label, column: prediction.
        left_out: (K,) labelled pixels for which the map has no class.
    """
    tally = empty_tally(len(confusion))
    tally[:, Count.HITS] = confusion.diagonal()
    tally[:, Count.LABELLED] = confusion.sum(axis=1) + left_out
    tally[:, Count.MAPPED] = confusion.sum(axis=0)
    return tally


def class_scores(tally: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of each class.

    Args:
        tally: (..., K, C) tallies.

    Returns:
        (..., K) float64 by name, as :class:`~satseg.records.ClassScore` has them; NaN where the denominator is zero.
    """
    n = {column: tally[..., column] for column in Count}
    boundary_precision = ratio(n[Count.MAP_EDGE_HITS], n[Count.MAP_EDGE])
    boundary_recall = ratio(n[Count.LABEL_EDGE_HITS], n[Count.LABEL_EDGE])
    return {
        "iou": ratio(n[Count.HITS], n[Count.LABELLED] + n[Count.MAPPED] - n[Count.HITS]),
        "f1": ratio(2 * n[Count.HITS], n[Count.LABELLED] + n[Count.MAPPED]),
        "precision": ratio(n[Count.HITS], n[Count.MAPPED]),
        "recall": ratio(n[Count.HITS], n[Count.LABELLED]),
        "boundary_f1": _harmonic_mean(boundary_precision, boundary_recall),
        "boundary_precision": boundary_precision,
        "boundary_recall": boundary_recall,
        "boundary_iou": ratio(n[Count.BAND_BOTH], n[Count.BAND_EITHER]),
    }


def mean_scores(tally: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores over all classes.

    Means are over the classes present in the labels. A class that is only in the map is excluded: its pixels already
    count as missed in the classes that they belong to, and a single one would otherwise cost as much as a class that is
    wrong everywhere.

    Args:
        tally: (..., K, C) tallies.

    Returns:
        (...) float64 by name, as :class:`~satseg.records.EvaluationReport` has them. Classes whose score is
        NaN do not enter a mean either.
    """
    by_class = class_scores(tally)
    hits, labelled, mapped = (tally[..., column] for column in (Count.HITS, Count.LABELLED, Count.MAPPED))
    absent = labelled == 0
    pixels = labelled.sum(axis=-1)
    accuracy = ratio(hits.sum(axis=-1), pixels)
    chance = ratio((labelled * mapped).sum(axis=-1), pixels**2)
    return {
        "global_accuracy": accuracy,
        "class_average_accuracy": mean(by_class["recall"], absent),
        "mean_iou": mean(by_class["iou"], absent),
        "frequency_weighted_iou": ratio((labelled * np.nan_to_num(by_class["iou"])).sum(axis=-1), pixels),
        "kappa": ratio(accuracy - chance, 1 - chance),
        "boundary_f1": mean(by_class["boundary_f1"], absent),
        "bf": ratio(tally[..., Count.BF_SUM].sum(axis=-1), tally[..., Count.BF_SHARE].sum(axis=-1)),
        "boundary_iou": mean(by_class["boundary_iou"], absent),
    }


def share_bf(tally: np.ndarray) -> None:
    """Fill the BF columns in the (K, C) tally of a finished place, in place.

    The BF score of the SegNet paper is an average over the classes present in the labels of an image. A class without
    boundaries in labels and map has no boundary F1, and is excluded.
    """
    present = (tally[:, Count.LABELLED] > 0) & (tally[:, Count.LABEL_EDGE] + tally[:, Count.MAP_EDGE] > 0)
    if present.any():
        f1 = class_scores(tally)["boundary_f1"][present]
        tally[present, Count.BF_SUM] = f1 / present.sum()
        tally[present, Count.BF_SHARE] = 1 / present.sum()


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN where the denominator is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.equal(denominator, 0), np.nan, np.divide(numerator, denominator))


def mean(values: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """Average over the last axis without NaN and absent classes; NaN if nothing is left."""
    defined = ~np.isnan(values) & ~absent
    return ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))


def _harmonic_mean(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Return F1: NaN if both are undefined; 0 if only one is, because then everything is missed or false."""
    one, other = np.nan_to_num(precision), np.nan_to_num(recall)
    f1 = np.where(one + other > 0, ratio(2 * one * other, one + other), 0.0)
    return np.where(np.isnan(precision) & np.isnan(recall), np.nan, f1)
