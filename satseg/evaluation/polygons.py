"""Match the polygons of two vector files exactly, without a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import shapely

from satseg.classes import IGNORE_INDEX
from satseg.evaluation.accumulator import ScoreAccumulator
from satseg.evaluation.object_counts import SQUARE_METRES, CountedObjects
from satseg.evaluation.object_sides import scores_of
from satseg.evaluation.objects import MATCH_IOU, Objects, Outcome
from satseg.evaluation.polygon_ground import Ground, Squares, mover_of
from satseg.geo.crs import is_local, is_planar
from satseg.geo.feature_store import Features
from satseg.geo.ground_area import ground_areas
from satseg.geo.polygons import reproject
from satseg.labels.vector_labels import VectorLabels
from satseg.raster.area import AreaOfInterest
from satseg.records import Progress, ProgressEvent, no_progress

UNITS = "square units of the CRS"
"""Unit of areas where that of the CRS is unknown."""


def unit_of_areas(crs: str | None) -> str:
    """Return the unit of the areas of polygons in a CRS."""
    return SQUARE_METRES if crs is not None and (is_local(crs) or is_planar(crs)) else UNITS


@dataclass(frozen=True, eq=False)
class PolygonSet:
    """The polygons of a file and their classes.

    Args:
        layer: The file.
        ids: uint8 class id of each class name of the file.
        background: Class that has no objects, or None.
    """

    layer: VectorLabels
    ids: np.ndarray
    background: int | None

    def classes_of(self, features: Features) -> np.ndarray:
        """Return the class id of each feature; 255 for the background."""
        classes = self.ids[features.kinds]
        return np.where(classes == self.background, np.uint8(IGNORE_INDEX), classes)

    def scores_of(self, features: Features) -> np.ndarray:
        """Return the score of each feature in 0..1."""
        return scores_of(features.ranks, self.layer.scores)


def match_polygons(
    labels: PolygonSet,
    mapped: PolygonSet,
    accumulator: ScoreAccumulator,
    *,
    areas: Sequence[AreaOfInterest] = (),
    progress: Progress = no_progress,
) -> Outcome:
    """Count the objects of two files, those of one class whose IoU is over 0.5, and those that are split or merged.

    Polygons of one file may overlap, so that a polygon could match several. Pairs are then assigned in order of
    decreasing IoU, each polygon once. Polygons outside of the areas are not counted. Polygons that cross the edge of
    an area are compared by their part inside; if most of a polygon lies outside, it counts only if it matches. Memory
    holds some thousand polygons, and a few numbers of each polygon and each pair.

    Args:
        labels: Polygons of the labels.
        mapped: Polygons of the map.
        accumulator: Takes the counts. Its units are squares over the extent of the labels.
        areas: Areas of the comparison; polygons are compared inside all of them.
        progress: Called after some thousand polygons.

    Returns:
        What was counted; areas are in square metres, or in units of the CRS if its unit is unknown.
    """
    mover = mover_of(mapped.layer.path, mapped.layer.crs, labels.layer)
    ground, squares = Ground.of(areas, labels.layer), Squares.over(labels.layer)
    crs = labels.layer.crs
    known, found, pairs = [_Measured.none()], [_Measured.none()], [_Pairs.none()]
    for features in labels.layer.store.near():
        inside, outer = ground.cut(features.geometries)
        known.append(_Measured.of(labels, features, inside, outer, squares, crs))
    done = 0
    for features in mapped.layer.store.near():
        moved = features.geometries if mover is None else reproject(features.geometries, mover)
        inside, outer = ground.cut(moved)
        found.append(_Measured.of(mapped, features, inside, outer, squares, crs))
        pairs.append(_meeting(labels, ground, inside, found[-1].objects.classes, features.numbers))
        done += len(features)
        progress(ProgressEvent("Matching objects", done, mapped.layer.store.count, "object"))
    outcome = _outcome(_Measured.joined(known), _Measured.joined(found), _Pairs.joined(pairs))
    for square, counted in squares.part(CountedObjects.of(outcome)):
        accumulator.add_objects(square, counted)
    return outcome


class _Measured(NamedTuple):
    """Polygons of one file, in its order.

    Args:
        objects: Their part inside the areas; class 255 is none.
        outer: (n,) bool, whether most of each lies outside.
    """

    objects: Objects
    outer: np.ndarray

    @classmethod
    def of(
        cls,
        polygons: PolygonSet,
        features: Features,
        inside: np.ndarray,
        outer: np.ndarray,
        squares: Squares,
        crs: str | None,
    ) -> _Measured:
        """Measure features whose parts inside the areas are in the CRS of the labels."""
        areas = shapely.area(inside) if unit_of_areas(crs) == UNITS else ground_areas(inside, crs)
        objects = Objects(
            polygons.classes_of(features), squares.places(inside), np.nan_to_num(areas), polygons.scores_of(features)
        )
        return cls(objects, outer)

    @classmethod
    def none(cls) -> _Measured:
        """Return no polygons."""
        return cls(Objects.none(), np.empty(0, dtype=bool))

    @classmethod
    def joined(cls, parts: Sequence[_Measured]) -> _Measured:
        """Return the polygons of all parts."""
        return cls(Objects.joined([part.objects for part in parts]), np.concatenate([part.outer for part in parts]))

    def counting(self, matched: np.ndarray) -> np.ndarray:
        """Return (n,) bool, whether each counts, given the numbers of those that match."""
        counts = ~self.outer
        counts[matched] = True
        return counts & (self.objects.classes != IGNORE_INDEX)


class _Pairs(NamedTuple):
    """Pairs of polygons that match, or one of which lies mostly in the other.

    Args:
        labels: (n,) int64 positions of the labelled polygons in their file.
        mapped: (n,) int64 positions of the polygons of the map.
        iou: (n,) float64 IoU.
        label_lies_in: (n,) bool, whether most of the labelled one lies in that of the map.
        map_lies_in: (n,) bool, whether most of that of the map lies in the labelled one.
    """

    labels: np.ndarray
    mapped: np.ndarray
    iou: np.ndarray
    label_lies_in: np.ndarray
    map_lies_in: np.ndarray

    @classmethod
    def none(cls) -> _Pairs:
        """Return no pairs."""
        numbers = np.empty(0, dtype=np.int64)
        return cls(numbers, numbers, np.empty(0), numbers.astype(bool), numbers.astype(bool))

    @classmethod
    def joined(cls, parts: Sequence[_Pairs]) -> _Pairs:
        """Return all pairs."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))

    def one_to_one(self) -> np.ndarray:
        """Return the pairs that match, in order of decreasing IoU, each polygon once."""
        used: tuple[set[int], set[int]] = (set(), set())
        chosen = []
        order = np.lexsort((self.mapped, self.labels, -self.iou))
        for pair in order[self.iou[order] > MATCH_IOU].tolist():
            label, found = int(self.labels[pair]), int(self.mapped[pair])
            if label not in used[0] and found not in used[1]:
                used[0].add(label)
                used[1].add(found)
                chosen.append(pair)
        return np.array(chosen, dtype=np.int64)


def _meeting(
    labels: PolygonSet, ground: Ground, geometries: np.ndarray, classes: np.ndarray, numbers: np.ndarray
) -> _Pairs:
    """Return the pairs that match, or one of which lies mostly in the other.

    Args:
        labels: Polygons of the labels.
        ground: Areas of the comparison.
        geometries: (n,) polygons of the map inside of them, in the CRS of the labels; None where nothing is left.
        classes: (n,) their classes.
        numbers: (n,) their positions in the file.
    """
    usable = (classes != IGNORE_INDEX) & ~shapely.is_missing(geometries)
    geometries, classes, numbers = geometries[usable], classes[usable], numbers[usable]
    found = [_Pairs.none()]
    if not len(geometries):
        return found[0]
    tree = shapely.STRtree(geometries)
    for features in labels.layer.store.near([tuple(shapely.total_bounds(geometries).tolist())]):
        label_classes = labels.classes_of(features)
        inside, _ = ground.cut(features.geometries)
        one, other = tree.query(inside, predicate="intersects")
        same = label_classes[one] == classes[other]
        one, other = one[same], other[same]
        common = shapely.area(shapely.intersection(inside[one], geometries[other]))
        whole = shapely.area(inside[one]), shapely.area(geometries[other])
        iou = common / (whole[0] + whole[1] - common)
        lies_in = 2 * common > whole[0], 2 * common > whole[1]
        kept = lies_in[0] | lies_in[1]  # as all that match do
        columns = features.numbers[one], numbers[other], iou, *lies_in
        found.append(_Pairs(*(column[kept] for column in columns)))
    return _Pairs.joined(found)


def _outcome(known: _Measured, found: _Measured, pairs: _Pairs) -> Outcome:
    """Return what is counted of labels and map."""
    matches = pairs.one_to_one()
    labels, mapped = pairs.labels[matches], pairs.mapped[matches]
    held = np.bincount(pairs.labels[pairs.map_lies_in], minlength=len(known.outer))
    holding = np.bincount(pairs.mapped[pairs.label_lies_in], minlength=len(found.outer))
    together = np.zeros(len(known.outer), dtype=bool)
    together[pairs.labels[pairs.label_lies_in & (holding[pairs.mapped] > 1)]] = True
    return Outcome(
        known.objects.where(known.counting(labels)),
        found.objects.where(found.counting(mapped)),
        known.objects.where(labels),
        found.objects.where(mapped),
        pairs.iou[matches],
        known.objects.where((held > 1) & ~known.outer),
        known.objects.where(together & ~known.outer),
    )
