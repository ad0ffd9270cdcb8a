"""Memory-mapped arrays, which use memory only as they are written, and release it when they are dropped."""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np

_SMALLEST = 2**16  # bytes


def mmap_array(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array in anonymous memory-mapped pages.

    On the C heap, long-lived arrays between short-lived ones cause fragmentation: by measurement, several times the
    memory in use. And a block of the heap may be resident already, even if most of the array, such as a table of
    worst-case size, is never written.

    Args:
        shape: Shape of the array; small ones are allocated on the heap.
        dtype: Type of the array, whose values are zero.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size < _SMALLEST or os.name == "nt":  # where the heap maps large arrays separately
        return np.zeros(shape, dtype)
    pages = mmap.mmap(-1, size, access=mmap.ACCESS_COPY)  # private to this process
    return np.frombuffer(pages, dtype).reshape(shape)
