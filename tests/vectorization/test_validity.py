"""Outlines made valid where rounding has folded them over."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import shapely
from affine import Affine
from planar_checks import assert_coverage
from scipy.ndimage import gaussian_filter

from satseg.vectorization.regions import concatenate, coordinates, to_shapely
from satseg.vectorization.regularize import regularized
from satseg.vectorization.table import FeatureBatch
from satseg.vectorization.trace import Tracer
from satseg.vectorization.validity import make_valid

GROUNDS = {
    "metres": (Affine(0.1, 0, 654_321.7, 0, -0.1, 5_876_543.3), 1e-4),
    "degrees": (Affine(1e-6, 0, -122.4194, 0, -1e-6, 37.7749), 1e-9),
}


def batch_of(shapes: list[shapely.Polygon]) -> FeatureBatch:
    _, points, (rings, polygons) = shapely.to_ragged_array(shapes)
    columns = {"pixels": pa.array(range(len(shapes)), pa.int64())}
    return FeatureBatch(columns, points, rings, polygons, np.arange(len(shapes) + 1), multi=False)


def geometries(batch: FeatureBatch) -> np.ndarray:
    return shapely.from_wkb(batch.to_arrow().column("geometry").to_numpy(zero_copy_only=False))


def test_what_is_valid_stays_and_what_holds_nothing_goes() -> None:
    square, bow = shapely.box(0, 0, 4, 4), shapely.Polygon([(10, 0), (20, 10), (20, 0), (12, 8)])
    spike = shapely.Polygon([(30, 0), (34, 0), (34, 4), (34, 9), (34, 4), (30, 4)])
    flat = shapely.Polygon([(40, 0), (44, 0), (42, 0)])
    found, kept = make_valid(batch_of([square, bow, spike, flat]))
    assert kept.tolist() == [True, True, True, False]
    assert found.columns["pixels"].to_pylist() == [0, 1, 2]
    shapes = geometries(found)
    assert shapes[0].equals(square)
    assert shapes[1].is_valid
    assert shapes[2].equals(shapely.box(30, 0, 34, 4))
    assert all(shape.exterior.is_ccw for shape in shapes)


def test_what_rounding_would_fold_over_is_valid_as_it_is_written() -> None:
    thin = shapely.Polygon([(0, 0), (10, 0), (10, 10), (5.00001, 0.0004), (0, 10)])
    found, kept = make_valid(batch_of([thin]), grid=1e-3)
    (shape,) = geometries(found)
    assert kept.all()
    assert shape.is_valid
    np.testing.assert_array_equal(shapely.get_coordinates(shape), np.round(shapely.get_coordinates(shape), 3))


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("seed", [24, 59, 136])
def test_regularized_outlines_are_a_coverage_far_from_the_origin(ground: str, seed: int) -> None:
    transform, step = GROUNDS[ground]
    values = (gaussian_filter(np.random.default_rng(seed).standard_normal((40, 40)), 1) > 0).astype(int) - 1
    tracer = Tracer(40)
    found = regularized([concatenate([tracer.push(values), tracer.finish()])], (3.0, 3.0))
    written = to_shapely(found, transform)
    assert_coverage(written)
    points = coordinates(found, transform)
    batch = FeatureBatch(
        {"pixels": pa.array(found.pixels)}, points, found.rings, found.polygons, found.features, multi=False
    )
    for grid in (0.0, step):
        valid, kept = make_valid(batch, grid=grid)
        shapes = geometries(valid)
        assert_coverage(shapes)
        assert kept.all()
        np.testing.assert_allclose(shapely.area(shapes), shapely.area(written), rtol=1e-3)
