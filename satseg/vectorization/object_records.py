"""What the rows of a map tell of its objects beside their outlines: the class and the score of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from satseg.records import CERTAIN, Rows


@dataclass(frozen=True, eq=False)
class ObjectColumns:
    """Attributes of objects.

    Args:
        ids: (F,) int32.
        classes: (F,) uint8 class ids.
        scores: (F,) float32 in 0..1, NaN where unknown.
    """

    ids: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


class ObjectRecords:
    """Collects class and certainty of each object, 10 bytes for each, as the rows of a map arrive from the top.

    The score of an object is the mean probability of its class inside times the mean probability of a boundary along
    its outline: over all edges between one of its pixels and another object or none, that of its own pixel. The edge of
    the map is no outline. Of objects that were found by their centres, the largest heat inside takes the place of the
    boundary.
    """

    def __init__(self) -> None:
        self._classes = np.zeros(1024, dtype=np.uint8)
        self._sums = np.zeros(1024, dtype=np.uint32)
        self._edges = np.zeros(1024, dtype=np.uint32)
        self._heat = np.zeros(1024, dtype=np.uint8)
        self._above: tuple[np.ndarray, np.ndarray] | None = None

    def push(self, rows: Rows) -> None:
        """Take the next rows, which have objects, and boundaries or centres."""
        assert rows.objects is not None
        self._make_room(int(rows.objects.max(initial=0)) + 1)
        if rows.boundary is None:
            assert rows.centres is not None
            _collect_heat(rows.objects.ravel(), rows.classes.ravel(), rows.centres.ravel(), self._classes, self._heat)
            return
        first = self._above is None
        above = (rows.objects[0], rows.boundary[0]) if self._above is None else self._above
        _collect(rows.objects, rows.classes, rows.boundary, *above, first, self._classes, self._sums, self._edges)
        self._above = rows.objects[-1].copy(), rows.boundary[-1].copy()

    def columns(self, ids: np.ndarray, confidence: np.ndarray) -> ObjectColumns:
        """Return the attributes of objects whose rows have all been taken.

        Args:
            ids: (F,) int32.
            confidence: (F,) float32 mean probability of the class, NaN where unknown.
        """
        edges = self._edges[ids]
        outline = np.divide(self._sums[ids], edges, out=np.full(len(ids), np.nan), where=edges > 0)
        sure = (outline if self._above is not None else self._heat[ids].astype(np.float64)) / CERTAIN
        return ObjectColumns(ids, self._classes[ids], (confidence * sure).astype(np.float32))

    def _make_room(self, count: int) -> None:
        if count > len(self._classes):
            more = max(count, 2 * len(self._classes)) - len(self._classes)
            self._classes, self._sums, self._edges, self._heat = (
                np.concatenate([part, np.zeros(more, dtype=part.dtype)])
                for part in (self._classes, self._sums, self._edges, self._heat)
            )


@njit(cache=True, nogil=True)
def _collect_heat(
    ids: np.ndarray, classes: np.ndarray, centres: np.ndarray, of_class: np.ndarray, heat: np.ndarray
) -> None:
    """Add pixels in place."""
    for at in range(ids.size):
        here = ids[at]
        if here:
            of_class[here] = classes[at]
            heat[here] = max(heat[here], centres[at])


@njit(cache=True, nogil=True)
def _collect(
    ids: np.ndarray,
    classes: np.ndarray,
    boundary: np.ndarray,
    above: np.ndarray,
    boundary_above: np.ndarray,
    first: bool,
    of_class: np.ndarray,
    sums: np.ndarray,
    edges: np.ndarray,
) -> None:
    """Add rows in place; ``above`` are ids and boundary of the row before them, unless they are the ``first``."""
    for row in range(ids.shape[0]):
        for column in range(ids.shape[1]):
            here, value = ids[row, column], boundary[row, column]
            if here:
                of_class[here] = classes[row, column]
            if column:
                _add_edge(here, value, ids[row, column - 1], boundary[row, column - 1], sums, edges)
            if row:
                _add_edge(here, value, ids[row - 1, column], boundary[row - 1, column], sums, edges)
            elif not first:
                _add_edge(here, value, above[column], boundary_above[column], sums, edges)


@njit(cache=True, nogil=True)
def _add_edge(one: int, value: int, other: int, other_value: int, sums: np.ndarray, edges: np.ndarray) -> None:
    """Add what two pixels side by side say of the outlines of their objects."""
    if one == other:
        return
    if one:
        sums[one] += value
        edges[one] += 1
    if other:
        sums[other] += other_value
        edges[other] += 1
