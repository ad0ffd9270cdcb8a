"""Maps of centres and offsets that a network without errors would give, and a plain twin of the grouping."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from satseg.objects import ONE
from satseg.objects.grouping import OFFSET_STEPS, REACH

Maps = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Groups and heat, (row, col) uint8, and offsets, (2, row, col) int16."""


def true_centres(ids: np.ndarray, *, sigma: float = 8.0) -> Maps:
    """Return the maps of objects: one group, heat of their centres of mass, and offsets to these."""
    numbers = np.unique(ids[ids > 0])
    centres = np.array(ndimage.center_of_mass(ids > 0, ids, numbers)).reshape(-1, 2)
    nearest = np.full(ids.shape, np.inf)
    places = np.indices(ids.shape)
    for row, column in np.rint(centres):
        nearest = np.minimum(nearest, (places[0] - row) ** 2 + (places[1] - column) ** 2)
    table = np.zeros((int(ids.max(initial=0)) + 1, 2))
    table[numbers] = centres
    offsets = np.rint((np.moveaxis(table[ids], -1, 0) - places) * OFFSET_STEPS * (ids > 0))
    heat = np.rint(np.exp(-nearest / (2 * sigma**2)) * ONE).astype(np.uint8)
    return (ids > 0).astype(np.uint8), heat, offsets.astype(np.int16)


def mosaic(seed: int, height: int, width: int, *, least: int = 10, most: int = 26) -> np.ndarray:
    """Return ids of rectangles that touch each other, in rows of random heights, with gaps here and there."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((height, width), dtype=np.int32)
    top = number = 0
    while top + least <= height:
        bottom, left = top + int(rng.integers(least, most)), 0
        while left + least <= width:
            right = left + int(rng.integers(least, most))
            if rng.random() < 0.85:
                number += 1
                ids[top:bottom, left:right] = number
            left = right
        top = bottom
    return ids


def slow_centres(heat: np.ndarray) -> list[tuple[int, int]]:
    """Return the middles of pixels above a tenth with no higher one within 7 x 7 px, close ones taken together."""
    tops = np.zeros(heat.shape, dtype=bool)
    for row, column in np.argwhere((heat > 0.1 * ONE) & (heat < 255)).tolist():
        stands = True
        for near in range(max(0, row - 3), min(heat.shape[0], row + 4)):
            for beside in range(max(0, column - 3), min(heat.shape[1], column + 4)):
                other, mine = int(heat[near, beside]), int(heat[row, column])
                if other < 255 and other > mine:
                    stands = False
        tops[row, column] = stands
    found: list[tuple[int, int]] = []
    left = list(map(tuple, np.argwhere(tops).tolist()))
    while left:
        together = [left.pop()]
        for one in together:
            close = [other for other in left if abs(one[0] - other[0]) <= 3 and abs(one[1] - other[1]) <= 3]
            together += close
            left = [other for other in left if other not in close]
        found.append(tuple(int(np.floor(np.mean(side) + 0.5)) for side in zip(*together, strict=True)))  # type: ignore[arg-type]
    return sorted(found)


def slow_votes(maps: Maps) -> np.ndarray:
    """Return the number of the nearest centre of each pixel, (row, col), 0 for none, comparing it with all centres."""
    groups, heat, offsets = maps
    centres = np.array(slow_centres(heat)).reshape(-1, 2) * OFFSET_STEPS
    votes = np.zeros(groups.shape, dtype=int)
    for row, column in np.argwhere(groups > 0).tolist():
        ends = np.array([row, column]) * OFFSET_STEPS + offsets[:, row, column]
        squares = ((centres - ends) ** 2).sum(axis=1)
        if squares.size and squares.min() <= (REACH * OFFSET_STEPS) ** 2:
            votes[row, column] = int(squares.argmin()) + 1
    return votes


def slow_groups(maps: Maps) -> np.ndarray:
    """Return the objects of maps: (row, col) numbers in the order of the first pixels of their largest pieces."""
    groups, votes = maps[0], slow_votes(maps)
    four = ndimage.generate_binary_structure(2, 1)
    owners = np.zeros(groups.shape, dtype=int)
    for group in np.unique(groups[groups > 0]):
        parts, count = ndimage.label(groups == group, structure=four)
        for part in range(1, count + 1):
            inside, kept = parts == part, []
            for centre in np.unique(votes[inside]):
                pieces, pieces_count = ndimage.label(inside & (votes == centre), structure=four)
                if centre and pieces_count:
                    sizes = np.bincount(pieces.ravel())[1:]
                    kept.append(pieces == 1 + int(sizes.argmax()))
            for mine in kept or [inside]:
                owners[mine] = 1 + int(np.flatnonzero(mine)[0])
            _grow(owners, inside)
    _, numbers = np.unique(owners, return_inverse=True)
    return numbers.reshape(groups.shape) + (owners.min() > 0)


def _grow(owners: np.ndarray, inside: np.ndarray) -> None:
    """Let owners spread step by step in place, those that were reached first going on first."""
    rows, columns = owners.shape
    waiting = [(int(row), int(column)) for row, column in np.argwhere(inside & (owners > 0))]
    for row, column in waiting:
        for near in ((row - 1, column), (row, column - 1), (row, column + 1), (row + 1, column)):
            if 0 <= near[0] < rows and 0 <= near[1] < columns and inside[near] and not owners[near]:
                owners[near] = owners[row, column]
                waiting.append(near)
