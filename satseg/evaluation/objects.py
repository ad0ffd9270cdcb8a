"""Match the objects of a map with those of the labels, in a stream of rows from the top.

An object is a region of connected pixels of one class (four neighbours), or a feature if features are available. Two
objects of a class match if their IoU is over 0.5. Objects of one side do not overlap, so that at this threshold an
object matches at most one other (Kirillov et al., "Panoptic Segmentation", 2019). Pixels without a label belong to no
object; objects of the labels without a class in the map are missed.

A feature that lies mostly outside of the compared area counts only if its part inside matches: a map should not be
penalised for the corner of a building.

Memory holds the objects that reach the last row, and those that may still match one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX
from satseg.evaluation.object_sides import ConnectedRegions, Numbered, Side

MATCH_IOU = 0.5
_LATE = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Finished:
    """Complete objects.

    Args:
        classes: (n,) class id of each.
        first: (n,) place of its first pixel in reading order: row * width + column.
    """

    classes: np.ndarray
    first: np.ndarray

    def beside(self, other: Finished) -> Finished:
        """Return these and others."""
        return Finished(
            np.concatenate([self.classes, other.classes]),
            np.concatenate([self.first, other.first]),
        )


class Matches(NamedTuple):
    """Objects of labels and of the map that a strip completes, and labelled objects that are found to match."""

    labels: Finished
    mapped: Finished
    matched: Finished


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

    def add(self, labels: np.ndarray, classes: np.ndarray, window: Window, *, last: bool) -> Matches:
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
        self._count_common(*numbered)
        one, other = self._pairs.T
        labelled, found = self._counted
        iou = self._common / (labelled.area[one] + found.area[other] - self._common)
        going = labelled.open[one], found.open[other]
        final = ~(going[0] | going[1])
        # Once one object of a pair has ended, their intersection is known, and their IoU can only fall.
        waiting = (going[0] & going[1]) | (~final & (iou > MATCH_IOU))
        matches = final & (iou > MATCH_IOU)
        matched = labelled.finished(one[matches])
        late = [side.finished(n[side.outer[n]]) for side, n in ((labelled, one[matches]), (found, other[matches]))]
        self._pairs, self._common = self._pairs[waiting], self._common[waiting]
        self._pairs = np.stack(
            [side.keep(numbers) for side, numbers in zip(self._counted, self._pairs.T, strict=True)], axis=1
        )
        return Matches(ended[0].beside(late[0]), ended[1].beside(late[1]), matched)

    def _count_common(self, labels: Numbered, mapped: Numbered) -> None:
        same = (labels.ids > 0) & (mapped.ids > 0) & (labels.classes[labels.ids] == mapped.classes[mapped.ids])
        stride = len(mapped.classes)
        carried = labels.moved[self._pairs[:, 0]] * stride + mapped.moved[self._pairs[:, 1]]
        new, count = np.unique(labels.ids[same] * stride + mapped.ids[same], return_counts=True)
        keys, where = np.unique(np.concatenate([carried, new]), return_inverse=True)
        self._common = np.bincount(where, weights=np.concatenate([self._common, count]), minlength=len(keys))
        self._pairs = np.stack(np.divmod(keys, stride), axis=1)


class _Counted:
    """Areas of the objects of one side that are not dropped."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self.area: np.ndarray = np.zeros(1)
        self.open = np.zeros(1, dtype=bool)
        self.outer = np.zeros(1, dtype=bool)
        self._first = np.full(1, _LATE)
        self._ended = np.ones(1, dtype=bool)
        self._classes = np.zeros(1, dtype=np.uint8)

    def take(self, numbered: Numbered, window: Window) -> Finished:
        """Add the pixels of a strip; return the objects that end in it, without those that lie mostly outside."""
        count = len(numbered.classes)
        pixels = np.bincount(numbered.ids.ravel(), minlength=count)
        self.area = np.bincount(numbered.moved, weights=self.area, minlength=count) + pixels
        self.area[0] = 0
        first = np.full(count, _LATE)
        np.minimum.at(first, numbered.moved, self._first)
        flat = numbered.ids.ravel()[::-1]
        here = np.full(count, _LATE)
        here[flat] = np.arange(flat.size - 1, -1, -1)  # of several assignments the last one stays
        here[here < _LATE] += int(window.row_off * window.width)
        self._first = np.minimum(first, here)
        before = np.zeros(count, dtype=bool)
        before[numbered.moved[self._ended]] = True
        before[0] = True
        self.open, self._classes, self._ended = numbered.open, numbered.classes, before | ~numbered.open
        self.outer = numbered.outer
        return self.finished(np.flatnonzero(self._ended & ~before & (self.area > 0) & ~self.outer))

    def finished(self, numbers: np.ndarray) -> Finished:
        """Return some objects as complete ones."""
        return Finished(self._classes[numbers], self._first[numbers])

    def keep(self, waiting: np.ndarray) -> np.ndarray:
        """Drop the objects that are neither open nor in a waiting pair; return the new numbers of the pairs."""
        needed = self.open.copy()
        needed[waiting] = True
        needed[0] = True
        kept = np.where(needed, np.cumsum(needed) - 1, 0)
        for name in ("area", "open", "outer", "_first", "_ended", "_classes"):
            setattr(self, name, getattr(self, name)[needed])
        self._side.keep(kept)
        return np.asarray(kept[waiting])


def match_regions(labels: np.ndarray, classes: np.ndarray, background: int | None) -> Matches:
    """Match the regions of one whole tile.

    Args:
        labels: (H, W) uint8 class ids, 255 = ignore.
        classes: (H, W) uint8 class ids of the map, 255 = nodata.
        background: Class that has no objects, or None.
    """
    matcher = ObjectMatcher(ConnectedRegions(background), ConnectedRegions(background))
    return matcher.add(labels, classes, Window(0, 0, labels.shape[1], labels.shape[0]), last=True)
