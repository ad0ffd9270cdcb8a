"""Divide a map into objects while its rows arrive: block by block, and out again in full rows, numbered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from satseg.files.spill import SpillStore
from satseg.objects.numbering import Numbering
from satseg.objects.watershed import Block, Blocks, in_scene, objects_of

Maps = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Groups, distance and boundary of a part of a scene, each (row, col) uint8."""

BLOCK = 1024
"""Rows and columns of a block; results depend on it where objects are larger than the margin."""

MOST_MARGIN = (2**12 + 2**10 - BLOCK) // 2  # a block with its margins has 2**25 pixels at most
"""Largest margin around a block, in pixels."""

HELD = 16 * 2**20
"""Bytes of a row of blocks that wait in memory; more go to the scratch folder."""


class Division:
    """Divides a map into objects. Results follow from the map alone, however many rows arrive at once.

    Args:
        read: Returns the maps of a block, in finished rows.
        height: Rows of the scene.
        width: Columns of the scene.
        depth: Least dynamics of a marker, in 0..1, see :func:`~satseg.objects.watershed.objects_of`.
        margin: Pixels that are read around a block, at least the extent of the largest object.
        strip: Rows that are handed out at a time, at most.
        scratch: Folder for rows that do not fit into memory.
    """

    def __init__(
        self,
        read: Callable[[Block], Maps],
        height: int,
        width: int,
        *,
        depth: float,
        margin: int,
        strip: int,
        scratch: Path,
    ) -> None:
        self._read, self._depth, self._strip = read, depth, strip
        self._width = width
        self._waiting = Blocks(height, width, BLOCK, margin).rows()
        self._next = next(self._waiting, None)
        self._numbering = Numbering(width, reach=BLOCK + margin)
        self._parts = SpillStore(HELD, scratch)

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
        markers: list[np.ndarray] = []
        known = 0
        rows = blocks[0].inner[0].stop - blocks[0].inner[0].start
        tops = range(0, rows, self._strip)
        for number, block in enumerate(blocks):
            labels, own = objects_of(*self._read(block), self._depth, block.inner)
            markers.append(in_scene(own, block, self._width))
            for top in tops:
                self._parts.put((top, number), labels[top : top + self._strip] + np.int32(known))
            known += len(own)
        table = np.concatenate(markers)
        for top in tops:
            strip = np.concatenate([self._parts.take((top, number)) for number in range(len(blocks))], axis=1)
            yield self._numbering(table[strip])

    def close(self) -> None:
        """Remove what waits."""
        self._parts.close()

    def __enter__(self) -> Division:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
