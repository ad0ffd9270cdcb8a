"""Markers are the maxima whose dynamics reach a depth."""

from __future__ import annotations

import numpy as np
import pytest
from flooding import random_map, slow_markers
from skimage.morphology import h_maxima

from satseg.objects.markers import find_markers


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("levels", "depth"), [(1, 1), (3, 1), (6, 3), (60_000, 20_000)])
def test_a_marker_is_first_among_all_it_reaches_without_stepping_down(seed: int, levels: int, depth: int) -> None:
    height, groups = random_map(seed, levels)
    assert find_markers(height, groups, depth).tolist() == slow_markers(height, groups, depth)


@pytest.mark.parametrize("depth", [1, 500, 2500])
def test_markers_are_the_h_maxima_of_scikit_image_where_heights_differ(depth: int) -> None:
    height = np.random.default_rng(depth).permutation(3600).reshape(60, 60).astype(np.uint16)
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    found = find_markers(height, np.ones((60, 60), dtype=np.uint8), depth)
    expected = np.flatnonzero(h_maxima(height.astype(np.int32), depth, footprint=cross))
    assert found.tolist() == expected.tolist()


def test_a_flat_roof_has_one_marker_its_first_pixel_and_so_has_a_low_one() -> None:
    height = np.zeros((9, 20), dtype=np.uint16)
    height[2:7, 2:8], height[2:7, 12:18] = 400, 3
    groups = (height > 0).astype(np.uint8)
    assert find_markers(height, groups, 100).tolist() == [2 * 20 + 2, 2 * 20 + 12]


def test_a_summit_is_a_marker_if_the_way_to_a_higher_one_leads_down_far_enough() -> None:
    height = np.array([[10, 4, 8, 6, 8]], dtype=np.uint16)
    groups = np.ones_like(height, dtype=np.uint8)
    found = {depth: find_markers(height, groups, depth).tolist() for depth in (2, 3, 4, 5)}
    assert found == {2: [0, 2, 4], 3: [0, 2], 4: [0, 2], 5: [0]}


def test_nothing_has_no_marker() -> None:
    assert find_markers(np.ones((3, 4), dtype=np.uint16), np.zeros((3, 4), dtype=np.uint8), 1).tolist() == []
