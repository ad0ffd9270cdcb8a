"""Where tiles lie: a scene is parted into blocks, a block belongs to one split, tiles never cross a block's border.

Pure arithmetic. Because splits are made of whole blocks, no training tile can share a pixel with a validation or
test tile, whatever the overlap.
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

SPLITS = ("train", "val", "test")
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

    Larger blocks keep look-alike neighbours in one split; too few blocks make the shares coarse and the scores
    noisy. Never under two tiles, since a block of one tile would be a split at random. Blocks count by their area, so
    that a large scene is parted though small ones beside it are many; those that are whole scenes grow no further.

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
    """Return how many blocks of one area would be as even as those of these scenes (the inverse Simpson index)."""
    area = squares = 0.0
    for (height, width), count in shapes.items():
        rows, columns = (np.diff(_cuts(length, block, size)).astype(float) for length in (height, width))
        area += count * rows.sum() * columns.sum()
        squares += count * (rows**2).sum() * (columns**2).sum()
    return area**2 / squares


def blocks(height: int, width: int, *, block: int, size: int) -> list[Window]:
    """Part a scene into blocks of ``block`` pixels a side; a remainder narrower than a tile joins its neighbour.

    Raises:
        UsageError: A block is smaller than a tile.
    """
    if block < size:
        raise UsageError(f"A block of {block} px cannot hold a tile of {size} px.", hint="Raise --block.")
    rows, columns = _cuts(height, block, size), _cuts(width, block, size)
    return [
        Window(left, top, right - left, bottom - top)
        for (top, bottom), (left, right) in product(pairwise(rows), pairwise(columns))
    ]


def _cuts(length: int, block: int, size: int) -> list[int]:
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


def assign_splits(areas: Sequence[int], shares: Sequence[float], seed: int) -> list[str]:
    """Deal blocks to train, val and test so that their areas come close to the shares.

    Args:
        areas: Labelled pixels of each block, all positive.
        shares: Shares of train, val and test; they are scaled to a sum of 1.
        seed: Decides which block goes where.

    Returns:
        The split of each block. Every split with a share gets a block as long as there are enough; val comes before
        test.

    Raises:
        UsageError: A share is negative, or train has none.
    """
    if len(shares) != 3 or min(shares) < 0 or shares[0] <= 0:
        raise UsageError(f"Shares of train, val and test must be three numbers, train over 0, not {tuple(shares)}.")
    missing = np.asarray(shares, dtype=float) / sum(shares) * sum(areas)
    empty = [i for i, share in enumerate(shares) if share > 0]
    splits = [""] * len(areas)
    for block in np.random.default_rng(seed).permutation(len(areas)):
        split = empty.pop(0) if empty else int(missing.argmax())
        missing[split] -= areas[block]
        splits[block] = SPLITS[split]
    return splits
