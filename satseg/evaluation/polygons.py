"""Match the objects of two vector files exactly, polygon by polygon, without a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from pyproj.exceptions import ProjError

from satseg.classes import IGNORE_INDEX
from satseg.errors import LabelError, one_line
from satseg.evaluation.objects import MATCH_IOU
from satseg.evaluation.tally import Count, empty_tally
from satseg.geo.crs import full_turn, is_geographic, short_name, way
from satseg.geo.polygons import reproject
from satseg.raster.features import Features
from satseg.raster.vector_labels import VectorLabels
from satseg.records import Progress, ProgressEvent, no_progress

Mover = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Coordinates (x, y) in one CRS in, those in another out."""


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
    labels: PolygonSet, mapped: PolygonSet, num_classes: int, *, progress: Progress = no_progress
) -> np.ndarray:
    """Count the objects of two files, and the pairs of one class whose IoU is over 0.5.

    Polygons of one file may overlap, so that one could match several. Pairs are then taken from the highest IoU down,
    each polygon once. Memory holds some thousand polygons and the pairs.

    Args:
        labels: Polygons that are right.
        mapped: Polygons to be judged.
        num_classes: Classes K.
        progress: Told after some thousand polygons.

    Returns:
        (K, C) tally whose columns of objects are filled.
    """
    tally = empty_tally(num_classes)
    tally[:, Count.LABEL_OBJECTS] = sum(_count(labels.classes_of(f), num_classes) for f in labels.layer.store.near())
    mover = _mover(mapped, labels)
    pairs = [np.empty((0, 4))]
    done = 0
    for features in mapped.layer.store.near():
        classes = mapped.classes_of(features)
        tally[:, Count.MAP_OBJECTS] += _count(classes, num_classes)
        pairs.append(_match_batch(labels, features.geometries, classes, features.numbers, mover))
        done += len(features)
        progress(ProgressEvent("Matching objects", done, mapped.layer.store.count, "object"))
    for _, number, _, _ in _one_to_one(np.concatenate(pairs)):
        tally[int(number), Count.MATCHED] += 1
    return tally


def _count(classes: np.ndarray, num_classes: int) -> np.ndarray:
    return np.bincount(classes[classes != IGNORE_INDEX], minlength=num_classes)


def _mover(mapped: PolygonSet, labels: PolygonSet) -> Mover | None:
    """Return what moves polygons of the map to the CRS of the labels; None where they are in it."""
    source, target = mapped.layer.crs, labels.layer.crs
    if source is None or target is None:
        return None
    try:
        transformer = way(source, target)
    except ProjError as error:
        raise LabelError(
            f"Nothing says where {mapped.layer.path} ({short_name(source)}) lies in the CRS of {labels.layer.path} "
            f"({short_name(target)}): {one_line(error)}."
        ) from error
    if not is_geographic(target):
        return None if transformer is None else transformer.transform
    left, _, right, _ = labels.layer.store.extent
    middle, turn = (left + right) / 2, full_turn(target)

    def move(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count longitudes from the side from which the labels count them."""
        x, y = (x, y) if transformer is None else transformer.transform(x, y)
        return x + turn * np.round((middle - x) / turn), y

    return move


def _match_batch(
    labels: PolygonSet,
    geometries: np.ndarray,
    classes: np.ndarray,
    numbers: np.ndarray,
    mover: Mover | None,
) -> np.ndarray:
    """Return (n, 4) pairs over the threshold: IoU, class, number of the label, number in the map."""
    if mover is not None:
        geometries = reproject(geometries, mover)
    usable = (classes != IGNORE_INDEX) & ~shapely.is_missing(geometries)
    geometries, classes, numbers = geometries[usable], classes[usable], numbers[usable]
    found = [np.empty((0, 4))]
    if not len(geometries):
        return found[0]
    tree = shapely.STRtree(geometries)
    for features in labels.layer.store.near([tuple(shapely.total_bounds(geometries).tolist())]):
        label_classes = labels.classes_of(features)
        one, other = tree.query(features.geometries, predicate="intersects")
        same = label_classes[one] == classes[other]
        one, other = one[same], other[same]
        iou = _iou(features.geometries[one], geometries[other])
        over = iou > MATCH_IOU
        one, other = one[over], other[over]
        found.append(np.stack([iou[over], classes[other], features.numbers[one], numbers[other]], axis=1))
    return np.concatenate(found)


def _iou(these: np.ndarray, those: np.ndarray) -> np.ndarray:
    common = shapely.area(shapely.intersection(these, those))
    return np.asarray(common / (shapely.area(these) + shapely.area(those) - common))


def _one_to_one(pairs: np.ndarray) -> Iterator[np.ndarray]:
    """Yield pairs from the highest IoU down, so that no object is in two of them."""
    used: tuple[set[float], set[float]] = (set(), set())
    for pair in pairs[np.lexsort((pairs[:, 3], pairs[:, 2], -pairs[:, 0]))]:
        if pair[2] not in used[0] and pair[3] not in used[1]:
            used[0].add(pair[2])
            used[1].add(pair[3])
            yield pair
