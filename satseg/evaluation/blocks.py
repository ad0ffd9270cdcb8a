"""Divide a streamed scene into blocks with a halo.

Blocks of a scene correspond to tiles of a tile set: their scores are averaged, resampled and listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

_MAX_ROWS = 128


@dataclass(frozen=True, eq=False)
class Strip:
    """Labels and map on full rows of a scene.

    Args:
        top: First row in the scene.
        labels: (H, W) uint8 class ids, 255 = ignore.
        classes: (H, W) uint8 class ids of the map, 255 = nodata.
    """

    top: int
    labels: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True, eq=False)
class HaloStrip:
    """Full rows within one row of blocks, with a halo above and below that is clipped to the scene.

    Args:
        top: First row of the core in the scene.
        core: Rows of the arrays without the halo.
        labels: (H, W) uint8, including the halo.
        classes: (H, W) uint8, including the halo.
    """

    top: int
    core: slice
    labels: np.ndarray
    classes: np.ndarray


def halo_strips(strips: Iterable[Strip], height: int, *, block: int, halo: int) -> Iterator[HaloStrip]:
    """Cut strips of any height into strips that end where blocks end, with a halo.

    Args:
        strips: All rows of the scene, from the top.
        height: Rows of the scene.
        block: Side of a block; a strip is a part of one row of blocks, so that few rows are in memory.
        halo: Rows of the halo above and below.
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
            yield HaloStrip(top, slice(top - first, bottom - first), labels, classes)
            top, bottom = bottom, next(edges, height)


def _edges(height: int, block: int) -> Iterator[int]:
    """Yield the first rows of all strips, and the row after the last one."""
    for top in range(0, height, block):
        yield from range(top, min(top + block, height), _MAX_ROWS)
    yield height


def columns(width: int, *, block: int, halo: int) -> Iterator[tuple[slice, slice]]:
    """Yield, for each block of a row, its columns with the halo, and its own columns relative to these."""
    for left in range(0, width, block):
        right = min(left + block, width)
        first = max(left - halo, 0)
        yield slice(first, min(right + halo, width)), slice(left - first, right - first)
