"""Right-angled outlines: near the buildings, with few vertices, valid and without overlaps."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.features import rasterize

from satseg.vectorization.regions import concatenate, to_shapely
from satseg.vectorization.regularize import regularize, regularized, without_overlaps
from satseg.vectorization.trace import Tracer, trace

PIXELS = Affine.identity()
SHAPES = {
    "rectangle": shapely.box(30, 30, 70, 90),
    "L": shapely.Polygon([(30, 30), (90, 30), (90, 50), (50, 50), (50, 90), (30, 90)]),
    "court": shapely.difference(shapely.box(25, 25, 95, 95), shapely.box(45, 45, 75, 75)),
}


def traced(building: shapely.Polygon) -> np.ndarray:
    return trace(rasterize([building], out_shape=(120, 120)).astype(np.int32) - 1, PIXELS)[0]


@pytest.mark.parametrize("angle", [0, 17, 45, 80])
@pytest.mark.parametrize("name", SHAPES)
def test_turned_buildings_get_their_corners_back(name: str, angle: float) -> None:
    building = shapely.affinity.rotate(SHAPES[name], angle, origin=(60, 60))
    rough = traced(building)
    (found,) = regularize(rough, shortest=8)
    assert found.is_valid
    assert shapely.get_num_coordinates(found) == shapely.get_num_coordinates(building)
    assert shapely.intersection(found, building).area / shapely.union(found, building).area > 0.95
    for ring in (found.exterior, *found.interiors):
        steps = np.diff(shapely.get_coordinates(ring), axis=0)
        turns = (steps * np.roll(steps, 1, axis=0)).sum(axis=1)
        np.testing.assert_allclose(turns, 0, atol=1e-6)


def test_what_has_no_right_angles_keeps_its_outline() -> None:
    disc = shapely.Point(60, 60).buffer(40)
    (found,) = regularize(traced(disc), shortest=10)
    assert found.is_valid
    assert shapely.intersection(found, disc).area / shapely.union(found, disc).area > 0.75


def test_overlaps_are_cut_from_the_smaller() -> None:
    large, small, inside = shapely.box(0, 0, 10, 10), shapely.box(8, 2, 14, 6), shapely.box(1, 1, 2, 2)
    found = without_overlaps(np.array([small, large, inside]))
    assert found[1].equals(large)
    assert found[0].equals(shapely.box(10, 2, 14, 6))
    assert found[2].is_empty


def test_what_rounding_leaves_of_a_cut_polygon_is_nothing() -> None:
    large, sliver = shapely.box(0, 0, 10, 10), shapely.box(5, 2, 10 + 1e-12, 4)
    assert without_overlaps(np.array([large, sliver]))[1].is_empty


def test_features_keep_what_is_known_of_them() -> None:
    values = np.full((60, 80), -1)
    values[10:30, 10:40], values[35:55, 45:75] = 0, 0
    tracer = Tracer(80)
    regions = concatenate([tracer.push(values), tracer.finish()])
    found = regularized([regions], (4.0, 4.0))
    assert found.pixels.tolist() == regions.pixels.tolist() == [600, 600]
    for one, other in zip(to_shapely(found, PIXELS), to_shapely(regions, PIXELS), strict=True):
        assert shapely.symmetric_difference(one, other).area < 1e-6
