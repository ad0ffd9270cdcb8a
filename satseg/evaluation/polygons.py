"""Match the polygons of two vector files exactly, without a grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import shapely
from pyproj.exceptions import ProjError

from satseg.classes import IGNORE_INDEX
from satseg.errors import LabelError, one_line
from satseg.evaluation.objects import MATCH_IOU
from satseg.evaluation.tally import Count, empty_tally
from satseg.geo.crs import PointTransform, full_turn, is_geographic, point_transform, same_crs, short_name
from satseg.geo.feature_store import Features
from satseg.geo.polygons import intersection_over_union, repair, reproject
from satseg.labels.vector_labels import VectorLabels
from satseg.raster.area import AreaOfInterest
from satseg.records import Progress, ProgressEvent, no_progress

_PIECES = 256  # of an area's longest edge, so that it stays straight in its own CRS


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


def match_polygons(
    labels: PolygonSet,
    mapped: PolygonSet,
    num_classes: int,
    *,
    areas: Sequence[AreaOfInterest] = (),
    progress: Progress = no_progress,
) -> np.ndarray:
    """Count the objects of two files, and the pairs of one class whose IoU is over 0.5.

    Polygons of one file may overlap, so that a polygon could match several. Pairs are then assigned in order of
    decreasing IoU, each polygon once. Polygons outside of the areas are not counted. Polygons that cross the edge of
    an area are compared by their part inside; if most of a polygon lies outside, it counts only if it matches. Memory
    holds some thousand polygons and the pairs.

    Args:
        labels: Polygons of the labels.
        mapped: Polygons of the map.
        num_classes: Number of classes K.
        areas: Areas of the comparison; polygons are compared inside all of them.
        progress: Called after some thousand polygons.

    Returns:
        (K, C) tally of objects.
    """
    tally = empty_tally(num_classes)
    mover = _mover(mapped.layer.path, mapped.layer.crs, labels)
    ground = _Ground.of(areas, labels)
    for features in labels.layer.store.near():
        _, outer = ground.cut(features.geometries)
        tally[:, Count.LABEL_OBJECTS] += _count(labels.classes_of(features)[~outer], num_classes)
    pairs = [np.empty((0, 6))]
    done = 0
    for features in mapped.layer.store.near():
        classes = mapped.classes_of(features)
        moved = features.geometries if mover is None else reproject(features.geometries, mover)
        inside, outer = ground.cut(moved)
        tally[:, Count.MAP_OBJECTS] += _count(classes[~outer], num_classes)
        pairs.append(_match_batch(labels, _Objects(inside, classes, features.numbers, outer), ground))
        done += len(features)
        progress(ProgressEvent("Matching objects", done, mapped.layer.store.count, "object"))
    for _, number, _, _, *late in _one_to_one(np.concatenate(pairs)):
        tally[int(number), [Count.MATCHED, Count.LABEL_OBJECTS, Count.MAP_OBJECTS]] += 1, *late
    return tally


def _count(classes: np.ndarray, num_classes: int) -> np.ndarray:
    return np.bincount(classes[classes != IGNORE_INDEX], minlength=num_classes)


class _Objects(NamedTuple):
    """Polygons of the map, clipped to the area: geometry, class, number, and whether most of it lies outside."""

    geometries: np.ndarray
    classes: np.ndarray
    numbers: np.ndarray
    outer: np.ndarray


@dataclass(frozen=True, eq=False)
class _Ground:
    """Area of the comparison, in the CRS of the labels.

    Args:
        areas: The comparison is inside all of these polygons; empty for everywhere.
    """

    areas: Sequence[shapely.Geometry]

    @classmethod
    def of(cls, areas: Sequence[AreaOfInterest], labels: PolygonSet) -> _Ground:
        """Transform areas to the CRS of the labels; edges stay straight in their own CRS."""
        brought = []
        for area in areas:
            mover = _mover(area.path, area.crs, labels)
            geometries = area.geometries
            if mover is not None:
                left, bottom, right, top = shapely.total_bounds(geometries)
                pieces = shapely.segmentize(geometries, max(right - left, top - bottom) / _PIECES)
                geometries = reproject(pieces, mover)
            joined = shapely.union_all(geometries[~shapely.is_missing(geometries)])
            shapely.prepare(joined)
            brought.append(joined)
        return cls(brought)

    def cut(self, geometries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clip polygons to the areas.

        Returns:
            The clipped polygons, None if nothing is left; and a bool array, whether most of a polygon lies outside.
            Missing geometries are not outside.
        """
        whole = shapely.area(geometries)
        for area in self.areas:
            meeting = shapely.intersects(area, geometries)
            crossing = meeting & ~shapely.covers(area, geometries)
            geometries = geometries.copy()
            geometries[~meeting] = None
            geometries[crossing] = repair(shapely.intersection(geometries[crossing], area))
        return geometries, np.nan_to_num(shapely.area(geometries)) < whole / 2


def _mover(path: str, source: str | None, labels: PolygonSet) -> PointTransform | None:
    """Return the transformation from the CRS of a file to that of the labels; None if they are the same."""
    target = labels.layer.crs
    if source is None or target is None or (same_crs(source, target) and not is_geographic(target)):
        return None
    try:
        transform = point_transform(source, target)
    except ProjError as error:
        raise LabelError(
            f"{path} ({short_name(source)}) cannot be transformed to the CRS of {labels.layer.path} "
            f"({short_name(target)}): {one_line(error)}."
        ) from error
    if not is_geographic(target):
        return transform
    left, _, right, _ = labels.layer.store.extent
    middle, turn = (left + right) / 2, full_turn(target)

    def move(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shift longitudes by full turns to those of the labels."""
        x, y = transform(x, y)
        return x + turn * np.round((middle - x) / turn), y

    return move


def _match_batch(labels: PolygonSet, mapped: _Objects, ground: _Ground) -> np.ndarray:
    """Return (n, 6) matches: IoU, class, numbers of label and map, and whether each lies mostly outside.

    The polygons of the map are in the CRS of the labels and clipped to the area.
    """
    usable = (mapped.classes != IGNORE_INDEX) & ~shapely.is_missing(mapped.geometries)
    geometries, classes, numbers, outer = (column[usable] for column in mapped)
    found = [np.empty((0, 6))]
    if not len(geometries):
        return found[0]
    tree = shapely.STRtree(geometries)
    for features in labels.layer.store.near([tuple(shapely.total_bounds(geometries).tolist())]):
        label_classes = labels.classes_of(features)
        right, label_outer = ground.cut(features.geometries)
        one, other = tree.query(right, predicate="intersects")
        same = label_classes[one] == classes[other]
        one, other = one[same], other[same]
        iou = intersection_over_union(right[one], geometries[other])
        over = iou > MATCH_IOU
        one, other = one[over], other[over]
        columns = classes[other], features.numbers[one], numbers[other], label_outer[one], outer[other]
        found.append(np.stack([iou[over], *columns], axis=1))
    return np.concatenate(found)


def _one_to_one(pairs: np.ndarray) -> Iterator[np.ndarray]:
    """Yield pairs in order of decreasing IoU, each object once."""
    used: tuple[set[float], set[float]] = (set(), set())
    for pair in pairs[np.lexsort((pairs[:, 3], pairs[:, 2], -pairs[:, 0]))]:
        if pair[2] not in used[0] and pair[3] not in used[1]:
            used[0].add(pair[2])
            used[1].add(pair[3])
            yield pair
