"""The tracer: the same polygons as GDAL's, as a valid coverage, however the rows arrive.

Covers ``scan``, ``rings``, ``regions``, and ``planar``.
"""

from __future__ import annotations

import pickle
from dataclasses import fields
from typing import Any

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
from scipy.ndimage import label

from satseg.vectorization import trace as trace_module
from satseg.vectorization.regions import Regions, concatenate, to_shapely
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
    for entry in fields(Regions):
        np.testing.assert_array_equal(getattr(found, entry.name), getattr(expected, entry.name))


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
    before = len(pickle.dumps(tracer))
    for _ in range(40):
        tracer.push(values)
    assert len(pickle.dumps(tracer)) <= before + 100  # a few bytes for larger counters


def all_regions(
    values: np.ndarray, height: int = 1000, confidence: np.ndarray | None = None, **options: Any
) -> Regions:
    tracer = Tracer(values.shape[1], confidence=confidence is not None, **options)
    parts = [
        tracer.push(values[top : top + height], None if confidence is None else confidence[top : top + height])
        for top in range(0, len(values), height)
    ]
    return concatenate([*parts, tracer.finish(), *tracer.pieces()])


def numbered(values: np.ndarray, structure: np.ndarray | None) -> np.ndarray:
    """Label the regions of a map with scipy; 0 where there is none."""
    found, count = np.zeros(values.shape, dtype=np.int64), 0
    for value in np.unique(values[values >= 0]):
        labels, number = label(values == value, structure)
        found[labels > 0] = labels[labels > 0] + count
        count += number
    return found


def assert_equal(found: Regions, expected: Regions) -> None:
    for entry in fields(Regions):
        np.testing.assert_array_equal(getattr(found, entry.name), getattr(expected, entry.name))


@settings(max_examples=60, deadline=None)
@given(maps(), st.sampled_from([None, 1.0, 3.0]), st.integers(1, 9))
def test_eight_connected_features_are_those_of_scipy(values: np.ndarray, tolerance: float | None, height: int) -> None:
    both = (tolerance, tolerance) if tolerance else None
    regions = all_regions(values, diagonal=True, tolerance=both)
    assert_equal(all_regions(values, height, diagonal=True, tolerance=both), regions)
    expected = numbered(values, np.ones((3, 3)))
    assert sorted(regions.pixels) == sorted(np.bincount(expected[expected > 0])[1:])
    assert len(regions) == expected.max()
    features = to_shapely(regions, NORTH_UP, multi=True)
    assert shapely.is_valid(features).all()
    if tolerance is None:
        where = burnt(features, np.arange(len(features)), values.shape, NORTH_UP)
        pairs = set(zip(where[values >= 0].tolist(), expected[values >= 0].tolist(), strict=True))
        assert len(pairs) == len(features)  # one to one
    parts = shapely.get_parts(features)
    assert_coverage(parts)
    polygons = to_shapely(all_regions(values, tolerance=both), NORTH_UP)
    assert {part.wkb for part in shapely.normalize(parts)} == {one.wkb for one in shapely.normalize(polygons)}


@settings(max_examples=60, deadline=None)
@given(maps(), st.integers(0, 2**32), st.booleans())
def test_confidence_is_that_of_all_pixels_of_a_feature(values: np.ndarray, seed: int, diagonal: bool) -> None:
    confidence = np.random.default_rng(seed).integers(200, 256, values.shape).astype(np.uint8)
    regions = all_regions(values, 7, confidence, diagonal=diagonal)
    features = to_shapely(regions, NORTH_UP, multi=True)
    where = burnt(features, np.arange(len(features)), values.shape, NORTH_UP)
    for i, found in enumerate(regions.confidence):
        own = np.sort(confidence[(where == i) & (confidence < 255)]) / 254
        if not len(own):
            assert np.isnan(found).all()
            continue
        expected = [own.mean(), own[0], own[max(0, -(-len(own) // 20) - 1)]]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    maps(), st.sampled_from([1, 4, 20]), st.sampled_from([2, 5, 16]), st.booleans(), st.booleans(), st.integers(1, 9)
)
def test_pieces_of_giants_fit_and_know_each_other(
    values: np.ndarray, limit: int, cell: int, diagonal: bool, simple: bool, height: int
) -> None:
    options = {"diagonal": diagonal, "tolerance": (1.0, 1.0) if simple else None, "max_vertices": limit}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace_module, "CELL", cell)
        found = all_regions(values, **options)
        assert_equal(all_regions(values, height, **options), found)
    features = to_shapely(found, NORTH_UP, multi=True)
    assert shapely.is_valid(features).all()
    assert_coverage(shapely.get_parts(features))
    assert found.pixels.sum() == (values >= 0).sum()
    if simple:
        return
    expected = numbered(values, np.ones((3, 3)) if diagonal else None)
    where = burnt(features, np.arange(len(features)), values.shape, NORTH_UP)
    for family in np.unique(found.families[found.families > 0]):
        inside = np.isin(where, np.flatnonzero(found.families == family))
        (number,) = np.unique(expected[inside])
        assert (inside == (expected == number)).all()


def vertices(regions: Regions) -> np.ndarray:
    """Return the number of vertices of each feature, the one at which a ring closes once."""
    rings = regions.polygons[regions.features]
    return np.diff(regions.rings[rings] - rings)


@settings(max_examples=100, deadline=None)
@given(maps(), st.sampled_from([1, 4, 20, 60]), st.sampled_from([2, 5, 16]), st.booleans(), st.booleans())
def test_what_is_larger_than_the_limit_is_cut_at_the_next_row_of_the_lattice_and_nothing_else(
    values: np.ndarray, limit: int, cell: int, diagonal: bool, smooth: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace_module, "CELL", cell)
        found = all_regions(values, diagonal=diagonal, smooth=smooth, max_vertices=limit)
    whole = all_regions(values, diagonal=diagonal)
    assert vertices(found).max(initial=0) <= limit + (3 if smooth else 1) * 2 * (cell + 1) * (values.shape[1] + 1)
    cut = len(np.unique(found.families[found.families > 0]))
    assert cut <= (vertices(whole) > limit // (3 if smooth else 1)).sum()


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("value", [1, 2**31 - 1])
def test_a_giant_is_cut_into_pieces_of_bounded_size(value: int, diagonal: bool) -> None:
    values = (np.arange(60) % 3 > 0) * (np.arange(2000) % 2)[:, None]
    values[:, ::3] = 1  # ribs that hang on one another
    values *= value
    options = {"diagonal": diagonal}
    whole, pieces = all_regions(values, **options), all_regions(values, max_vertices=5000, **options)
    assert vertices(whole).max() > 50_000
    assert vertices(pieces).max() <= 5000 + 2 * 129 * 61
    assert len(np.unique(pieces.families)) == 2


def test_slots_that_were_joined_into_others_count() -> None:
    values = np.zeros((900, 64), dtype=int)
    values[::2, 1:-1:4] = 1  # pits between which the region begins again and again
    values[1::2, 3:-1:4] = 1
    pieces = all_regions(values, max_vertices=2000)
    assert vertices(all_regions(values)).max() > 40_000
    assert vertices(pieces).max() <= 2000 + 2 * 129 * 65


def test_a_checkerboard_of_two_features_is_cut() -> None:
    values = np.indices((700, 50)).sum(axis=0) % 2
    pieces = all_regions(values, diagonal=True, max_vertices=3000)
    assert vertices(all_regions(values, diagonal=True)).max() > 60_000
    assert vertices(pieces).max() <= 3000 + 2 * 129 * 51
    assert np.unique(pieces.families).tolist() == [1, 2]
