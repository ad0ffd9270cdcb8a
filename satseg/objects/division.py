"""Divide a map into objects while its rows arrive: block by block, and out again in full rows, numbered.

Blocks see a margin around them, so that two of them agree on every object that lies within it. Of a larger one, each
may know another marker. Along the edge between two blocks, both see the pixels on both sides: where both say that the
two pixels belong to one object, theirs is one. Only parts of such an object that have been handed out under different
numbers, before rows further down join them, remain apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numba import njit

from satseg.files.spill import SpillStore
from satseg.objects.grid import root_of
from satseg.objects.numbering import Numbering
from satseg.objects.watershed import NO_MARKER, Block, Blocks, in_scene

Divide = Callable[[Block], tuple[np.ndarray, np.ndarray]]
"""Divides what is read of a block: :func:`~satseg.objects.watershed.objects_of` or
:func:`~satseg.objects.grouping.grouped` of its maps."""

BLOCK = 1024
"""Rows and columns of a block."""

MOST_MARGIN = (2**12 + 2**10 - BLOCK) // 2  # a block with its margins has 2**25 pixels at most
"""Largest margin around a block, in pixels."""

HELD = 16 * 2**20
"""Bytes of a row of blocks that wait in memory; more go to the scratch folder."""


@dataclass(frozen=True, eq=False)
class _Side:
    """What a block says of the pixels along one of its edges: numbers in the table of markers, 0 for no object.

    Args:
        inside: Of its own pixels.
        outside: Of those beyond the edge.
    """

    inside: np.ndarray
    outside: np.ndarray

    @property
    def same(self) -> np.ndarray:
        """Whether both belong to one object."""
        same: np.ndarray = (self.inside == self.outside) & (self.inside > 0)
        return same


class Division:
    """Divides a map into objects. Results follow from the map alone, however many rows arrive at once.

    Args:
        divide: Reads a block, in finished rows, and divides it.
        height: Rows of the scene.
        width: Columns of the scene.
        smallest: Objects of fewer pixels are left out, if they are no longer than the margin.
        margin: Pixels that are read around a block, at least the extent of the largest object.
        strip: Rows that are handed out at a time, at most.
        scratch: Folder for rows that do not fit into memory.

    Attributes:
        left_out: Objects that were too small so far.
    """

    def __init__(
        self,
        divide: Divide,
        height: int,
        width: int,
        *,
        smallest: float = 0.0,
        margin: int,
        strip: int,
        scratch: Path,
    ) -> None:
        self._divide_block, self._strip = divide, strip
        self._smallest, self._margin, self.left_out = smallest, margin, 0
        self._width = width
        self._waiting = Blocks(height, width, BLOCK, margin).rows()
        self._next = next(self._waiting, None)
        self._numbering = Numbering(width, reach=BLOCK + margin)
        self._parts = SpillStore(HELD, scratch)
        self._last = np.zeros(width, dtype=np.int32)  # numbers of the last row handed out,
        self._goes_on = np.zeros(width, dtype=np.bool_)  # and whether its blocks see their objects go on below

    def push(self, finished: int) -> Iterator[np.ndarray]:
        """Yield the ids of the next rows, given that all rows above ``finished`` of the maps are finished.

        Yields:
            (rows, W) int32, from 1 in the order of the first pixels of objects; 0 for none.
        """
        while self._next is not None and finished >= self._next[0].top + self._next[0].height:
            yield from self._divide(self._next)
            self._next = next(self._waiting, None)

    def _divide(self, blocks: list[Block]) -> Iterator[np.ndarray]:
        """Divide a row of blocks, and put its strips together."""
        rows = blocks[0].inner[0]
        tops = range(0, rows.stop - rows.start, self._strip)
        markers: list[np.ndarray] = []
        above: list[_Side] = []
        below: list[_Side] = []
        meetings: list[tuple[_Side, _Side]] = []
        known = 0
        beside: _Side | None = None  # right edge of the block before
        for number, block in enumerate(blocks):
            labels, own = self._divide_block(block)
            if self._smallest > 1:
                self._leave_out_small(labels, own, block)
            table = np.where(labels > 0, labels + np.int32(known), 0)
            markers.append(in_scene(own, block, self._width))
            known += len(own)
            top, left, bottom, right = _sides(table, block.inner)
            if beside is not None:
                meetings.append((beside, left))
            beside = right
            above.append(top)
            below.append(bottom)
            for first in tops:
                inner = slice(rows.start + first, min(rows.start + first + self._strip, rows.stop)), block.inner[1]
                self._parts.put((first, number), table[inner])
        positions = self._joined(np.concatenate(markers), meetings, above)
        for first in tops:
            strip = np.concatenate([self._parts.take((first, number)) for number in range(len(blocks))], axis=1)
            numbers = self._numbering(positions[strip])
            self._last = numbers[-1]
            yield numbers
        self._goes_on = np.concatenate([side.same for side in below])

    def _leave_out_small(self, labels: np.ndarray, markers: np.ndarray, block: Block) -> None:
        """Leave out objects that are too small, in place.

        One that is longer than the margin stays: not all of its blocks see the whole of it, and they would not agree.
        """
        sizes = _sizes(labels.ravel(), len(markers))
        small = sizes < self._smallest
        small[0] = False
        if not small.any():
            return
        from scipy.ndimage import find_objects  # takes what maps without objects are spared

        if perhaps := np.flatnonzero(small & (sizes > self._margin)).tolist():
            boxes = find_objects(labels)
            for number in perhaps:
                small[number] = all(side.stop - side.start <= self._margin for side in boxes[number - 1])
        at = np.divmod(markers[small], block.width)
        inside = [(where >= inner.start) & (where < inner.stop) for where, inner in zip(at, block.inner, strict=True)]
        self.left_out += int((inside[0] & inside[1]).sum())  # each in the block of its marker alone
        _leave_out(labels.ravel(), small)
        markers[small] = NO_MARKER

    def _joined(self, positions: np.ndarray, meetings: list[tuple[_Side, _Side]], above: list[_Side]) -> np.ndarray:
        """Return the position of a marker for each number in the table, the same one for all that are one object.

        Args:
            positions: (N,) int64 by number; those that stand for no object hold ``NO_MARKER``.
            meetings: What the blocks on both sides of each edge between two columns of blocks say.
            above: What the blocks say along their upper edges.
        """
        parent = np.arange(len(positions), dtype=np.int32)
        groups: dict[int, set[int]] = defaultdict(set)
        for one, other in meetings:
            agree = one.same & other.same
            for pair in np.unique(np.stack([one.inside[agree], other.inside[agree]]), axis=1).T.tolist():
                first, second = sorted(root_of(parent, number) for number in pair)
                parent[second] = first
                groups[first] |= {first, second} | groups.pop(second, set())
        numbers: dict[int, set[int]] = defaultdict(set)
        inside, same = (np.concatenate([getattr(side, name) for side in above]) for name in ("inside", "same"))
        agree = same & self._goes_on & (self._last > 0)
        for number, earlier in np.unique(np.stack([inside[agree], self._last[agree]]), axis=1).T.tolist():
            numbers[root_of(parent, number)].add(earlier)
        for root in groups.keys() | numbers.keys():
            others = [int(positions[number]) for number in groups.get(root, ())]
            self._numbering.join(int(positions[root]), others, numbers.get(root, ()))
        roots = np.array([root_of(parent, number) for number in range(len(parent))]) if groups else parent
        return positions[roots]

    def close(self) -> None:
        """Remove what waits."""
        self._parts.close()

    def __enter__(self) -> Division:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@njit(cache=True, nogil=True)
def _sizes(labels: np.ndarray, count: int) -> np.ndarray:
    """Return (count,) int64 pixels of each number; unlike bincount, without a copy of the numbers."""
    sizes = np.zeros(count, dtype=np.int64)
    for label in labels:
        sizes[label] += 1
    return sizes


@njit(cache=True, nogil=True)
def _leave_out(labels: np.ndarray, small: np.ndarray) -> None:
    """Set the numbers that are small, (N,) bool by number, to 0, in place."""
    for at in range(labels.size):
        if small[labels[at]]:
            labels[at] = 0


def _sides(table: np.ndarray, inner: tuple[slice, slice]) -> tuple[_Side, _Side, _Side, _Side]:
    """Return what a block says along its edges above, to the left, below and to the right, as copies.

    Args:
        table: (H, W) numbers of all that was read.
        inner: Rows and columns of the block.
    """
    rows, columns = inner

    def row(at: int) -> np.ndarray:
        inside = 0 <= at < table.shape[0]
        return table[at, columns].copy() if inside else np.zeros(columns.stop - columns.start, dtype=table.dtype)

    def column(at: int) -> np.ndarray:
        inside = 0 <= at < table.shape[1]
        return table[rows, at].copy() if inside else np.zeros(rows.stop - rows.start, dtype=table.dtype)

    return (
        _Side(row(rows.start), row(rows.start - 1)),
        _Side(column(columns.start), column(columns.start - 1)),
        _Side(row(rows.stop - 1), row(rows.stop)),
        _Side(column(columns.stop - 1), column(columns.stop)),
    )
