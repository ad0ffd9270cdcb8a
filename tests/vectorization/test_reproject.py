"""Reprojected polygons: the same ground, still a coverage.

Covers ``densify`` and ``graticule``.
"""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from planar_checks import assert_coverage
from pyproj import Transformer

from satseg.errors import OutputError, UsageError
from satseg.geo.crs import same_crs
from satseg.vectorization.antimeridian import snapped
from satseg.vectorization.regions import concatenate, coordinates
from satseg.vectorization.reproject import Reprojection
from satseg.vectorization.table import FeatureBatch
from satseg.vectorization.trace import Tracer


def traced(values: np.ndarray, transform: Affine) -> FeatureBatch:
    tracer = Tracer(values.shape[1])
    regions = concatenate([tracer.push(values), tracer.finish()])
    return FeatureBatch(
        {}, coordinates(regions, transform), regions.rings, regions.polygons, regions.features, multi=False
    )


def polygons(batch: FeatureBatch) -> np.ndarray:
    return shapely.from_wkb(batch.to_arrow().column("geometry").to_numpy(zero_copy_only=False))


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:3035"])
def test_a_scene_as_wide_as_a_zone_stays_a_coverage(crs: str) -> None:
    values = np.zeros((400, 600), dtype=int)
    values[199:201, 1:599] = 1  # long edges, which bend by more than a pixel over the whole width
    values[::19, ::23] = 2
    there = Reprojection("EPSG:32632", crs, pixel=1000, metres=1000)
    batch = traced(values, Affine(1000, 0, 2e5, 0, -1000, 6e6))
    found = polygons(there.apply(batch))
    assert_coverage(found)
    assert shapely.get_num_coordinates(found).sum() > len(batch.points)
    x, y = Transformer.from_crs("EPSG:32632", crs, always_xy=True).transform(*batch.points.T)
    x = snapped(x, 360, within=0) if crs == "EPSG:4326" else x
    expected = set(zip(x.tolist(), y.tolist(), strict=True))
    assert expected <= set(map(tuple, shapely.get_coordinates(found).tolist()))


def test_edges_beyond_the_limit_bend_with_the_ground() -> None:
    square = traced(np.zeros((500, 500), dtype=int), Affine(1000, 0, 2e5, 0, -1000, 6e6))
    back = Transformer.from_crs("EPSG:4326", "EPSG:32632", always_xy=True)
    (found,) = polygons(Reprojection("EPSG:32632", "EPSG:4326", pixel=1000, metres=1000).apply(square))
    outline = shapely.transform(shapely.segmentize(found, 0.01), lambda xy: np.column_stack(back.transform(*xy.T)))
    (expected,) = polygons(square)
    assert shapely.hausdorff_distance(outline.exterior, expected.exterior) < 50  # metres, a twentieth of a pixel


def test_crs_are_compared_by_what_they_are() -> None:
    assert same_crs("EPSG:4326", "epsg:4326")
    assert same_crs(None, None)
    assert not same_crs("EPSG:4326", None)
    assert not same_crs("EPSG:4326", "EPSG:32632")


def test_what_is_no_crs_and_what_has_none_is_said() -> None:
    with pytest.raises(UsageError, match="PROJ does not know the CRS 'EPSG:0'"):
        Reprojection("EPSG:32632", "EPSG:0", pixel=1, metres=1)
    far = traced(np.zeros((2, 2), dtype=int), Affine(1, 0, 0, 0, -1, 95))
    with pytest.raises(OutputError, match="EPSG:3857 is not defined in a part of the map"):
        Reprojection("EPSG:4326", "EPSG:3857", pixel=1, metres=1e5).apply(far)
