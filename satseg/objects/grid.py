"""Steps to the four neighbours of a pixel, and trees of pixels, for compiled code."""

from __future__ import annotations

import numpy as np
from numba import njit

STEPS = ((-1, 0), (0, -1), (0, 1), (1, 0))
"""Rows and columns to the neighbours of a pixel, in reading order."""


@njit(cache=True, nogil=True)
def root_of(parent: np.ndarray, at: int) -> int:
    """Return the root of a tree, and halve the way to it."""
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = parent[at]
    return at
