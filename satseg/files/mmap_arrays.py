"""Arrays in pages of their own, which take memory as they are used and give it back when they are dropped."""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np

_OWN_PAGES = 2**16  # bytes


def own_pages(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array in pages of its own.

    From the C library's heap, arrays that live long between others that do not leave holes: measured, several times
    what is held. And what the heap gives may have been used before, so that it takes memory whether it is used or not;
    of a table made for the worst case most never is.

    Args:
        shape: Shape of the array. A small one comes from the heap.
        dtype: Its type. The values are any.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size < _OWN_PAGES or os.name == "nt":  # whose heap gives large arrays pages of their own
        return np.zeros(shape, dtype)
    pages = mmap.mmap(-1, size, access=mmap.ACCESS_COPY)  # of this process alone, and in pages only once written to
    return np.frombuffer(pages, dtype).reshape(shape)
