"""The marker-controlled watershed: the pixels of each group go to the object that floods them first.

Flooding (Meyer, "Topographic distance and watershed lines", Signal Processing 38, 1994) starts at the markers and goes
down: of all pixels beside flooded ones of their group, the next is the one that

1. is flooded at the highest level, which is the lowest height on the way from the marker to it;
2. is nearest to where that level was entered: the last pixel above it, or the marker. Distances are straight, so two
   objects divide a plateau, such as the boundary between them, halfway;
3. was reached first. Markers count as reached in reading order, and the neighbours of a pixel in the order up, left,
   right, down.

Every pixel gets an object if its connected part has a marker, an object is connected by the four neighbours, and its
pixels depend on nothing outside of their connected part. Where all heights differ, the first rule alone decides.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from satseg.objects.grid import STEPS

_AGE_BITS, _DISTANCE_BITS = 27, 20
_MOST_PIXELS = 2 ** (_AGE_BITS - 2)  # each is reached from four sides at most
_FARTHEST = 2**_DISTANCE_BITS - 1  # squared; beyond 1023 px the age decides
_HIGHEST = 2**16 - 1
_FINISHED = -1


def flood(height: np.ndarray, groups: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """Give each pixel of a group to an object.

    Args:
        height: (H, W) uint16; H * W is at most 2**25.
        groups: (H, W) uint8; objects lie within connected pixels of one group, and 0 has none.
        markers: (N,) positions in groups, ``row * W + column``, ascending.

    Returns:
        (H, W) int32 number of the marker, from 1; 0 for no object.
    """
    assert height.size <= _MOST_PIXELS
    labels = np.zeros(groups.size, dtype=np.int32)
    _flood(labels, height.ravel(), groups.ravel(), markers.astype(np.int64), groups.shape[1])
    return labels.reshape(groups.shape)


@njit(cache=True, nogil=True)
def _flood(labels: np.ndarray, height: np.ndarray, groups: np.ndarray, markers: np.ndarray, width: int) -> None:
    """Flood in place. A key holds level, distance and age, so that the least is next; ``best`` holds it without age."""
    size = groups.size
    best = np.full(size, np.iinfo(np.int64).max, dtype=np.int64)
    entered = np.empty(size, dtype=np.int32)
    keys, places, waiting = np.empty(1024, dtype=np.int64), np.empty(1024, dtype=np.int32), 0
    age = 0
    for number in range(markers.size):
        at = markers[number]
        labels[at], entered[at] = number + 1, at
        best[at] = (_HIGHEST - np.int64(height[at])) << _DISTANCE_BITS
        keys, places = _room(keys, places, waiting)
        waiting = _push(keys, places, waiting, (best[at] << _AGE_BITS) | age, at)
        age += 1
    while waiting:
        key, at = keys[0], places[0]
        waiting = _pop(keys, places, waiting)
        if key >> _AGE_BITS != best[at]:
            continue  # finished, or reached in a better way since
        best[at] = _FINISHED
        down = key >> (_AGE_BITS + _DISTANCE_BITS)
        row, column = at // width, at % width
        rows, columns = row - entered[at] // width, column - entered[at] % width  # from where the level was entered
        for step, side in STEPS:
            near = at + step * width + side
            if not (0 <= near < size and 0 <= column + side < width):
                continue
            if groups[near] != groups[at] or best[near] == _FINISHED:
                continue
            deeper = _HIGHEST - np.int64(height[near])
            if deeper > down:
                new, source = (deeper << _DISTANCE_BITS) | 1, at
            else:
                distance = (rows + step) * (rows + step) + (columns + side) * (columns + side)
                new, source = (down << _DISTANCE_BITS) | min(distance, _FARTHEST), entered[at]
            if new < best[near]:
                best[near], labels[near], entered[near] = new, labels[at], source
                keys, places = _room(keys, places, waiting)
                waiting = _push(keys, places, waiting, (new << _AGE_BITS) | age, near)
                age += 1


@njit(cache=True, nogil=True)
def _room(keys: np.ndarray, places: np.ndarray, waiting: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the heap with room for one more."""
    if waiting < keys.size:
        return keys, places
    return np.concatenate((keys, np.empty_like(keys))), np.concatenate((places, np.empty_like(places)))


@njit(cache=True, nogil=True)
def _push(keys: np.ndarray, places: np.ndarray, waiting: int, key: int, place: int) -> int:
    """Add an entry to the heap; return the number of entries."""
    at = waiting
    while at and keys[(at - 1) >> 1] > key:
        above = (at - 1) >> 1
        keys[at], places[at] = keys[above], places[above]
        at = above
    keys[at], places[at] = key, place
    return waiting + 1


@njit(cache=True, nogil=True)
def _pop(keys: np.ndarray, places: np.ndarray, waiting: int) -> int:
    """Remove the least entry of the heap; return the number of entries."""
    last = waiting - 1
    key, place = keys[last], places[last]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= last:
            break
        if below + 1 < last and keys[below + 1] < keys[below]:
            below += 1
        if keys[below] >= key:
            break
        keys[at], places[at] = keys[below], places[below]
        at = below
    keys[at], places[at] = key, place
    return last
