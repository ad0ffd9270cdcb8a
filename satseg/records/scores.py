"""Scores of a map against labels: by class, by tile or block, and in all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from satseg.results import Result


@dataclass(frozen=True, repr=False)
class SizeScore(Result):
    """Scores of the objects of a class whose area lies within limits; each object counts with its own area.

    Args:
        low: Smallest area in square metres, or in pixels where the pixel size is unknown.
        high: Area that is too large.
        label_objects: Objects of the labels.
        map_objects: Objects of the map.
        precision: Share of the map's objects that match one of the labels.
        recall: Share of the labels' objects that are matched.
        split: Share of the labels' objects that are split, see :class:`ClassScore`.
        merged: Share of the labels' objects that are merged.
        intervals: Confidence interval (low, high) by the name of the score; None if the class is in a single tile or
            block.
    """

    low: float
    high: float
    label_objects: int
    map_objects: int
    precision: float
    recall: float
    split: float
    merged: float
    intervals: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class ClassScore(Result):
    """Scores of one class, in 0..1, NaN if undefined or not measured.

    Args:
        name: Class.
        iou: Intersection over union of the pixels of the class in labels and map.
        f1: Harmonic mean of precision and recall.
        precision: Share of the map's pixels of the class that are correct.
        recall: Share of the labels' pixels of the class that are found.
        pixels: Pixels of the class in the labels.
        boundary_f1: Harmonic mean of the two below, over all tiles or blocks together.
        boundary_precision: Share of the map's boundary pixels that lie within the tolerance of a labelled boundary.
        boundary_recall: Share of the labels' boundary pixels that lie within the tolerance of a boundary of the map.
        boundary_iou: IoU of the bands along the inner side of the boundaries (Cheng et al., 2021).
        object_f1: Harmonic mean of the two below.
        object_precision: Share of the map's objects that match one of the labels: IoU over 0.5.
        object_recall: Share of the labels' objects that are matched.
        label_objects: Objects in the labels.
        map_objects: Objects in the map.
        ap: Average precision as COCO defines it, averaged over the IoU thresholds 0.50, 0.55, ..., 0.95. Objects of the
            map without scores are not ranked: all are taken together.
        ap50: Average precision at an IoU of 0.5.
        pq: Panoptic quality (Kirillov et al., 2019): ``sq`` times ``rq``.
        sq: Segmentation quality, the mean IoU of the matches.
        rq: Recognition quality, which is the same as ``object_f1``.
        split: Share of the labels' objects in which two or more of the map lie with more than half of their area.
        merged: Share of the labels' objects that lie, like others, with more than half of their area in one of the map.
        intervals: Confidence interval (low, high) by the name of the score; None if the class is in a single tile or
            block.
        sizes: Scores of the objects by their area.
    """

    name: str
    iou: float
    f1: float
    precision: float
    recall: float
    pixels: int
    boundary_f1: float = math.nan
    boundary_precision: float = math.nan
    boundary_recall: float = math.nan
    boundary_iou: float = math.nan
    object_f1: float = math.nan
    object_precision: float = math.nan
    object_recall: float = math.nan
    label_objects: int = 0
    map_objects: int = 0
    ap: float = math.nan
    ap50: float = math.nan
    pq: float = math.nan
    sq: float = math.nan
    rq: float = math.nan
    split: float = math.nan
    merged: float = math.nan
    intervals: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    sizes: tuple[SizeScore, ...] = ()


@dataclass(frozen=True, repr=False)
class PlaceScore(Result):
    """Scores of one tile, or of one block of a scene.

    Args:
        name: Tile, or scene with the block's first row and column.
        row: First row in its scene.
        col: First column in its scene.
        height: Rows.
        width: Columns.
        pixels: Pixels compared.
        accuracy: Share of them with the correct class.
        mean_iou: Mean IoU over the classes present in its labels.
        iou: IoU of each class, NaN if it is in neither labels nor map.
        loss: Mean cross-entropy of the network in nats; NaN without a network.
    """

    name: str
    row: int
    col: int
    height: int
    width: int
    pixels: int
    accuracy: float
    mean_iou: float
    iou: tuple[float, ...]
    loss: float = math.nan


@dataclass(frozen=True, repr=False)
class EvaluationReport(Result):
    """Agreement of a map with labels over all pixels that are not ignored; NaN if not measured.

    Args:
        pixels: Pixels compared: those with a class in the labels and in the map.
        global_accuracy: Share of the labelled pixels with the correct class.
        class_average_accuracy: Mean recall over the classes present in the labels.
        mean_iou: Mean IoU over the classes present in the labels.
        frequency_weighted_iou: IoU weighted by each class's share of the labels.
        classes: Scores per class.
        confusion: (K, K) nested tuples of pixel counts; row: label, column: prediction.
        kappa: Cohen's kappa, the agreement beyond chance, at most 1.
        boundary_f1: Mean boundary F1 over the classes present in the labels.
        bf: Boundary F1 as in the SegNet paper: averaged over the classes of each tile or block, then over those.
        boundary_iou: Mean boundary IoU over the classes present in the labels.
        object_f1: Mean object F1 over the classes other than background that have objects in the labels.
        pq: Mean panoptic quality over the same classes.
        ap: Mean average precision over the same classes.
        left_out: Labelled pixels that are nodata in the map, which count as missed. With polygons as labels, only
            pixels inside polygons: background around them is merely implied.
        unlabelled: Pixels of the map without a label, which are ignored.
        intervals: Confidence interval (low, high) by the name of the score; None for a single tile or block.
        settings: Settings of the measurement, such as ``boundary_tolerance`` and the units of ``bootstrap``.
        worst: Tiles or blocks with the lowest mean IoU, the worst first.
    """

    pixels: int
    global_accuracy: float
    class_average_accuracy: float
    mean_iou: float
    frequency_weighted_iou: float
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    kappa: float = math.nan
    boundary_f1: float = math.nan
    bf: float = math.nan
    boundary_iou: float = math.nan
    object_f1: float = math.nan
    pq: float = math.nan
    ap: float = math.nan
    left_out: int = 0
    unlabelled: int = 0
    intervals: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    settings: Mapping[str, str | float] = field(default_factory=dict)
    worst: tuple[PlaceScore, ...] = ()
