"""Objects of tiles: those of the labels, and those that a network divides a tile into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rasterio.windows import Window

from satseg.classes import BOUNDARY, IGNORE_INDEX, ClassTable
from satseg.evaluation.object_sides import FeatureObjects
from satseg.evaluation.objects import ObjectMatcher, Outcome
from satseg.evaluation.tiles import ClassifiedTile
from satseg.labels.burnt_features import BurntFeatures
from satseg.objects import ObjectOutputs
from satseg.records import CERTAIN, Rows
from satseg.vectorization.object_division import object_divider, object_groups
from satseg.vectorization.object_records import ObjectRecords


@dataclass(frozen=True, eq=False)
class TileObjects:
    """Numbered objects of a tile.

    Args:
        ids: (S, S) int32, 0 for none.
        classes: (n + 1,) uint8 class id by number.
        scores: (n + 1,) float64 in 0..1 by number.
    """

    ids: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    @classmethod
    def of_labels(cls, found: ClassifiedTile, classes: ClassTable) -> TileObjects:
        """Return the objects of a tile's labels, each of the class that most of its pixels have, but for boundaries.

        Raises:
            TileError: The tile has no objects, or they cannot be read.
        """
        read, _ = found.tile.read_objects()
        values, numbers = np.unique(read, return_inverse=True)
        ids = np.zeros(found.labels.shape, dtype=np.int32)
        ids[: read.shape[0], : read.shape[1]] = numbers.reshape(read.shape) + (values[0] != 0)
        known = (ids > 0) & (found.labels != IGNORE_INDEX)
        votes = np.zeros((ids.max() + 1, IGNORE_INDEX + 1), dtype=np.int64)
        np.add.at(votes, (ids[known], found.labels[known]), 1)
        votes[:, [entry.id for entry in classes if entry.name == BOUNDARY]] = 0
        chosen = np.where(votes.any(axis=1), votes.argmax(axis=1), IGNORE_INDEX)
        return cls(ids, chosen.astype(np.uint8), np.ones(len(votes)))

    @classmethod
    def of_network(cls, found: ClassifiedTile, classes: ClassTable, depth: float) -> TileObjects:
        """Divide what a network says of a tile into objects, as ``predict`` divides a map.

        Args:
            found: The tile.
            classes: Class table of the network.
            depth: Least dynamics of a marker, in 0..1; of no account where objects are found by their centres.
        """
        said = found.objects
        assert said is not None, "the network has learnt objects"
        ids, _ = object_divider(said.outputs, depth)(object_groups(classes)[found.classes], *said.maps)
        records = ObjectRecords()
        sure = "centres" if said.outputs is ObjectOutputs.CENTRES else "boundary"
        records.push(Rows(0, found.classes, objects=ids, **{sure: said.maps[0]}))
        numbers = np.arange(ids.max() + 1, dtype=np.int32)
        sums = np.bincount(ids.ravel(), weights=said.confidence.ravel())
        sizes = np.bincount(ids.ravel())
        confidence = np.divide(sums, sizes * CERTAIN, out=np.zeros(len(sums)), where=sizes > 0)
        columns = records.columns(numbers, confidence)
        return cls(ids, columns.classes, np.nan_to_num(columns.scores.astype(np.float64)))

    def without_small(self, smallest: float) -> TileObjects:
        """Return the objects with at least that many pixels."""
        kept = np.bincount(self.ids.ravel(), minlength=len(self.classes)) >= smallest
        return TileObjects(np.where(kept[self.ids], self.ids, 0), self.classes, self.scores)

    def features(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, BurntFeatures]:
        """Return the objects, as :class:`~satseg.evaluation.object_sides.Burnt` asks for; the window is the tile."""
        numbers = np.arange(1, len(self.classes))
        ends, outer = np.full(len(numbers), self.ids.shape[0]), np.zeros(len(numbers), dtype=bool)
        return self.ids.copy(), BurntFeatures(numbers, self.classes[1:], ends, outer, self.scores[1:])


def match_tile(found: ClassifiedTile, labels: TileObjects, mapped: TileObjects, background: int | None) -> Outcome:
    """Match the objects of a tile; they end at its edge."""
    none = np.empty(0, dtype=np.uint8)
    sides = FeatureObjects(labels, none, background), FeatureObjects(mapped, none, background, (0.0, 1.0))
    rows, columns = found.labels.shape
    return ObjectMatcher(*sides).add(found.labels, found.classes, Window(0, 0, columns, rows), last=True)
