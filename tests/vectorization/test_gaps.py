"""Narrow gaps between polygons become part of one of them."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from planar_checks import assert_coverage

from satseg.vectorization.gaps import gaps_closed
from satseg.vectorization.regions import concatenate, to_shapely
from satseg.vectorization.trace import Tracer


def polygons_of(values: np.ndarray) -> np.ndarray:
    tracer = Tracer(values.shape[1])
    return to_shapely(concatenate([tracer.push(values), tracer.finish()]), Affine.identity())


def two(gap: tuple[slice, slice]) -> np.ndarray:
    """Return two polygons side by side, with a gap."""
    values = np.zeros((20, 20), dtype=int)
    values[:, 10:] = 1
    values[gap] = -1
    return polygons_of(values)


def test_a_narrow_gap_joins_the_polygon_with_the_longest_boundary() -> None:
    closed = gaps_closed(two(np.s_[5:9, 10:11]), 2)  # three sides of it are those of the right polygon
    assert closed[np.argmin(shapely.bounds(closed)[:, 0])].equals(shapely.box(0, 0, 10, 20))
    assert closed[np.argmax(shapely.bounds(closed)[:, 0])].equals(shapely.box(10, 0, 20, 20))


@pytest.mark.parametrize("gap", [np.s_[5:15, 7:13], np.s_[0:9, 10:11]], ids=["wide", "open"])
def test_gaps_that_are_wide_or_open_stay(gap: tuple[slice, slice]) -> None:
    polygons = two(gap)
    assert shapely.equals(gaps_closed(polygons, 2), polygons).all()


def test_a_gap_around_a_polygon_stays() -> None:
    values = np.zeros((12, 12), dtype=int)
    values[4:7, 4:7], values[5, 5] = -1, 1
    polygons = polygons_of(values)
    assert shapely.equals(gaps_closed(polygons, 4), polygons).all()


@pytest.mark.parametrize("seed", range(10))
def test_random_maps_stay_a_coverage_in_which_polygons_only_grow(seed: int) -> None:
    rng = np.random.default_rng(seed)
    polygons = polygons_of(np.where(rng.random((25, 25)) < 0.15, -1, rng.integers(0, 2, (25, 25))))
    for width in (1, 2, 5):
        closed = gaps_closed(polygons, width)
        assert_coverage(closed)
        assert shapely.covers(closed, polygons).all()
        left = shapely.area(shapely.coverage_union_all(closed)) - shapely.area(closed).sum()
        assert left == pytest.approx(0)


def test_there_may_be_no_gap() -> None:
    polygons = np.array([shapely.box(0, 0, 2, 2)])
    assert shapely.equals(gaps_closed(polygons, 5), polygons).all()
