"""Polygons at the antimeridian and around poles: cut as RFC 7946 says, still a coverage of the same ground.

Covers ``seam``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from planar_checks import assert_coverage, maps
from pyproj import Transformer

from satseg.vectorization.regions import concatenate, coordinates
from satseg.vectorization.reproject import Reprojection
from satseg.vectorization.seam import Seam
from satseg.vectorization.table import FeatureBatch
from satseg.vectorization.trace import Tracer

CRS84 = "OGC:CRS84"
PLACES = {
    "UTM across the antimeridian": ("EPSG:32601", Affine(4000, 0, 1.2e5, 0, -4000, 6e6), 4000),
    "south polar, the pole a corner": ("EPSG:3031", Affine(25_000, 0, -500_000, 0, -25_000, 500_000), 25_000),
    "south polar, the pole in a pixel": ("EPSG:3031", Affine(25_000, 0, -512_500, 0, -25_000, 512_500), 25_000),
    "south polar, the pole on an edge": ("EPSG:3031", Affine(25_000, 0, -512_500, 0, -25_000, 500_000), 25_000),
    "south polar, the pole anywhere": ("EPSG:3031", Affine(25_000, 0, -502_345, 0, -25_000, 511_111), 25_000),
    "north polar, the pole a corner": ("EPSG:3413", Affine(25_000, 0, -500_000, 0, -25_000, 500_000), 25_000),
    "north polar, the pole in a pixel": ("EPSG:3995", Affine(25_000, 0, -512_500, 0, -25_000, 512_500), 25_000),
    "north polar, turned": ("EPSG:3995", Affine(20_000, 15_000, -500_000, 15_000, -20_000, 200_000), 25_000),
    "Web Mercator around the globe": ("EPSG:3857", Affine(1e6, 0, -20037508.342789244, 0, -1e6, 2e7), 8e5),
    "equal area around the globe": ("EPSG:6933", Affine(868376.5225, 0, -17367530.45, 0, -330000, 6.6e6), 8e5),
    "0..360": ("EPSG:4326", Affine(9, 0, 0, 0, -4.5, 90), 9e5),
    "0..360 by half a pixel": ("EPSG:4326", Affine(9, 0, -4.5, 0, -4.5, 90), 9e5),
    "170..210": ("EPSG:4326", Affine(1, 0, 170, 0, -1, 20), 1e5),
    "-200..-160": ("EPSG:4326", Affine(1, 0, -200, 0, -1, 20), 1e5),
    "Mercator around the globe, from the middle of the Pacific": (
        "EPSG:3832",
        Affine(1001875.4171394622, 0, -20037508.342789244, 0, -1e6, 2e7),
        8e5,
    ),
    "-180..180": ("EPSG:4326", Affine(9, 0, -180, 0, -4.5, 90), 9e5),
}


def traced(values: np.ndarray, transform: Affine, crs: str, **options: Any) -> FeatureBatch:
    seam = Seam(transform, crs, values.shape[::-1])
    tracer = Tracer(values.shape[1], closed=seam.is_one, **options)
    regions = seam.noded(concatenate([tracer.push(values), tracer.finish()]))
    multi = bool(options.get("diagonal"))
    return FeatureBatch(
        {}, coordinates(regions, transform), regions.rings, regions.polygons, regions.features, multi=multi
    )


def in_degrees(values: np.ndarray, place: str, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return shapely geometries in longitude and latitude, and those in the CRS of the map."""
    crs, transform, metres = PLACES[place]
    batch = traced(values, transform, crs, **options)
    there = Reprojection(crs, CRS84, pixel=abs(transform.determinant) ** 0.5, metres=metres)
    found = there.apply(batch)
    return tuple(
        shapely.from_wkb(part.to_arrow().column("geometry").to_numpy(zero_copy_only=False)) for part in (found, batch)
    )


def check(values: np.ndarray, place: str) -> None:
    found, there = in_degrees(values, place)
    if not len(found):
        return
    bounds = shapely.total_bounds(found)
    assert (np.abs(bounds) <= [180, 90, 180, 90]).all()
    parts = shapely.get_parts(found)
    assert shapely.is_valid(parts).all()
    assert shapely.is_valid(found).all()
    assert_coverage(parts)
    crs, transform, _ = PLACES[place]
    # every pixel's centre lies in the polygon of its value, and in no other one
    owners = shapely.STRtree(there).query(shapely.points(_centres(values, transform)), predicate="within")
    x, y = Transformer.from_crs(crs, CRS84, always_xy=True).transform(*_centres(values, transform).T)
    x = np.mod(x + 180, 360) - 180
    finds = shapely.STRtree(found).query(shapely.points(np.column_stack([x, y])), predicate="within")
    assert set(zip(*finds.tolist(), strict=True)) == set(zip(*owners.tolist(), strict=True))


def _centres(values: np.ndarray, transform: Affine) -> np.ndarray:
    rows, columns = np.indices(values.shape)
    # a little off, so that no centre lies on the antimeridian or on a pole
    return np.column_stack(transform * (columns.ravel() + 0.513, rows.ravel() + 0.487))


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=15, deadline=None)
@given(values=maps())
def test_any_map_becomes_a_coverage_on_one_turn_that_holds_the_same_ground(place: str, values: np.ndarray) -> None:
    check(values, place)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("classes", [1, 3])
def test_noise_all_over_too(place: str, classes: int) -> None:
    rng = np.random.default_rng(0)
    values = np.kron(rng.integers(-1, classes, (20, 20)), np.ones((2, 2), dtype=int))
    check(np.where(rng.random(values.shape) < 0.1, 0, values), place)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("diagonal", [False, True])
def test_what_is_smoothed_and_of_several_parts_too(place: str, diagonal: bool) -> None:
    rng = np.random.default_rng(0)
    for tolerance in (None, (2.0, 2.0)):
        values = np.kron(rng.integers(-1, 2, (20, 20)), np.ones((2, 2), dtype=int))
        found, _ = in_degrees(values, place, diagonal=diagonal, smooth=True, tolerance=tolerance)
        assert shapely.is_valid(found).all()
        assert_coverage(shapely.get_parts(found))


@pytest.mark.parametrize("place", PLACES)
def test_one_class_all_over_is_one_feature_of_the_same_ground(place: str) -> None:
    values = np.zeros((40, 40), dtype=int)
    check(values, place)
    values[5:35, 3:37] = 1  # around the pole, or across most of the globe
    values[10:30, 8:32] = 2
    check(values, place)
