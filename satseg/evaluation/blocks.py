"""Part a scene that streams by into blocks, and count each with the ground around it.

Blocks are to a scene what tiles are to a tile set: the places whose scores are averaged, resampled and listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

_BAND_ROWS = 128


@dataclass(frozen=True, eq=False)
class Strip:
    """Labels and map on full rows of a scene.

    Args:
        top: Row of the scene where it begins.
        labels: (H, W) uint8 class ids, 255 = ignore.
        classes: (H, W) uint8 class ids of the map, 255 = nodata.
    """

    top: int
    labels: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True, eq=False)
class Band:
    """Some rows of one row of blocks, with a halo above and below as far as the scene reaches.

    Args:
        top: Row of the scene where the core begins.
        core: Rows of the arrays that are no halo.
        labels: (H, W) uint8, halo included.
        classes: (H, W) uint8, halo included.
    """

    top: int
    core: slice
    labels: np.ndarray
    classes: np.ndarray


def bands(strips: Iterable[Strip], height: int, *, block: int, halo: int) -> Iterator[Band]:
    """Cut strips of any heights into bands that end where blocks end, and carry their halo.

    Args:
        strips: All rows of the scene, in order from the top.
        height: Rows of the scene.
        block: Side of a block; a band is a part of one row of blocks, so that few rows are held.
        halo: Rows above and below.
    """
    held: list[np.ndarray] = []  # (2, rows, W): labels and map
    first = end = 0
    edges = _edges(height, block)
    top = next(edges)
    bottom = next(edges)
    for strip in strips:
        assert strip.top == end, "strips must come in order"
        held.append(np.stack([strip.labels, strip.classes]))
        end += len(strip.labels)
        while top < height and min(bottom + halo, height) <= end:
            held = [np.concatenate(held, axis=1)[:, max(top - halo, 0) - first :]]
            first = max(top - halo, 0)
            labels, classes = held[0][:, : min(bottom + halo, height) - first]
            yield Band(top, slice(top - first, bottom - first), labels, classes)
            top, bottom = bottom, next(edges, height)


def _edges(height: int, block: int) -> Iterator[int]:
    """Yield where bands begin, and where the last one ends."""
    for top in range(0, height, block):
        yield from range(top, min(top + block, height), _BAND_ROWS)
    yield height


def columns(width: int, *, block: int, halo: int) -> Iterator[tuple[slice, slice]]:
    """Yield, for each block of a row, its columns with their halo, and where in these its own columns lie."""
    for left in range(0, width, block):
        right = min(left + block, width)
        first = max(left - halo, 0)
        yield slice(first, min(right + halo, width)), slice(left - first, right - first)
