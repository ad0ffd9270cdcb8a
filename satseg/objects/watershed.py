"""From maps of distance and boundary to objects, in blocks of a scene or in one piece.

Both maps are 8-bit, 254 for 1, as they are stored, so that objects made from stored maps are those of a prediction.

- Markers come from the sum of distance and interior (1 minus boundary), so that a narrow part of a roof, where the
  distance falls but no boundary lies, does not divide it.
- Flooding follows their product, which is 0 along a boundary, whatever the sizes of the objects beside it.

A scene is divided into blocks at fixed places. Each is computed with a margin around it, as wide as the largest object,
and gives every one of its pixels the position of a marker in the scene. Markers and flooding depend on nothing outside
of their connected part, so wherever a part of a group that touches a block does not reach beyond the margin, the block
holds what the whole scene would give. What is larger than that is joined along the edges of blocks, see
:mod:`satseg.objects.division`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit

from satseg.objects import ONE
from satseg.objects.flood import flood
from satseg.objects.grid import STEPS
from satseg.objects.markers import find_markers

NO_MARKER = -1


def marker_height(distance: np.ndarray, boundary: np.ndarray) -> np.ndarray:
    """Return the heights whose maxima are markers: (H, W) uint16, 0 to 508; both maps (H, W) uint8, 0 to 254."""
    return distance.astype(np.uint16) + (ONE - boundary.astype(np.uint16))


def flood_height(distance: np.ndarray, boundary: np.ndarray) -> np.ndarray:
    """Return the heights that are flooded: (H, W) uint16, 0 to 64516; both maps (H, W) uint8, 0 to 254."""
    return distance.astype(np.uint16) * (ONE - boundary.astype(np.uint16))


def marker_steps(depth: float) -> int:
    """Return the least dynamics of a marker in steps of :func:`marker_height`, for a depth in 0..1."""
    return max(1, round(depth * 2 * ONE))


@dataclass(frozen=True)
class Block:
    """A block of a scene, and what is read to compute it.

    Args:
        top: First row of what is read.
        left: Its first column.
        height: Its rows.
        width: Its columns.
        inner: Rows and columns of the block within it.
    """

    top: int
    left: int
    height: int
    width: int
    inner: tuple[slice, slice]

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the scene that are read."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class Blocks:
    """The blocks of a scene.

    Args:
        height: Rows of the scene.
        width: Columns of the scene.
        side: Rows and columns of a block.
        margin: Pixels that are read around it, at least the extent of the largest object.
    """

    height: int
    width: int
    side: int
    margin: int

    def rows(self) -> Iterator[list[Block]]:
        """Yield the blocks of each row of blocks, from the top."""
        for top in range(0, self.height, self.side):
            yield [self._block(top, left) for left in range(0, self.width, self.side)]

    def _block(self, top: int, left: int) -> Block:
        first, west = max(0, top - self.margin), max(0, left - self.margin)
        bottom, right = min(self.height, top + self.side), min(self.width, left + self.side)
        last, east = min(self.height, bottom + self.margin), min(self.width, right + self.margin)
        inner = slice(top - first, bottom - first), slice(left - west, right - west)
        return Block(first, west, last - first, east - west, inner)


def objects_of(
    groups: np.ndarray,
    distance: np.ndarray,
    boundary: np.ndarray,
    depth: float,
    inner: tuple[slice, slice] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the pixels of groups into objects.

    Args:
        groups: (H, W) uint8; objects lie within connected pixels of one group, and 0 has none.
        distance: (H, W) uint8 normalised distances to the edge, 254 for 1.
        boundary: (H, W) uint8 probabilities of the inner boundary, 254 for 1.
        depth: Least dynamics of a marker, in 0..1.
        inner: Rows and columns that are wanted; None takes all. Parts of groups that do not meet them are left out.

    Returns:
        (H, W) int32 number of the marker of each pixel's object, 0 for none; and (N + 1,) int64 positions of markers
        by that number, ``row * W + column``, ``NO_MARKER`` for 0.
    """
    if inner is not None:
        groups = touching(groups, inner)
    markers = find_markers(marker_height(distance, boundary), groups, marker_steps(depth))
    labels = flood(flood_height(distance, boundary), groups, markers)
    return labels, np.concatenate([[NO_MARKER], markers])


def in_scene(markers: np.ndarray, block: Block, width: int) -> np.ndarray:
    """Return positions of markers in a block as positions in a scene of that width, both int64."""
    rows, columns = np.divmod(markers, block.width)
    return np.where(markers == NO_MARKER, NO_MARKER, (rows + block.top) * width + columns + block.left)


def touching(groups: np.ndarray, inner: tuple[slice, slice]) -> np.ndarray:
    """Return groups, (H, W) uint8, without the connected parts that do not meet the wanted rows and columns."""
    if (inner[0].stop - inner[0].start, inner[1].stop - inner[1].start) == groups.shape:
        return groups
    kept = np.zeros_like(groups)
    kept[inner] = groups[inner]
    _spread(kept.ravel(), groups.ravel(), groups.shape[1])
    return kept


@njit(cache=True, nogil=True)
def _spread(kept: np.ndarray, groups: np.ndarray, width: int) -> None:
    """Add the pixels that are connected with kept ones, in place."""
    waiting = np.empty(groups.size, dtype=np.int32)
    count = 0
    for at in range(groups.size):
        if kept[at]:
            waiting[count] = at
            count += 1
    while count:
        count -= 1
        at = waiting[count]
        column = at % width
        for step, side in STEPS:
            near = at + step * width + side
            if not (0 <= near < groups.size and 0 <= column + side < width):
                continue
            if groups[near] == groups[at] and not kept[near]:
                kept[near] = groups[near]
                waiting[count] = near
                count += 1
