"""The tracer: the same polygons as GDAL's, as a valid coverage, however the rows arrive."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from planar_checks import (
    NORTH_UP,
    as_set,
    assert_coverage,
    burnt,
    maps,
    traced_by_gdal,
)

from satseg.vectorization.regions import concatenate
from satseg.vectorization.trace import Tracer, trace

DIRECTED = {
    "one pixel": [[0]],
    "one column": [[0], [1], [1], [-1], [0]],
    "checkerboard": [[0, 1, 0], [1, 0, 1], [0, 1, 0]],
    "pinch outside": [[1, 1, 1], [1, 0, 1], [1, 1, 0]],
    "pinch inside": [[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]],
    "pinches in a chain": np.where(np.eye(7, dtype=bool), 0, 1)[:, ::-1],
    "hole in a hole": np.pad(np.pad(np.pad([[1]], 1), 1, constant_values=1), 1),
    "junction on a straight line": [[0, 0], [1, 2]],
    "four regions at a corner": [[0, 1], [2, 3]],
    "hole that touches a hole": [[1, 1, 1, 1, 1], [1, 0, 1, 2, 1], [1, 1, 0, 1, 1], [1, 2, 1, 0, 1], [1, 1, 1, 1, 1]],
    "comb": [[1, 0, 1, 0, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]],
    "spiral": [[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]],
    "nodata all over": [[-1, -1], [-1, -1]],
}


@pytest.mark.parametrize("name", DIRECTED)
def test_awkward_maps_equal_those_of_gdal(name: str) -> None:
    values = np.array(DIRECTED[name])
    polygons, found = trace(values, NORTH_UP)
    assert as_set(polygons, found) == as_set(*traced_by_gdal(values, NORTH_UP))
    if len(polygons):
        assert_coverage(polygons)


@settings(max_examples=250, deadline=None)
@given(maps())
def test_any_map_equals_that_of_gdal_and_is_a_valid_coverage(values: np.ndarray) -> None:
    polygons, found = trace(values, NORTH_UP)
    assert as_set(polygons, found) == as_set(*traced_by_gdal(values, NORTH_UP))
    assert_coverage(polygons)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@given(maps())
def test_thousands_of_maps_equal_those_of_gdal(values: np.ndarray) -> None:
    polygons, found = trace(values, NORTH_UP)
    assert as_set(polygons, found) == as_set(*traced_by_gdal(values, NORTH_UP))
    assert_coverage(polygons)


@settings(max_examples=60, deadline=None)
@given(maps(), st.integers(1, 9))
def test_strips_of_any_height_give_the_same_arrays(values: np.ndarray, height: int) -> None:
    whole, parts = Tracer(values.shape[1]), Tracer(values.shape[1])
    expected = concatenate([whole.push(values), whole.finish()])
    strips = [parts.push(values[top : top + height]) for top in range(0, len(values), height)]
    found = concatenate([*strips, parts.finish()])
    for name in ("corners", "rings", "polygons", "values", "pixels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@settings(max_examples=60, deadline=None)
@given(maps())
def test_pixels_add_up_and_burn_back_to_the_map(values: np.ndarray) -> None:
    tracer = Tracer(values.shape[1])
    regions = concatenate([tracer.push(values), tracer.finish()])
    polygons, found = trace(values, NORTH_UP)
    np.testing.assert_array_equal(shapely.area(polygons), regions.pixels * 0.25)
    assert regions.pixels.sum() == (values >= 0).sum()
    np.testing.assert_array_equal(burnt(polygons, found, values.shape, NORTH_UP), values)


@pytest.mark.parametrize(
    "transform",
    [Affine(0.5, 0, 10, 0, 0.5, 20), Affine(0.3, 0.4, 10, 0.4, -0.3, 20), Affine(-1, 0, 0, 0, -1, 0)],
    ids=["south up", "rotated", "turned about"],
)
def test_outer_rings_run_counterclockwise_under_any_transform(transform: Affine) -> None:
    polygons, values = trace(np.pad(np.pad([[1]], 1), 1, constant_values=2), transform)
    assert as_set(polygons, values) == as_set(
        *traced_by_gdal(np.pad(np.pad([[1]], 1), 1, constant_values=2), transform)
    )
    assert all(polygon.exterior.is_ccw for polygon in polygons)
    assert not any(ring.is_ccw for polygon in polygons for ring in polygon.interiors)


def test_tables_do_not_grow_with_the_number_of_rows() -> None:
    values = np.random.default_rng(0).integers(0, 4, (64, 50))
    tracer = Tracer(50)
    for _ in range(3):
        tracer.push(values)
    before = len(tracer._state.vertices), len(tracer._state.regions)
    for _ in range(40):
        tracer.push(values)
    assert (len(tracer._state.vertices), len(tracer._state.regions)) == before
