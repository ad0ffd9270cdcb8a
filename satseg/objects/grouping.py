"""Group pixels by the centres that they point to, as Panoptic-DeepLab does, in blocks of a scene or in one piece.

Cheng et al., "Panoptic-DeepLab", CVPR 2020, arXiv 1911.10194, section 3.2:

1. A centre is a pixel whose heat is above 0.1 and the largest within 7 x 7 px. Where several of equal heat lie so close
   that each is within the window of another one, their middle is the centre: a flat top has one.
2. A pixel goes to the centre that is nearest to where its offset leads; of equally near ones, the first in reading
   order.

Objects are to be connected, and each is to lie within pixels of one class. So in each connected part of a class, the
largest connected piece of the pixels that went to a centre is an object (of equal ones, the first in reading order).
All other pixels, and those that point to no centre within :data:`REACH`, go to the nearest object of their part by
steps over its pixels; a part without any is one object.

Objects of a part depend on its own pixels and on the centres within reach of where these point. Wherever both lie
within the margin around a block, the block holds what the whole scene would give.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from satseg.objects import ONE, UNKNOWN
from satseg.objects.grid import STEPS
from satseg.objects.watershed import NO_MARKER, touching

OFFSET_STEPS = 16
"""Steps of stored offsets per pixel."""

MOST_STEPS = 2**15 - 1
"""The longest of them."""

REACH = 64
"""Pixels between a centre and where an offset leads, at most: what is farther away is a centre of something else."""

_LEAST_HEAT = 0.1
_NEAR = 3  # pixels to each side: a window of 7 x 7
_CELL = 16  # pixels; centres are looked up by cells of a grid


def grouped(
    groups: np.ndarray, heat: np.ndarray, offsets: np.ndarray, inner: tuple[slice, slice] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the pixels of groups into objects.

    Args:
        groups: (H, W) uint8; objects lie within connected pixels of one group, and 0 has none.
        heat: (H, W) uint8 heat of centres, 254 for 1; 255 is none.
        offsets: (2, H, W) int16 rows and columns from each pixel to the centre of its object, in sixteenths of a pixel.
        inner: Rows and columns that are wanted; None takes all. Parts of groups that do not meet them are left out.

    Returns:
        (H, W) int32 number of each pixel's object, from 1, 0 for none; and (N + 1,) int64 position of a pixel of each
        object by that number, ``row * W + column``, ascending, ``NO_MARKER`` for 0.
    """
    if inner is not None:
        groups = touching(groups, inner)
    height, width = groups.shape
    flat = groups.ravel()
    parts, _, _ = _pieces(flat, np.zeros(flat.size, dtype=np.int32), width)
    centres = find_centres(heat)
    votes = _votes(flat, offsets.reshape(2, -1), width, centres, *_by_cell(centres, height, width))
    pieces, firsts, sizes = _pieces(parts, votes, width)
    chosen = _largest(parts[firsts], votes[firsts], sizes)
    markers = np.sort(np.concatenate([firsts[chosen], _without(parts, firsts[chosen])]))
    labels = _spread(pieces, parts, markers, width)
    return labels.reshape(groups.shape), np.concatenate([[NO_MARKER], markers])


def find_centres(heat: np.ndarray) -> np.ndarray:
    """Return the positions of centres, (N,) int64 ``row * W + column``, ascending; heat as :func:`grouped` takes it."""
    sums = _sums_of_tops(_stand_out(heat, int(_LEAST_HEAT * ONE)))
    rows, columns = ((2 * sums[:2] + sums[2]) // (2 * np.maximum(sums[2], 1))).astype(np.int64)
    return np.sort(rows * heat.shape[1] + columns)


@njit(cache=True, nogil=True)
def _stand_out(heat: np.ndarray, least: int) -> np.ndarray:
    """Tell which pixels are above ``least``, and no lower than any around, (H, W) bool."""
    height, width = heat.shape
    found = np.zeros(heat.shape, dtype=np.bool_)
    for row in range(height):
        for column in range(width):
            value = heat[row, column]
            if value <= least or value == UNKNOWN:
                continue
            stands = True
            for near in range(max(0, row - _NEAR), min(height, row + _NEAR + 1)):
                for beside in range(max(0, column - _NEAR), min(width, column + _NEAR + 1)):
                    other = heat[near, beside]
                    if other != UNKNOWN and other > value:
                        stands = False
                        break
                if not stands:
                    break
            found[row, column] = stands
    return found


@njit(cache=True, nogil=True)
def _sums_of_tops(standing: np.ndarray) -> np.ndarray:
    """Return rows, columns and pixels of each top, added up, (3, N) int64; no window holds pixels of two tops."""
    height, width = standing.shape
    waiting = np.empty(np.count_nonzero(standing), dtype=np.int32)
    found = [(np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    for start in range(standing.size):
        if not standing[start // width, start % width]:
            continue
        standing[start // width, start % width] = False
        waiting[0], count, done, rows, columns = start, 1, 0, np.int64(0), np.int64(0)
        while done < count:
            row, column = waiting[done] // width, waiting[done] % width
            rows, columns, done = rows + row, columns + column, done + 1
            for near in range(max(0, row - _NEAR), min(height, row + _NEAR + 1)):
                for beside in range(max(0, column - _NEAR), min(width, column + _NEAR + 1)):
                    if standing[near, beside]:
                        standing[near, beside] = False
                        waiting[count] = near * width + beside
                        count += 1
        found.append((rows, columns, np.int64(count)))
    sums = np.empty((3, len(found)), dtype=np.int64)
    for number in range(len(found)):
        sums[0, number], sums[1, number], sums[2, number] = found[number]
    return sums


def _by_cell(centres: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the numbers of centres by cells of a grid, where those of each cell begin, and the columns of cells."""
    across = -(-width // _CELL)
    rows, columns = np.divmod(centres, width)
    cells = rows // _CELL * across + columns // _CELL
    starts = np.searchsorted(np.sort(cells), np.arange(-(-height // _CELL) * across + 1))
    return np.argsort(cells, kind="stable"), starts, across


@njit(cache=True, nogil=True)
def _votes(
    groups: np.ndarray,
    offsets: np.ndarray,
    width: int,
    centres: np.ndarray,
    order: np.ndarray,
    starts: np.ndarray,
    across: int,
) -> np.ndarray:
    """Return the number of the centre that each pixel of a group points to, (H * W,) int32 from 1, 0 for none."""
    votes = np.zeros(groups.size, dtype=np.int32)
    down = (starts.size - 1) // across
    side = _CELL * OFFSET_STEPS
    for at in range(groups.size):
        if not groups[at]:
            continue
        row = np.int64(at // width) * OFFSET_STEPS + offsets[0, at]
        column = np.int64(at % width) * OFFSET_STEPS + offsets[1, at]
        best = np.int64(REACH * OFFSET_STEPS) ** 2 + 1
        chosen = -1
        for ring in range(REACH // _CELL + 2):
            nearest = np.int64(max(0, ring - 1)) * side  # of all that lies in this ring of cells, and beyond
            if nearest * nearest > best:
                break
            for cell_row in range(row // side - ring, row // side + ring + 1):
                whole = cell_row == row // side - ring or cell_row == row // side + ring
                if not 0 <= cell_row < down:
                    continue
                for cell_column in range(
                    column // side - ring, column // side + ring + 1, 1 if whole else max(1, 2 * ring)
                ):
                    if not 0 <= cell_column < across:
                        continue
                    cell = cell_row * across + cell_column
                    for place in range(starts[cell], starts[cell + 1]):
                        number = order[place]
                        rows = row - np.int64(centres[number] // width) * OFFSET_STEPS
                        columns = column - np.int64(centres[number] % width) * OFFSET_STEPS
                        distance = rows * rows + columns * columns
                        if distance < best or (distance == best and number < chosen):
                            best, chosen = distance, number
        votes[at] = chosen + 1
    return votes


@njit(cache=True, nogil=True)
def _pieces(groups: np.ndarray, values: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the connected pieces of one group and one value.

    Returns:
        (H * W,) int32 number of each pixel's piece from 1 in the order of first pixels, 0 outside of groups; the first
        pixel of each piece, int64; and its pixels, int64.
    """
    pieces = np.zeros(groups.size, dtype=np.int32)
    waiting = np.empty(groups.size, dtype=np.int32)
    firsts, sizes = [np.int64(0) for _ in range(0)], [np.int64(0) for _ in range(0)]
    for start in range(groups.size):
        if not groups[start] or pieces[start]:
            continue
        firsts.append(np.int64(start))
        pieces[start] = len(firsts)
        waiting[0], count, done = start, 1, 0
        while done < count:
            at = waiting[done]
            done += 1
            column = at % width
            for step, side in STEPS:
                near = at + step * width + side
                if not (0 <= near < groups.size and 0 <= column + side < width) or pieces[near]:
                    continue
                if groups[near] == groups[at] and values[near] == values[at]:
                    pieces[near] = pieces[at]
                    waiting[count] = near
                    count += 1
        sizes.append(np.int64(count))
    return pieces, np.array(firsts, dtype=np.int64), np.array(sizes, dtype=np.int64)


def _largest(parts: np.ndarray, votes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return which pieces are objects: of all with the same centre in the same part, the largest; all by piece."""
    pointing = np.flatnonzero(votes)
    order = pointing[np.lexsort((pointing, -sizes[pointing], votes[pointing], parts[pointing]))]
    pairs = np.stack([parts[order], votes[order]])
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)
    return order[first]


def _without(parts: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Return the first pixel of each part in which no object lies."""
    numbers, firsts = np.unique(parts, return_index=True)
    empty = ~np.isin(numbers, parts[objects]) & (numbers > 0)
    return firsts[empty].astype(np.int64)


@njit(cache=True, nogil=True)
def _spread(pieces: np.ndarray, parts: np.ndarray, markers: np.ndarray, width: int) -> np.ndarray:
    """Number the pieces that markers lie in, and let all other pixels of their parts go to the nearest of them."""
    of_piece = np.zeros(pieces.max() + 1, dtype=np.int32)
    for number in range(markers.size):
        of_piece[pieces[markers[number]]] = number + 1
    labels = np.zeros(pieces.size, dtype=np.int32)
    waiting = np.empty(pieces.size, dtype=np.int32)
    count = 0
    for at in range(pieces.size):
        if of_piece[pieces[at]]:
            labels[at] = of_piece[pieces[at]]
            waiting[count] = at
            count += 1
    done = 0
    while done < count:
        at = waiting[done]
        done += 1
        column = at % width
        for step, side in STEPS:
            near = at + step * width + side
            if not (0 <= near < parts.size and 0 <= column + side < width):
                continue
            if parts[near] == parts[at] and not labels[near]:
                labels[near] = labels[at]
                waiting[count] = near
                count += 1
    return labels
