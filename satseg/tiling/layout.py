"""Lay out tiles: divide scenes into blocks, assign each block to a split, place tiles within blocks.

Pure arithmetic. Splits consist of whole blocks and tiles never cross the border of a block, so a training tile never
shares a pixel with a validation or test tile, whatever the overlap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from rasterio.windows import Window

from satseg.errors import UsageError
from satseg.raster.windows import window_starts
from satseg.tiles.splits import SPLITS, check_shares

_ENOUGH_BLOCKS = 24


@dataclass(frozen=True)
class Placement:
    """One tile of a block.

    Args:
        window: Pixels of the scene.
        counted_before: Rows and columns, from the top and from the left, that an earlier tile of the block covers.
    """

    window: Window
    counted_before: tuple[int, int]


def choose_block(shapes: Sequence[tuple[int, int]], size: int) -> int:
    """Choose the side of blocks: the largest power of two times ``size`` that still gives two dozen of them.

    Larger blocks keep similar neighbours in one split; too few blocks make the shares coarse and the scores noisy.
    A block is at least two tiles wide, since blocks of one tile would amount to a random split. Blocks are weighted by
    area, so that a large scene is divided even among many small ones; a block never exceeds the largest scene.

    Args:
        shapes: Rows and columns of each scene.
        size: Side of a tile in pixels.
    """
    distinct = Counter(shapes)
    largest = max(max(shape) for shape in distinct)
    block = 2 * size
    while block < largest and _effective_count(distinct, 2 * block, size) >= _ENOUGH_BLOCKS:
        block *= 2
    return block


def _effective_count(shapes: Mapping[tuple[int, int], int], block: int, size: int) -> float:
    """Return the effective number of blocks of these scenes, weighted by area (the inverse Simpson index)."""
    area = squares = 0.0
    for (height, width), count in shapes.items():
        rows, columns = (np.diff(cuts(length, block, size)).astype(float) for length in (height, width))
        area += count * rows.sum() * columns.sum()
        squares += count * (rows**2).sum() * (columns**2).sum()
    return area**2 / squares


def blocks(height: int, width: int, *, block: int, size: int) -> list[Window]:
    """Divide a scene into blocks of ``block`` pixels a side; a remainder narrower than a tile joins its neighbour.

    Raises:
        UsageError: A block is smaller than a tile.
    """
    if block < size:
        raise UsageError(f"A block of {block} px cannot hold a tile of {size} px.", hint="Raise `block`.")
    rows, columns = cuts(height, block, size), cuts(width, block, size)
    return [
        Window(left, top, right - left, bottom - top)
        for (top, bottom), (left, right) in product(pairwise(rows), pairwise(columns))
    ]


def cuts(length: int, block: int, size: int) -> list[int]:
    """Return the edges of blocks along a side of a scene, from 0 to ``length``."""
    cuts = list(range(0, length, block))
    if len(cuts) > 1 and length - cuts[-1] < size:
        cuts.pop()
    return [*cuts, length]


def place_tiles(block: Window, *, size: int, overlap: int) -> list[Placement]:
    """Lay tiles into a block, row by row; the last one in each direction snaps back to the block's edge.

    Args:
        block: Pixels of the scene.
        size: Side of a tile; a block smaller than that gives one smaller tile.
        overlap: Pixels that neighbouring tiles share.
    """
    rows = _spans(int(block.height), size, overlap)
    columns = _spans(int(block.width), size, overlap)
    return [
        Placement(Window(block.col_off + left, block.row_off + top, width, height), (rows_before, columns_before))
        for (top, height, rows_before), (left, width, columns_before) in product(rows, columns)
    ]


def place_at_random(block: Window, *, size: int, overlap: int, rng: np.random.Generator) -> list[Placement]:
    """Lay as many tiles into a block as a grid would have, at random places.

    Args:
        block: Pixels of the scene.
        size: Side of a tile; a block smaller than that gives one smaller tile.
        overlap: Pixels that neighbouring tiles of the grid would share.
        rng: Source of the places.
    """
    height, width = int(block.height), int(block.width)
    count = len(place_tiles(block, size=size, overlap=overlap))
    rows = rng.integers(0, max(height - size, 0) + 1, count) + int(block.row_off)
    columns = rng.integers(0, max(width - size, 0) + 1, count) + int(block.col_off)
    corners = sorted(set(zip(rows.tolist(), columns.tolist(), strict=True)))
    return [Placement(Window(left, top, min(size, width), min(size, height)), (0, 0)) for top, left in corners]


def _spans(length: int, size: int, overlap: int) -> list[tuple[int, int, int]]:
    """Return start, length and pixels shared with the span before."""
    starts = window_starts(length, size, size - overlap)
    before = [0, *(max(0, a + size - b) for a, b in pairwise(starts))]
    return [(start, min(size, length), shared) for start, shared in zip(starts, before, strict=True)]


def balance_splits(
    areas: Sequence[int], shares: Sequence[float], seed: int, *, pixels: np.ndarray | None = None
) -> list[str]:
    """Assign blocks to train, val and test so that their areas approach the shares and each split has every class.

    First each split gets a block of every class that it lacks, the rarest class first, as long as its share has room.
    Then, repeatedly, the split farthest below its share gets a block of the class that it lacks most.

    Args:
        areas: Labelled pixels of each block, all positive.
        shares: Shares of train, val and test; they are scaled to a sum of 1.
        seed: Seed of the order in which blocks are assigned.
        pixels: (N, K) labelled pixels by class; None balances areas only.

    Returns:
        The split of each block. Every split with a share gets a block as long as there are enough; val comes before
        test.

    Raises:
        UsageError: Shares are not three numbers of 0 and more, or train has none.
    """
    check_shares(shares)
    return _Assignment(np.asarray(areas, dtype=float), shares, seed, pixels).finish()


class _Assignment:
    """Greedy assignment of blocks to splits, in an order drawn from the seed."""

    def __init__(self, areas: np.ndarray, shares: Sequence[float], seed: int, pixels: np.ndarray | None) -> None:
        self._order = np.random.default_rng(seed).permutation(len(areas))
        self._areas = areas[self._order]
        counts = self._areas[:, None] if pixels is None else np.asarray(pixels, dtype=float)[self._order]
        self._counts = counts[:, counts.any(axis=0)]  # (block, class)
        self._holds = self._counts > 0
        parts = np.round(np.asarray(shares, dtype=float) / sum(shares), 12)
        self._wanted = np.flatnonzero(parts).tolist()
        self._missing = parts * self._areas.sum()  # (split,) area
        self._short = parts[:, None] * np.ones(self._counts.shape[1])  # (split, class) share of the class
        self._totals = self._counts.sum(axis=0)
        self._given = np.full(len(areas), -1)
        self._empty: list[int] = list(self._wanted)

    def finish(self) -> list[str]:
        """Assign all blocks and return the split of each."""
        self._give_each_class()
        queues = [iter(np.flatnonzero(column)) for column in self._holds.T]
        running = np.ones(len(queues), dtype=bool)
        while running.any():
            split = int(self._missing.argmax())
            kind = int(np.where(running, self._short[split], -np.inf).argmax())
            block = next((block for block in queues[kind] if self._given[block] < 0), None)
            if block is None:
                running[kind] = False
            else:
                self._give(int(block), split)
        splits = np.empty(len(self._areas), dtype=object)
        splits[self._order] = np.array(SPLITS, dtype=object)[self._given]
        return list(splits)

    def _give(self, block: int, split: int) -> None:
        self._given[block] = split
        self._missing[split] -= self._areas[block]
        self._short[split] -= self._counts[block] / self._totals
        if split in self._empty:
            self._empty.remove(split)

    def _give_each_class(self) -> None:
        """Give each split a block of every class that it lacks, as long as its share has room."""
        lacks = np.zeros(self._short.shape, dtype=bool)
        lacks[self._wanted] = True
        while lacks.any():
            left = self._holds[self._given < 0].sum(axis=0)
            rarest = int(np.where(lacks.any(axis=0), left, np.inf).argmin())
            split = int(lacks[:, rarest].argmax())
            block = self._richest(split, rarest, lacks[split])
            if block is None:
                lacks[split, rarest] = False
            else:
                self._give(block, split)
                lacks[split] &= ~self._holds[block]

    def _richest(self, split: int, kind: int, lacking: np.ndarray) -> int | None:
        """Return the block of a class that adds the most missing classes and for which the split has room."""
        free = self._given < 0
        first = split in self._empty
        waiting = sum(other < split or not first for other in self._empty if other != split)
        if free.sum() <= waiting:  # reserved for splits without a block
            return None
        fitting = self._areas <= 2 * self._missing[split]
        blocks = np.flatnonzero(free & self._holds[:, kind] & fitting)
        if first and not len(blocks):  # the smallest there is
            blocks = np.flatnonzero(free & self._holds[:, kind])
            blocks = blocks[self._areas[blocks] == self._areas[blocks].min(initial=np.inf)]
        if not len(blocks):
            return None
        rich = self._holds[blocks][:, lacking].sum(axis=1)
        blocks = blocks[rich == rich.max()]
        largest = first and split == self._missing.argmax()  # else other splits would have to take it
        return int(blocks[self._areas[blocks].argmax() if largest else 0])
