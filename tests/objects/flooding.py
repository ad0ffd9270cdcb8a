"""Plain twins of the compiled kernels, maps to compare them on, and the objects of maps in memory."""

from __future__ import annotations

import heapq

import numpy as np
from scipy import ndimage

from satseg.objects import ONE
from satseg.objects.numbering import Numbering
from satseg.objects.targets import edge_distance, inner_boundary, normalised
from satseg.objects.watershed import Blocks, in_scene, objects_of

Maps = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Groups, distance and boundary, (row, col) uint8 each."""


def slow_markers(height: np.ndarray, groups: np.ndarray, depth: int) -> list[int]:
    """Return the pixels that are first among all that can be reached without stepping down by ``depth``."""
    found = []
    for at in np.flatnonzero(groups).tolist():
        row, column = divmod(at, groups.shape[1])
        above = (groups == groups[row, column]) & (height.astype(int) > int(height[row, column]) - depth)
        parts, _ = ndimage.label(above)
        reached = np.flatnonzero(parts == parts[row, column])
        heights = height.ravel()[reached]
        if reached[np.flatnonzero(heights == heights.max())[0]] == at:
            found.append(at)
    return found


def slow_flood(height: np.ndarray, groups: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """Flood pixel by pixel with a list of all ways on which a pixel was reached."""
    rows, columns = groups.shape
    labels = np.zeros(groups.shape, dtype=np.int32)
    waiting: list[tuple[int, int, int, tuple[int, int], int, tuple[int, int]]] = []
    age = 0
    for number, marker in enumerate(markers.tolist(), start=1):
        place = divmod(marker, columns)
        heapq.heappush(waiting, (-int(height[place]), 0, age, place, number, place))
        age += 1
    while waiting:
        down, _, _, place, number, entered = heapq.heappop(waiting)
        if labels[place]:
            continue
        labels[place] = number
        row, column = place
        for near in ((row - 1, column), (row, column - 1), (row, column + 1), (row + 1, column)):
            if not (0 <= near[0] < rows and 0 <= near[1] < columns) or groups[near] != groups[place] or labels[near]:
                continue
            level = max(down, -int(height[near]))
            source = place if level > down else entered
            distance = (near[0] - source[0]) ** 2 + (near[1] - source[1]) ** 2
            heapq.heappush(waiting, (level, distance, age, near, number, source))
            age += 1
    return labels


def random_map(seed: int, levels: int, shape: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return heights of so many levels and groups 0 to 2, both (row, col)."""
    rng = np.random.default_rng(seed)
    shape = shape or tuple(rng.integers(1, 24, 2).tolist())
    height = rng.integers(0, levels, shape).astype(np.uint16)
    return height, rng.choice([0, 1, 2], shape, p=[0.2, 0.6, 0.2]).astype(np.uint8)


def smooth_maps(seed: int, shape: tuple[int, int], width: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return groups, distances and boundaries that look like those of a network: blobs, (row, col) uint8 each."""
    rng = np.random.default_rng(seed)
    blobs, lines, ground = (ndimage.gaussian_filter(rng.standard_normal(shape), width) * width for _ in range(3))
    groups = (ground > -0.1).astype(np.uint8) + (ground > 0.25).astype(np.uint8)
    distance = np.clip(blobs * 300 + 120, 0, 254).astype(np.uint8)
    boundary = np.clip(200 - np.abs(lines) * 900, 0, 254).astype(np.uint8)
    return groups, distance, boundary


def regions(numbers: np.ndarray) -> int:
    """Count the parts that are connected by the four neighbours; (row, col) numbers, 0 for none."""
    grid = np.zeros((2 * numbers.shape[0] - 1, 2 * numbers.shape[1] - 1), dtype=bool)
    grid[::2, ::2] = numbers > 0
    grid[::2, 1::2] = (numbers[:, :-1] == numbers[:, 1:]) & (numbers[:, 1:] > 0)
    grid[1::2, ::2] = (numbers[:-1] == numbers[1:]) & (numbers[1:] > 0)
    return int(ndimage.label(grid)[1])


def in_one_piece(maps: Maps, depth: float) -> np.ndarray:
    """Return the objects of a scene: (row, col) int32 ids."""
    height, width = maps[0].shape
    labels, markers = objects_of(*maps, depth)
    return Numbering(width, height)(markers[labels])


def in_blocks(maps: Maps, depth: float, side: int, margin: int) -> np.ndarray:
    """Return the objects of a scene that is computed block by block: (row, col) int32 ids."""
    height, width = maps[0].shape
    numbering, rows = Numbering(width, side + margin), []
    for row in Blocks(height, width, side, margin).rows():
        parts = []
        for block in row:
            labels, markers = objects_of(*(part[block.window] for part in maps), depth, block.inner)
            parts.append(in_scene(markers, block, width)[labels[block.inner]])
        rows.append(numbering(np.concatenate(parts, axis=1)))
    return np.concatenate(rows)


def largest_part(groups: np.ndarray) -> int:
    """Return the longest side of the box around a connected part."""
    boxes = [
        box
        for group in np.unique(groups[groups > 0])
        for box in ndimage.find_objects(ndimage.label(groups == group)[0])
    ]
    return max(max(side.stop - side.start for side in box) for box in boxes)


def true_maps(ids: np.ndarray, width: float = 1) -> Maps:
    """Return the maps that a network without errors would give."""
    distance = edge_distance(ids)
    shares = np.rint(normalised(distance, ids) * ONE).astype(np.uint8)
    return (ids > 0).astype(np.uint8), shares, inner_boundary(distance, width).astype(np.uint8) * np.uint8(ONE)
