from __future__ import annotations

import numpy as np
import pytest

from satseg.labels.outlines import UNKNOWN, between_objects, near_outline


def within(objects: np.ndarray, row: int, col: int, radius: float) -> np.ndarray:
    """Return the known objects whose pixel centres are at most ``radius`` away."""
    rows, columns = np.indices(objects.shape)
    near = objects[(rows - row) ** 2 + (columns - col) ** 2 <= radius**2]
    return near[near != UNKNOWN]


@pytest.mark.parametrize("radius", [1, 1.5, 2, 3, 4.3])
def test_every_pixel_agrees_with_a_look_around(radius: float) -> None:
    rng = np.random.default_rng(0)
    objects = np.kron(rng.integers(-1, 4, (6, 5)), np.ones((4, 5), dtype=int)).astype(np.int32)
    near, between = near_outline(objects, radius), between_objects(objects, radius)
    for row, col in np.ndindex(*objects.shape):
        own, around = objects[row, col], within(objects, row, col, radius)
        assert near[row, col] == (own != UNKNOWN and (around != own).any())
        assert between[row, col] == (own == 0 and len(set(around[around > 0].tolist())) > 1)


def test_a_radius_beyond_the_array_is_no_trouble() -> None:
    objects = np.array([[1, 0]], dtype=np.int32)
    assert near_outline(objects, 9).all()
    assert not between_objects(objects, 9).any()
