from __future__ import annotations

import numpy as np
import pytest

from satseg.files.mmap_arrays import mmap_array


@pytest.mark.parametrize("shape", [0, 7, (0, 256), 2**20, (2**10, 300)])
def test_an_array_can_be_filled(shape: int | tuple[int, ...]) -> None:
    array = mmap_array(shape, np.int32)
    array[...] = 5
    assert array.shape == np.empty(shape).shape
    assert (array == 5).all()
