"""Counts of objects by class and size, and by class, score and IoU.

Counts stand in cells that are numbered through: those of class 0, of class 1, and so on. A class has a cell for each
size and :class:`ObjectCount`, and one for each level of the score and number of IoU thresholds that a match reaches.
Counts of parts add up to that of the whole, so that they can be streamed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from satseg.evaluation.objects import Objects, Outcome
from satseg.geo.units import Gsd

SIZES = (3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6)
"""Areas that part objects by size, in square metres, or in pixels where the pixel size is unknown."""
SQUARE_METRES, PIXELS = "m2", "px"
"""Units of areas."""
THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU thresholds over which average precision is averaged, as COCO does (Lin et al., 2014)."""
LEVELS = 256
"""Levels of the score by which objects of the map are ranked."""


class ObjectCount(IntEnum):
    """What is counted by class and size."""

    LABELLED = 0  # objects in the labels
    MAPPED = 1  # objects in the map
    FOUND = 2  # objects of the labels that match one of the map
    CORRECT = 3  # objects of the map that match one of the labels
    IOU = 4  # sum of the IoU of the matches, by the size of the labelled object
    SPLIT = 5  # objects of the labels in which two or more of the map lie
    MERGED = 6  # objects of the labels that lie in one of the map together with others


_SHAPE = (len(SIZES) + 1, len(ObjectCount))
_COUNTS = _SHAPE[0] * _SHAPE[1]
_RANKED = (LEVELS, len(THRESHOLDS) + 1)
CELLS = _COUNTS + _RANKED[0] * _RANKED[1]
"""Cells of one class."""


@dataclass(frozen=True, eq=False)
class CountedObjects:
    """What is counted of some objects.

    Args:
        places: (n,) int64 where each count belongs: the first pixel of its object, or what the caller takes for it.
        cells: (n,) int64 cells.
        values: (n,) float64 what is added to each.
    """

    places: np.ndarray
    cells: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, outcome: Outcome, pixel: float = 1.0) -> CountedObjects:
        """Count objects that are complete.

        Args:
            outcome: The objects.
            pixel: Area of a pixel in square metres, or 1.
        """
        counted = [
            _count(outcome.labels, ObjectCount.LABELLED, pixel),
            _count(outcome.mapped, ObjectCount.MAPPED, pixel),
            _count(outcome.found, ObjectCount.FOUND, pixel),
            _count(outcome.correct, ObjectCount.CORRECT, pixel),
            _count(outcome.found, ObjectCount.IOU, pixel, outcome.iou),
            _count(outcome.split, ObjectCount.SPLIT, pixel),
            _count(outcome.merged, ObjectCount.MERGED, pixel),
            _rank(outcome.mapped, np.zeros(len(outcome.mapped.classes))),
            _rank(outcome.correct, outcome.iou),
        ]
        return cls(*(np.concatenate([getattr(part, name) for part in counted]) for name in cls.__annotations__))

    def where(self, chosen: np.ndarray) -> CountedObjects:
        """Return some of the counts."""
        return CountedObjects(self.places[chosen], self.cells[chosen], self.values[chosen])


def _count(objects: Objects, kind: ObjectCount, pixel: float, values: np.ndarray | None = None) -> CountedObjects:
    sizes = np.searchsorted(SIZES, objects.areas * pixel, side="right")
    cells = objects.classes.astype(np.int64) * CELLS + sizes * _SHAPE[1] + kind
    return CountedObjects(objects.first, cells, np.ones(len(cells)) if values is None else values)


def _rank(objects: Objects, iou: np.ndarray) -> CountedObjects:
    """Count objects of the map by level of their score and the number of thresholds that their IoU reaches."""
    levels = np.clip(np.rint(objects.scores * (LEVELS - 1)), 0, LEVELS - 1).astype(np.int64)
    reached = np.searchsorted(THRESHOLDS, iou, side="right")
    cells = objects.classes.astype(np.int64) * CELLS + _COUNTS + levels * _RANKED[1] + reached
    return CountedObjects(objects.first, cells, np.ones(len(cells)))


def pixel_area(gsd: Gsd) -> float:
    """Return the area of a pixel in square metres, or 1 if its size is unknown."""
    return 1.0 if gsd is None else gsd[0] * gsd[1]


def area_unit(gsd: Gsd) -> str:
    """Return the unit of areas that :func:`pixel_area` gives."""
    return PIXELS if gsd is None else SQUARE_METRES


class ObjectTotals:
    """Totals of the cells that hold something, once or resampled.

    Args:
        replicates: Number of totals R.
    """

    def __init__(self, replicates: int = 1) -> None:
        self._rows: dict[int, dict[int, int]] = {}  # row of each cell of each class
        self._totals = np.zeros((0, replicates))
        self._used = 0

    def add(self, counted: CountedObjects, weights: np.ndarray | float = 1.0) -> None:
        """Add counts, with (R,) weights."""
        cells, where = np.unique(counted.cells, return_inverse=True)
        rows = [self._row(*divmod(cell, CELLS)) for cell in cells.tolist()]
        if self._used > len(self._totals):
            grown = np.zeros((2 * self._used, self._totals.shape[1]))
            grown[: len(self._totals)] = self._totals
            self._totals = grown
        self._totals[rows] += np.bincount(where, weights=counted.values)[:, None] * weights

    @property
    def classes(self) -> set[int]:
        """Classes with objects in labels or map."""
        return set(self._rows)

    def of_class(self, number: int) -> np.ndarray:
        """Return the (R, CELLS) totals of a class."""
        found = np.zeros((self._totals.shape[1], CELLS))
        rows = self._rows.get(number, {})
        found[:, list(rows)] = self._totals[list(rows.values())].T
        return found

    def _row(self, number: int, cell: int) -> int:
        """Return the row of a cell of a class, a new one if it has none."""
        rows = self._rows.setdefault(number, {})
        if cell not in rows:
            rows[cell] = self._used
            self._used += 1
        return rows[cell]


def by_size(cells: np.ndarray) -> np.ndarray:
    """Return the (..., S, C) counts by size and :class:`ObjectCount` of the (..., CELLS) counts of a class."""
    return cells[..., :_COUNTS].reshape(*cells.shape[:-1], *_SHAPE)


def by_rank(cells: np.ndarray) -> np.ndarray:
    """Return the (..., LEVELS, T + 1) objects of the map by score and thresholds that their IoU reaches.

    The first of the last axis are all objects of the map, the others those that match, by the thresholds reached.

    Args:
        cells: (..., CELLS) counts of a class.
    """
    return cells[..., _COUNTS:].reshape(*cells.shape[:-1], *_RANKED)
