"""The objects of labels or map in a stream of rows: connected pixels of one class, or features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from rasterio.windows import Window
from scipy.ndimage import label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from satseg.classes import IGNORE_INDEX

if TYPE_CHECKING:
    from satseg.labels.burnt_features import BurntFeatures


@dataclass(frozen=True, eq=False)
class Numbered:
    """The objects of one side in a strip and those carried from above, numbered 1..n; 0 is no object.

    Args:
        ids: (H, W) numbers of objects.
        moved: New number of each object that is carried from above, by its previous number.
        classes: (n + 1,) class id of each object; meaningless for 0.
        open: (n + 1,) bool, whether an object may continue below.
        outer: (n + 1,) bool, whether an object lies mostly outside and counts only if it matches.
        scores: (n + 1,) float64 in 0..1, by which objects of the map are ranked.
    """

    ids: np.ndarray
    moved: np.ndarray
    classes: np.ndarray
    open: np.ndarray
    outer: np.ndarray
    scores: np.ndarray


class Side(Protocol):
    """Source of the objects of labels or map."""

    def number(self, classes: np.ndarray, window: Window, *, last: bool) -> Numbered:
        """Number the objects in the next rows.

        Args:
            classes: (H, W) uint8 class ids, 255 where not compared.
            window: These rows in the scene.
            last: Whether these are the last rows.
        """
        ...

    def keep(self, kept: np.ndarray) -> None:
        """Drop finished objects.

        Args:
            kept: (n + 1,) new number of each object, 0 for dropped ones.
        """
        ...


class ConnectedRegions:
    """Connected pixels of one class.

    Args:
        background: Class that has no objects, or None.
    """

    def __init__(self, background: int | None) -> None:
        self._without = _without(background)
        self._classes = np.zeros(1, dtype=np.uint8)
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def number(self, classes: np.ndarray, window: Window, *, last: bool) -> Numbered:
        """Take the next rows."""
        carried = len(self._classes)
        ids, found = self._label(classes, carried)
        merged = self._join(ids, classes, len(found))
        self._classes = np.zeros(merged.max() + 1, dtype=np.uint8)
        self._classes[merged] = found
        ids = merged[ids]
        open_ = np.zeros(len(self._classes), dtype=bool)
        open_[ids[-1]] = not last
        open_[0] = False
        self._last = ids[-1], classes[-1]
        outer, scores = np.zeros(len(open_), dtype=bool), np.ones(len(open_))
        return Numbered(ids, merged[:carried], self._classes, open_, outer, scores)

    def keep(self, kept: np.ndarray) -> None:
        """Carry on with some objects only."""
        assert self._last is not None
        self._classes = np.concatenate([self._classes[:1], self._classes[kept > 0]])
        self._last = kept[self._last[0]], self._last[1]

    def _label(self, classes: np.ndarray, carried: int) -> tuple[np.ndarray, np.ndarray]:
        """Number the regions within these rows after the carried ones; return ids and the classes of all."""
        ids = np.zeros(classes.shape, dtype=np.int64)
        found = [self._classes]
        for number in np.setdiff1d(np.unique(classes), self._without).tolist():
            inside = classes == number
            regions, count = label(inside)
            ids[inside] = regions[inside] + (carried - 1)
            found.append(np.full(count, number, dtype=np.uint8))
            carried += count
        return ids, np.concatenate(found)

    def _join(self, ids: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
        """Return one number for all regions that are connected across the seam; 0 stays 0."""
        if self._last is None:
            return np.arange(count)
        above, classes_above = self._last
        touching = (above > 0) & (ids[0] > 0) & (classes_above == classes[0])
        pairs = above[touching], ids[0][touching]
        graph = coo_array((np.ones(len(pairs[0]), dtype=bool), pairs), shape=(count, count))
        _, merged = connected_components(graph, directed=False)
        assert merged[0] == 0, "nodes are visited in order"
        return np.asarray(merged)


class Burnt(Protocol):
    """Features that are rasterised on the grid of a scene."""

    def features(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, BurntFeatures]:
        """Return the feature of each pixel, and the properties of the features."""
        ...


class FeatureObjects:
    """Rasterised features: each is one object, even if its pixels are not connected.

    Args:
        burnt: The features.
        ids: uint8 class id of each class name of the features.
        background: Class that has no objects, or None.
        ranks: Lowest and highest rank of the features if these are their scores, or None.
    """

    def __init__(
        self, burnt: Burnt, ids: np.ndarray, background: int | None, ranks: tuple[float, float] | None = None
    ) -> None:
        self._burnt, self._ids, self._ranks = burnt, ids, ranks
        self._without = _without(background)
        self._numbers = np.empty(0, dtype=np.int64)  # position in the file of each that is carried
        self._classes = np.empty(0, dtype=np.uint8)
        self._ends = np.empty(0, dtype=np.int64)
        self._outer = np.empty(0, dtype=bool)
        self._scores = np.empty(0)

    def number(self, classes: np.ndarray, window: Window, *, last: bool) -> Numbered:
        """Take the next rows."""
        objects, found = self._burnt.features(window, self._ids)
        objects[classes == IGNORE_INDEX] = 0
        seen = np.zeros(len(found.numbers) + 1, dtype=bool)
        seen[objects] = True
        seen[1:] &= ~np.isin(found.classes, self._without)
        here = np.flatnonzero(seen[1:])
        carried = len(self._numbers)
        everything = np.concatenate([self._numbers, found.numbers[here]])
        self._numbers, first, where = np.unique(everything, return_index=True, return_inverse=True)
        self._classes = np.concatenate([self._classes, found.classes[here]])[first]
        self._ends = np.concatenate([self._ends, found.ends[here]])[first]
        self._outer = np.concatenate([self._outer, found.outer[here]])[first]
        self._scores = np.concatenate([self._scores, scores_of(found.ranks[here], self._ranks)])[first]
        renamed = np.zeros(len(seen), dtype=np.int64)
        renamed[here + 1] = where[carried:] + 1
        going = (self._ends > window.row_off + window.height) & (not last)
        return Numbered(
            renamed[objects],
            np.concatenate([[0], where[:carried] + 1]),
            np.concatenate([[np.uint8(0)], self._classes]),
            np.concatenate([[False], going]),
            np.concatenate([[False], self._outer]),
            np.concatenate([[0.0], self._scores]),
        )

    def keep(self, kept: np.ndarray) -> None:
        """Carry on with some objects only."""
        needed = kept[1:] > 0
        for name in ("_numbers", "_classes", "_ends", "_outer", "_scores"):
            setattr(self, name, getattr(self, name)[needed])


def scores_of(ranks: np.ndarray, limits: tuple[float, float] | None) -> np.ndarray:
    """Return scores in 0..1 by ranks of features between limits; without limits 1 for all."""
    if limits is None or not limits[1] > limits[0]:
        return np.ones(len(ranks))
    return np.clip((ranks - limits[0]) / (limits[1] - limits[0]), 0.0, 1.0)


def _without(background: int | None) -> list[int]:
    return [IGNORE_INDEX, *([] if background is None else [background])]
