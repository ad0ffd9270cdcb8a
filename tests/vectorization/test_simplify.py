"""Simplified maps stay maps: valid, no gap, no overlap, near the pixels, the same in strips of any height.

Covers ``smooth``.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from planar_checks import assert_coverage, maps

from satseg.vectorization import trace as trace_module
from satseg.vectorization.regions import concatenate
from satseg.vectorization.trace import Tracer, trace

PIXELS = Affine(1, 0, 0, 0, -1, 0)
tolerances = st.sampled_from([0.3, 0.75, 1.0, 1.5, 3.0, 10.0])
cells = st.sampled_from([2, 3, 5, 16, 128])


def check(values: np.ndarray, tolerance: float, cell: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace_module, "CELL", cell)
        polygons, found = trace(values, PIXELS, tolerance=(tolerance, tolerance))
    exact, expected = trace(values, PIXELS)
    assert sorted(found) == sorted(expected)
    assert_coverage(polygons)
    assert (shapely.area(polygons) > 0).all()
    if len(polygons):
        along = shapely.points(shapely.get_coordinates(shapely.segmentize(polygons, 0.25)))
        edges = shapely.STRtree(shapely.get_parts(shapely.boundary(exact)))
        assert edges.query_nearest(along, return_distance=True)[1].max() <= tolerance + 1e-9
    if (values >= 0).all():  # no gap opens between the regions of a full map
        whole = shapely.coverage_union_all(polygons)
        assert shapely.get_num_geometries(whole) == 1
        assert shapely.get_num_interior_rings(shapely.get_geometry(whole, 0)) == 0


@settings(max_examples=250, deadline=None)
@given(maps(), tolerances, cells)
def test_any_map_stays_a_valid_coverage_near_its_pixels(values: np.ndarray, tolerance: float, cell: int) -> None:
    check(values, tolerance, cell)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@given(maps(), tolerances, cells)
def test_thousands_of_maps_stay_valid_coverages(values: np.ndarray, tolerance: float, cell: int) -> None:
    check(values, tolerance, cell)


@settings(max_examples=60, deadline=None)
@given(maps(), tolerances, cells, st.integers(1, 9))
def test_strips_of_any_height_give_the_same_arrays(
    values: np.ndarray, tolerance: float, cell: int, height: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace_module, "CELL", cell)
        whole, parts = (Tracer(values.shape[1], tolerance=(tolerance, tolerance)) for _ in range(2))
        expected = concatenate([whole.push(values), whole.finish()])
        strips = [parts.push(values[top : top + height]) for top in range(0, len(values), height)]
        found = concatenate([*strips, parts.finish()])
    for name in ("corners", "rings", "polygons", "values", "pixels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@settings(max_examples=60, deadline=None)
@given(maps(), cells)
def test_pixel_counts_are_those_of_the_map_not_of_the_outline(values: np.ndarray, cell: int) -> None:
    tracer = Tracer(values.shape[1], tolerance=(1.0, 1.0))
    regions = concatenate([tracer.push(values), tracer.finish()])
    present, counts = np.unique(values[values >= 0], return_counts=True)
    assert [regions.pixels[regions.values == value].sum() for value in present] == counts.tolist()


@settings(max_examples=80, deadline=None)
@given(maps(), st.sampled_from([None, 0.5, 1.0, 3.0, 10.0]), cells)
def test_smoothed_maps_stay_valid_coverages(values: np.ndarray, tolerance: float | None, cell: int) -> None:
    check_smooth(values, tolerance, cell)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@given(maps(), st.sampled_from([None, 0.5, 1.0, 3.0, 10.0]), cells)
def test_thousands_of_smoothed_maps_stay_valid_coverages(
    values: np.ndarray, tolerance: float | None, cell: int
) -> None:
    check_smooth(values, tolerance, cell)


def check_smooth(values: np.ndarray, tolerance: float | None, cell: int) -> None:
    both = (tolerance, tolerance) if tolerance else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace_module, "CELL", cell)
        polygons, found = trace(values, PIXELS, tolerance=both, smooth=True)
        rough, expected = trace(values, PIXELS, tolerance=both)
    assert sorted(found) == sorted(expected)
    assert_coverage(polygons)
    assert (shapely.area(polygons) > 0).all()
    edges = shapely.STRtree(shapely.get_parts(shapely.boundary(rough)))
    points = shapely.points(shapely.get_coordinates(polygons)) if len(polygons) else []
    assert not len(points) or edges.query_nearest(points, return_distance=True)[1].max() <= (tolerance or 0.5)


def disc(side: int) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side] - side / 2 + 0.5
    return (rows**2 + columns**2 < (0.4 * side) ** 2).astype(np.int32)


def test_a_disc_keeps_its_area_with_few_vertices() -> None:
    exact, _ = trace(disc(200), PIXELS)
    simple, values = trace(disc(200), PIXELS, tolerance=(1.0, 1.0))
    inside = values == 1
    assert shapely.get_num_coordinates(simple[inside]).sum() < 0.15 * shapely.get_num_coordinates(exact).min()
    assert shapely.area(simple[inside]).sum() == pytest.approx(shapely.area(exact).min(), rel=0.02)


def test_tolerance_may_differ_along_rows_and_columns() -> None:
    bump = np.zeros((20, 40), dtype=np.int32)
    bump[10:, :], bump[8:10, 15:25] = 1, 1
    low, _ = trace(bump, PIXELS, tolerance=(1.0, 1.0))
    high, _ = trace(bump, PIXELS, tolerance=(1.0, 3.0))
    assert shapely.get_num_coordinates(high).sum() < shapely.get_num_coordinates(low).sum()


def test_tables_do_not_grow_along_a_river_as_long_as_the_scene() -> None:
    walk = np.cumsum(np.random.default_rng(0).integers(-1, 2, 4000))
    bank = 5 + np.abs((walk + 25) % 100 - 50)  # turned back at both edges
    river = (np.abs(np.arange(60) - bank[:, None]) < 3).astype(np.int32) - 1
    simplified, exact = Tracer(60, tolerance=(1.0, 1.0)), Tracer(60)
    for top in range(0, 4000, 100):
        simplified.push(river[top : top + 100])
        exact.push(river[top : top + 100])
    assert len(pickle.dumps(simplified)) <= 0.6 * len(pickle.dumps(exact))


def test_a_smooth_disc_is_round() -> None:
    (exact, _), (rounded, values) = (trace(disc(60), PIXELS, smooth=smooth) for smooth in (False, True))
    assert shapely.length(exact).min() == pytest.approx(8 * 24, rel=0.03)  # as long as the square around it
    assert 2 * np.pi * 24 < shapely.length(rounded[values == 1])[0] < 0.9 * shapely.length(exact).min()
    assert shapely.area(rounded[values == 1])[0] == pytest.approx(np.pi * 24**2, rel=0.01)
