"""Match the objects of two vector files exactly, polygon by polygon, without a grid."""

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
    """The polygons of a file and the classes they are of.

    Args:
        layer: The file.
        ids: uint8 class id of each of its names.
        background: Class that has no objects, or None.
    """

    layer: VectorLabels
    ids: np.ndarray
    background: int | None

    def classes_of(self, features: Features) -> np.ndarray:
        """Return the class id of each feature; 255 for those that are no objects."""
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

    Polygons of one file may overlap, so that one could match several. Pairs are then taken from the highest IoU down,
    each polygon once. Polygons outside of the areas do not count, in neither file. What the edge of an area cuts is
    compared by its part inside; if more lies outside, it counts only where it matches. Memory holds some thousand
    polygons and the pairs.

    Args:
        labels: Polygons that are right.
        mapped: Polygons to be judged.
        num_classes: Classes K.
        areas: Where they are compared: inside all of them.
        progress: Told after some thousand polygons.

    Returns:
        (K, C) tally whose columns of objects are filled.
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
    """Polygons of the map: what of each lies on the ground, its class and number, and whether most of it does not."""

    geometries: np.ndarray
    classes: np.ndarray
    numbers: np.ndarray
    outer: np.ndarray


@dataclass(frozen=True, eq=False)
class _Ground:
    """Where polygons are compared, in the CRS of the labels.

    Args:
        areas: Polygons, inside all of which they are; none where they are compared everywhere.
    """

    areas: Sequence[shapely.Geometry]

    @classmethod
    def of(cls, areas: Sequence[AreaOfInterest], labels: PolygonSet) -> _Ground:
        """Bring areas to the CRS of the labels; straight edges stay straight in the CRS they were drawn in."""
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
        """Return what of polygons lies in the areas, None where nothing does; and which lie mostly outside, bool.

        Those that are missing already, since they have no place here, are not outside.
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
    """Return what moves polygons of a file from their CRS to that of the labels; None where they are in it."""
    target = labels.layer.crs
    if source is None or target is None or (same_crs(source, target) and not is_geographic(target)):
        return None
    try:
        transform = point_transform(source, target)
    except ProjError as error:
        raise LabelError(
            f"Nothing says where {path} ({short_name(source)}) lies in the CRS of {labels.layer.path} "
            f"({short_name(target)}): {one_line(error)}."
        ) from error
    if not is_geographic(target):
        return transform
    left, _, right, _ = labels.layer.store.extent
    middle, turn = (left + right) / 2, full_turn(target)

    def move(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count longitudes from the side from which the labels count them."""
        x, y = transform(x, y)
        return x + turn * np.round((middle - x) / turn), y

    return move


def _match_batch(labels: PolygonSet, mapped: _Objects, ground: _Ground) -> np.ndarray:
    """Return (n, 6) pairs over the threshold: IoU, class, number of label and map, which of both lies mostly outside.

    The polygons of the map are in the CRS of the labels, and cut to the ground.
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
    """Yield pairs from the highest IoU down, so that no object is in two of them."""
    used: tuple[set[float], set[float]] = (set(), set())
    for pair in pairs[np.lexsort((pairs[:, 3], pairs[:, 2], -pairs[:, 0]))]:
        if pair[2] not in used[0] and pair[3] not in used[1]:
            used[0].add(pair[2])
            used[1].add(pair[3])
            yield pair
