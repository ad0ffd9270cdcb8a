"""Widths of polygons and of regions of pixels: of shapes whose width is known by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from shapely import affinity

from satseg.labels.object_widths import polygon_widths, region_widths, sample_windows

EVERYWHERE = np.s_[:, :]


@settings(deadline=None)
@given(
    sides=st.tuples(st.floats(0.5, 500), st.floats(0.5, 500)),
    angle=st.floats(0, 180),
    place=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)),
)
def test_a_rectangle_is_as_wide_as_its_short_side(
    sides: tuple[float, float], angle: float, place: tuple[float, float]
) -> None:
    turned = affinity.rotate(shapely.box(*place, place[0] + sides[0], place[1] + sides[1]), angle)
    assert polygon_widths(np.array([turned])).tolist() == [pytest.approx(min(sides), rel=1e-3)]


@pytest.mark.parametrize("path", [[(0, 0), (100, 0), (100, 100)], [(0, 0), (300, 0), (300, 40), (0, 40)]])
def test_a_road_is_measured_across_however_it_bends(path: list[tuple[float, float]]) -> None:
    road = shapely.LineString(path).buffer(4, cap_style="flat", join_style="mitre")
    assert polygon_widths(np.array([road])).tolist() == [pytest.approx(8)]


def test_a_building_around_a_courtyard_is_measured_by_its_wings() -> None:
    ring = shapely.box(0, 0, 60, 60).difference(shapely.box(10, 10, 50, 50))
    assert 10 < polygon_widths(np.array([ring]))[0] < 11


def test_a_disc_is_as_wide_as_the_square_of_its_area() -> None:
    disc = shapely.Point(0, 0).buffer(10, quad_segs=64)
    assert polygon_widths(np.array([disc])).tolist() == [math.sqrt(disc.area)]


def test_polygons_without_area_have_no_width() -> None:
    flat = shapely.Polygon([(0, 0), (5, 0), (0, 0)])
    assert polygon_widths(np.array([flat, shapely.Polygon()])).tolist() == [0, 0]


@pytest.mark.parametrize("width", [1, 3, 5, 9, 21])
@pytest.mark.parametrize("corner", [(0, 0), (4, 7)])  # at the edge of the scene, and inside
def test_a_region_is_as_wide_as_the_largest_circle_in_it(width: int, corner: tuple[int, int]) -> None:
    objects = np.zeros((60, 40), dtype=np.int32)
    objects[corner[0] : corner[0] + 50, corner[1] : corner[1] + width] = 3
    numbers, widths = region_widths(objects, EVERYWHERE)
    assert (numbers.tolist(), widths.tolist()) == ([3], [width])


def test_regions_of_different_numbers_that_touch_are_apart_and_none_is_lost() -> None:
    objects = np.zeros((20, 40), dtype=np.int32)
    objects[2:18, 2:16], objects[2:18, 16:30], objects[2:18, 30] = 1, 2, 3
    numbers, widths = region_widths(objects, EVERYWHERE)
    assert numbers.tolist() == [1, 2, 3]
    assert (widths >= [12, 12, 1]).all()
    assert (widths <= [14, 14, 1]).all()


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), kinds=st.integers(1, 4))
def test_there_is_one_width_for_each_connected_region(seed: int, kinds: int) -> None:
    objects = np.random.default_rng(seed).integers(0, kinds + 1, (23, 31))
    numbers, widths = region_widths(objects, EVERYWHERE)
    expected = [ndimage.label(objects == number)[1] for number in range(1, kinds + 1)]
    assert np.bincount(numbers, minlength=kinds + 1)[1:].tolist() == expected
    assert (widths >= 1).all()


def test_what_a_window_shows_only_the_end_of_is_left_out() -> None:
    objects = np.zeros((40, 100), dtype=np.int32)
    objects[10:20, :8] = 1  # goes on to the left
    objects[10:20, 40:60] = 2
    numbers, _ = region_widths(objects, np.s_[:, 10:90])
    assert numbers.tolist() == [2]


@settings(deadline=None)
@given(height=st.integers(1, 9000), width=st.integers(1, 9000), scenes=st.integers(1, 64))
def test_windows_lie_inside_the_scene_and_are_few(height: int, width: int, scenes: int) -> None:
    found = list(sample_windows(height, width, scenes))
    assert 1 <= len(found) <= 9
    for window, (rows, columns) in found:
        assert 0 <= window.row_off <= window.row_off + window.height <= height
        assert 0 <= window.col_off <= window.col_off + window.width <= width
        assert max(window.height, window.width) <= 1024
        if window.row_off == 0:
            assert rows.start == 0  # the edge of the scene is no edge of what is shown
        assert rows.start < rows.stop <= window.height
        assert columns.start < columns.stop <= window.width


def test_a_small_scene_is_measured_as_a_whole() -> None:
    ((window, inner),) = sample_windows(700, 1024, scenes=1)
    assert (window.height, window.width, inner) == (700, 1024, np.s_[0:700, 0:1024])
