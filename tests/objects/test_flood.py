"""The marker-controlled watershed against a plain twin and against scikit-image.

Covers ``grid``.
"""

from __future__ import annotations

import numpy as np
import pytest
from flooding import random_map, regions, slow_flood
from skimage.segmentation import watershed

from satseg.objects.flood import flood
from satseg.objects.markers import find_markers

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("levels", [1, 2, 5, 60_000])
def test_pixels_are_flooded_in_the_order_of_the_rules(seed: int, levels: int) -> None:
    height, groups = random_map(seed, levels)
    markers = find_markers(random_map(seed + 100, levels, groups.shape)[0], groups, max(1, levels // 4))
    assert flood(height, groups, markers).tolist() == slow_flood(height, groups, markers).tolist()


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_watershed_of_scikit_image_where_heights_differ(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height = rng.permutation(200 * 300).reshape(200, 300).astype(np.uint16)
    groups = (rng.random((200, 300)) < 0.8).astype(np.uint8)
    markers = find_markers(height, groups, int(rng.integers(1, 30_000)))
    seeds = np.zeros(height.size, dtype=np.int32)
    seeds[markers] = np.arange(1, len(markers) + 1)
    expected = watershed(-height.astype(np.int32), seeds.reshape(height.shape), connectivity=CROSS, mask=groups > 0)
    found = flood(height, groups, markers)
    assert found.tolist() == expected.tolist()
    assert regions(found) == len(markers)


def test_a_plateau_is_divided_halfway() -> None:
    height, groups = np.full((5, 12), 7, dtype=np.uint16), np.ones((5, 12), dtype=np.uint8)
    found = flood(height, groups, np.array([2 * 12, 2 * 12 + 11]))
    assert (found[:, :6] == 1).all()
    assert (found[:, 6:] == 2).all()


def test_the_boundary_between_two_objects_is_divided_halfway_whatever_their_heights() -> None:
    height = np.zeros((8, 13), dtype=np.uint16)
    height[:, :4], height[:, 10:] = 100, 9
    found = flood(height, np.ones((8, 13), dtype=np.uint8), np.array([0, 12]))
    assert [int(side) for side in found[4]] == [1] * 7 + [2] * 6


def test_groups_are_flooded_apart_and_parts_without_a_marker_stay_dry() -> None:
    groups = np.array([[1, 1, 2, 2, 0, 1, 1]], dtype=np.uint8)
    found = flood(np.full((1, 7), 3, dtype=np.uint16), groups, np.array([0, 2]))
    assert found.tolist() == [[1, 1, 2, 2, 0, 0, 0]]
