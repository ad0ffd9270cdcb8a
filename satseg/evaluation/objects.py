"""Match the objects of a map with those of the labels, in a stream of rows from the top.

An object is a region of connected pixels of one class (four neighbours), or a feature if features are available. Two
objects of a class match if their IoU is over 0.5. Objects of one side do not overlap, so that at this threshold an
object matches at most one other (Kirillov et al., "Panoptic Segmentation", 2019). Pixels without a label belong to no
object; objects of the labels without a class in the map are missed.

An object of the labels is split if two or more objects of the map have more than half of their pixels in it, and merged
if an object of the map holds more than half of its pixels and more than half of another one's, as Hoover et al. ("An
Experimental Comparison of Range Image Segmentation Algorithms", 1996) tell over- and under-segmentation.

A feature that lies mostly outside of the compared area counts only if its part inside matches: a map should not be
penalised for the corner of a building.

Memory holds the objects that reach the last row, and those that may still match, or lie in, one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX
from satseg.evaluation.object_sides import ConnectedRegions, Numbered, Side

MATCH_IOU = 0.5
_LATE = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Objects:
    """Complete objects.

    Args:
        classes: (n,) uint8 class id of each.
        first: (n,) int64 place of its first pixel in reading order: row * width + column.
        areas: (n,) float64 pixels.
        scores: (n,) float64 in 0..1, by which objects of the map are ranked.
    """

    classes: np.ndarray
    first: np.ndarray
    areas: np.ndarray
    scores: np.ndarray

    @classmethod
    def none(cls) -> Objects:
        """Return no objects."""
        return cls(np.empty(0, dtype=np.uint8), np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))

    @classmethod
    def joined(cls, parts: Sequence[Objects]) -> Objects:
        """Return the objects of all parts."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def where(self, chosen: np.ndarray) -> Objects:
        """Return some of the objects."""
        return Objects(*(getattr(self, field.name)[chosen] for field in fields(self)))


class Outcome(NamedTuple):
    """What a strip completes.

    Args:
        labels: Objects of the labels.
        mapped: Objects of the map.
        found: Objects of the labels that match one of the map.
        correct: The objects of the map that these match.
        iou: (n,) float64 IoU of these pairs.
        split: Objects of the labels that are split.
        merged: Objects of the labels that are merged with others.
    """

    labels: Objects
    mapped: Objects
    found: Objects
    correct: Objects
    iou: np.ndarray
    split: Objects
    merged: Objects


class ObjectMatcher:
    """Matches objects strip by strip.

    Args:
        labels: Objects of the labels.
        mapped: Objects of the map.
    """

    def __init__(self, labels: Side, mapped: Side) -> None:
        self._sides = (labels, mapped)
        self._counted = (_Counted(labels), _Counted(mapped))
        self._pairs = np.empty((0, 2), dtype=np.int64)  # numbers of a labelled object and of one of the map
        self._common: np.ndarray = np.empty(0)  # pixels they share
        self._alone = _Within.none()

    def add(self, labels: np.ndarray, classes: np.ndarray, window: Window, *, last: bool) -> Outcome:
        """Match the objects in the next rows; ignored pixels belong to no object of the map either.

        Args:
            labels: (H, W) uint8 class ids, 255 = ignore.
            classes: (H, W) uint8 class ids of the map, 255 = nodata.
            window: These rows in the scene.
            last: Whether these are the last rows.
        """
        masked = (labels, np.where(labels == IGNORE_INDEX, np.uint8(IGNORE_INDEX), classes))
        numbered = [side.number(ids, window, last=last) for side, ids in zip(self._sides, masked, strict=True)]
        ended = [side.take(part, window) for side, part in zip(self._counted, numbered, strict=True)]
        self._alone = self._alone.renumbered(numbered[1].moved)
        self._count_common(*numbered)
        one, other = self._pairs.T
        labelled, found = self._counted
        iou = self._common / (labelled.area[one] + found.area[other] - self._common)
        lies_in = 2 * self._common > labelled.area[one], 2 * self._common > found.area[other]
        matches = ~(labelled.open[one] | found.open[other]) & (iou > MATCH_IOU)
        split = labelled.hold(one[found.tell(other, lies_in[1])])
        merged = self._merge(*self._pairs[labelled.tell(one, lies_in[0])].T)
        pairs = labelled.objects(one[matches]), found.objects(other[matches])
        late = [side.objects(n[side.outer[n]]) for side, n in ((labelled, one[matches]), (found, other[matches]))]
        outcome = Outcome(
            Objects.joined([ended[0], late[0]]),
            Objects.joined([ended[1], late[1]]),
            *pairs,
            iou[matches],
            split,
            merged,
        )
        self._carry(self._waiting(lies_in))
        return outcome

    def _count_common(self, labels: Numbered, mapped: Numbered) -> None:
        same = (labels.ids > 0) & (mapped.ids > 0) & (labels.classes[labels.ids] == mapped.classes[mapped.ids])
        stride = len(mapped.classes)
        carried = labels.moved[self._pairs[:, 0]] * stride + mapped.moved[self._pairs[:, 1]]
        new, count = np.unique(labels.ids[same] * stride + mapped.ids[same], return_counts=True)
        keys, where = np.unique(np.concatenate([carried, new]), return_inverse=True)
        self._common = np.bincount(where, weights=np.concatenate([self._common, count]), minlength=len(keys))
        self._pairs = np.stack(np.divmod(keys, stride), axis=1)

    def _merge(self, one: np.ndarray, other: np.ndarray) -> Objects:
        """Return objects of the labels that are found to lie in one of the map together with others.

        Args:
            one: Objects of the labels that have ended, and lie mostly in one of the map.
            other: The object of the map in which each lies.
        """
        labelled, found = self._counted
        np.add.at(found.holds, other, 1)
        inside = self._alone.beside(_Within(other, labelled.objects(one), labelled.outer[one]))
        several = found.holds[inside.holders] > 1
        self._alone = inside.where(~several)
        return inside.where(several & ~inside.outer).objects

    def _waiting(self, lies_in: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return which pairs are not decided yet, given whether the object of either side lies in the other one.

        What an object that has ended shares with another is known. The other may still grow, and join with its
        neighbours: all of them then share with the former what they did together. So they are kept as long as one of
        them lies in it, or it may come to lie in some of them.
        """
        going = [side.open[numbers] for side, numbers in zip(self._counted, self._pairs.T, strict=True)]
        waiting = going[0] & going[1]
        for own, side in enumerate(self._counted):
            numbers, half = self._pairs[:, own], ~going[own] & going[1 - own]
            count = len(side.area)
            partners = np.bincount(numbers[half], minlength=count)
            shared = np.bincount(numbers[half], weights=self._common[half], minlength=count)
            holding = np.bincount(numbers[half & lies_in[1 - own]], minlength=count) > 0
            kept = holding | ((partners > 1) & ~side.told & (2 * shared > side.area))
            waiting |= half & kept[numbers]
        return waiting

    def _carry(self, waiting: np.ndarray) -> None:
        """Drop the pairs that are decided, and the objects that are needed no more."""
        self._pairs, self._common = self._pairs[waiting], self._common[waiting]
        kept = [side.keep(numbers) for side, numbers in zip(self._counted, self._pairs.T, strict=True)]
        self._pairs = np.stack([new[old] for new, old in zip(kept, self._pairs.T, strict=True)], axis=1)
        self._alone = self._alone.where(kept[1][self._alone.holders] > 0).renumbered(kept[1])


@dataclass(frozen=True, eq=False)
class _Within:
    """Objects of the labels, each of which lies in an object of the map.

    Args:
        holders: (n,) numbers of the objects of the map.
        objects: The objects of the labels.
        outer: (n,) bool, whether each lies mostly outside of the compared area.
    """

    holders: np.ndarray
    objects: Objects
    outer: np.ndarray

    @classmethod
    def none(cls) -> _Within:
        """Return no objects."""
        return cls(np.empty(0, dtype=np.int64), Objects.none(), np.empty(0, dtype=bool))

    def beside(self, other: _Within) -> _Within:
        """Return these and others."""
        holders, outer = (np.concatenate(pair) for pair in ((self.holders, other.holders), (self.outer, other.outer)))
        return _Within(holders, Objects.joined([self.objects, other.objects]), outer)

    def where(self, chosen: np.ndarray) -> _Within:
        """Return some of them."""
        return _Within(self.holders[chosen], self.objects.where(chosen), self.outer[chosen])

    def renumbered(self, numbers: np.ndarray) -> _Within:
        """Return them with new numbers of the objects of the map, by the previous ones."""
        return _Within(numbers[self.holders], self.objects, self.outer)


class _Counted:
    """What is known of the objects of one side that are not dropped.

    Attributes:
        area: (n + 1,) pixels so far.
        open: (n + 1,) bool, whether each may continue below.
        ending: (n + 1,) bool, whether it ended in the strip that was taken last.
        told: (n + 1,) bool, whether it is known in which object of the other side it lies.
        outer: (n + 1,) bool, whether it lies mostly outside of the compared area.
        holds: (n + 1,) objects of the other side that lie mostly in it.
    """

    def __init__(self, side: Side) -> None:
        self._side = side
        self.area: np.ndarray = np.zeros(1)
        self.open = np.zeros(1, dtype=bool)
        self.ending = np.zeros(1, dtype=bool)
        self.told = np.zeros(1, dtype=bool)
        self.outer = np.zeros(1, dtype=bool)
        self.holds: np.ndarray = np.zeros(1)
        self._first = np.full(1, _LATE)
        self._ended = np.ones(1, dtype=bool)
        self._classes = np.zeros(1, dtype=np.uint8)
        self._scores = np.ones(1)

    def take(self, numbered: Numbered, window: Window) -> Objects:
        """Add the pixels of a strip; return the objects that end in it, without those that lie mostly outside."""
        count = len(numbered.classes)
        pixels = np.bincount(numbered.ids.ravel(), minlength=count)
        self.area = np.bincount(numbered.moved, weights=self.area, minlength=count) + pixels
        self.area[0] = 0
        self.holds = np.bincount(numbered.moved, weights=self.holds, minlength=count)
        self._first = np.minimum(_moved_first(self._first, numbered.moved, count), _first_here(numbered, window))
        told = np.zeros(count, dtype=bool)
        told[numbered.moved[self.told]] = True
        self.told = told
        before = np.zeros(count, dtype=bool)
        before[numbered.moved[self._ended]] = True
        before[0] = True
        self.open, self._classes, self._ended = numbered.open, numbered.classes, before | ~numbered.open
        self.outer, self._scores = numbered.outer, numbered.scores
        self.ending = self._ended & ~before & (self.area > 0)
        return self.objects(np.flatnonzero(self.ending & ~self.outer))

    def tell(self, numbers: np.ndarray, lies_in: np.ndarray) -> np.ndarray:
        """Return for which pairs it is decided now that their object of this side lies in the other one.

        Args:
            numbers: (p,) the object of this side of each pair.
            lies_in: (p,) bool, whether it lies in the other one as far as that is known.
        """
        decided = lies_in & self._ended[numbers] & ~self.told[numbers]
        self.told[numbers[decided]] = True
        return decided

    def hold(self, holders: np.ndarray) -> Objects:
        """Note that an object of the other side lies in each; return complete ones that are found to hold several."""
        several = self.holds > 1
        np.add.at(self.holds, holders, 1)
        found = (self.holds > 1) & self._ended & (self.ending | ~several) & ~self.outer
        return self.objects(np.flatnonzero(found))

    def objects(self, numbers: np.ndarray) -> Objects:
        """Return some objects as complete ones."""
        return Objects(self._classes[numbers], self._first[numbers], self.area[numbers], self._scores[numbers])

    def keep(self, waiting: np.ndarray) -> np.ndarray:
        """Drop the objects that are neither open nor in a waiting pair; return new numbers by old ones, or 0."""
        needed = self.open.copy()
        needed[waiting] = True
        needed[0] = True
        kept = np.where(needed, np.cumsum(needed) - 1, 0)
        for name in ("area", "open", "ending", "told", "outer", "holds", "_first", "_ended", "_classes", "_scores"):
            setattr(self, name, getattr(self, name)[needed])
        self._side.keep(kept)
        return np.asarray(kept)


def _moved_first(first: np.ndarray, moved: np.ndarray, count: int) -> np.ndarray:
    """Return the first pixels of what is carried from above by new numbers."""
    found = np.full(count, _LATE)
    np.minimum.at(found, moved, first)
    return found


def _first_here(numbered: Numbered, window: Window) -> np.ndarray:
    """Return the first pixel of each object in a strip."""
    flat = numbered.ids.ravel()[::-1]
    found = np.full(len(numbered.classes), _LATE)
    found[flat] = np.arange(flat.size - 1, -1, -1)  # of several assignments the last one stays
    found[found < _LATE] += int(window.row_off * window.width)
    return found


def match_regions(labels: np.ndarray, classes: np.ndarray, background: int | None) -> Outcome:
    """Match the regions of one whole tile.

    Args:
        labels: (H, W) uint8 class ids, 255 = ignore.
        classes: (H, W) uint8 class ids of the map, 255 = nodata.
        background: Class that has no objects, or None.
    """
    matcher = ObjectMatcher(ConnectedRegions(background), ConnectedRegions(background))
    return matcher.add(labels, classes, Window(0, 0, labels.shape[1], labels.shape[0]), last=True)
