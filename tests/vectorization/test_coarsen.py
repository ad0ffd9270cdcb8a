"""Vertices are dropped from polygons, which stay a coverage."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from planar_checks import assert_coverage

from satseg.vectorization.coarsen import coarsened
from satseg.vectorization.regions import concatenate, to_shapely
from satseg.vectorization.trace import Tracer


def polygons_of(values: np.ndarray) -> np.ndarray:
    tracer = Tracer(values.shape[1])
    return to_shapely(concatenate([tracer.push(values), tracer.finish()]), Affine.identity())


def test_neighbours_keep_a_common_boundary_with_few_vertices() -> None:
    values = np.where(np.indices((40, 40))[1] > np.indices((40, 40))[0], 1, 0)  # parted by a staircase
    polygons = polygons_of(values)
    found = coarsened(polygons, shapely.get_coordinates(polygons), 1)
    assert_coverage(found)
    assert shapely.get_num_coordinates(found).tolist() == [4, 4]


def test_what_must_not_move_goes_only_where_the_outline_is_straight() -> None:
    polygon = shapely.Polygon([(0, 0), (5, 0), (10, 0), (10, 9.9), (5, 10), (0, 10)])
    (found,) = coarsened(np.array([polygon]), np.empty((0, 2)), 1)
    assert shapely.get_coordinates(found).tolist() == [[0, 0], [10, 0], [10, 9.9], [5, 10], [0, 10], [0, 0]]


def test_neither_a_small_polygon_nor_a_gap_vanishes() -> None:
    small = shapely.Polygon([(4, 0), (5, 0.2), (6, 0)])
    large = shapely.Polygon([(0, 0), (0, -9), (9, -9), (9, 0), (6, 0), (5, -0.2), (4, 0)])
    polygons = np.array([small, large])
    found = coarsened(polygons, shapely.get_coordinates(polygons), 1)
    assert_coverage(found)
    assert shapely.area(found).tolist() == pytest.approx(shapely.area(polygons).tolist())


def test_an_outline_does_not_cross_a_polygon_nearby() -> None:
    outer = shapely.Polygon([(0, 0), (10, 0), (10, 10), (6, 10), (5, 9), (4, 10), (0, 10)])
    near = shapely.Polygon([(4.9, 9.5), (5.1, 9.5), (5, 9.2)])
    polygons = np.array([outer, near])
    found = coarsened(polygons, shapely.get_coordinates(polygons), 3)
    assert_coverage(found)
    assert not shapely.intersects(*found)


@pytest.mark.parametrize("seed", range(10))
def test_random_maps_stay_a_coverage_near_what_they_were(seed: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.integers(-1, 3, (6, 6)), np.ones((5, 5), dtype=int))
    polygons = polygons_of(np.where(rng.random(blocks.shape) < 0.1, rng.integers(-1, 3, blocks.shape), blocks))
    for tolerance in (0.5, 1, 4):
        found = coarsened(polygons, shapely.get_coordinates(polygons), tolerance)
        assert_coverage(found)
        assert (shapely.area(found) > 0).all()
        assert (shapely.get_num_coordinates(found) <= shapely.get_num_coordinates(polygons)).all()
        assert shapely.hausdorff_distance(shapely.boundary(polygons), shapely.boundary(found)).max() <= tolerance
