"""Areas on the ground."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import shapely
from pyproj import Geod

from satseg.geo.ground_area import ground_areas


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32632", "EPSG:3035", "EPSG:2263"])
def test_areas_are_those_on_the_ellipsoid_in_any_crs(crs: str) -> None:
    lon, lat = (-74.0, 40.7) if crs == "EPSG:2263" else (10.0, 56.0)
    shapes = [shapely.box(lon + i / 100, lat, lon + i / 100 + 0.002, lat + 0.001 * (i + 1)) for i in range(3)]
    shapes[1] = shapes[1].difference(shapely.box(lon + 0.0105, lat + 0.0005, lon + 0.0115, lat + 0.001))
    expected = [abs(Geod(ellps="GRS80").geometry_area_perimeter(shape)[0]) for shape in shapes]
    moved = geopandas.GeoSeries(shapes, crs="EPSG:4326").to_crs(crs).to_numpy()
    assert ground_areas(moved, crs) == pytest.approx(expected, rel=1e-4)


def test_what_is_no_polygon_has_no_area_and_without_a_crs_nobody_knows() -> None:
    shapes = np.array([None, shapely.Point(9, 50), shapely.Polygon(), shapely.box(9, 50, 9.001, 50.001)])
    assert (ground_areas(shapes, "EPSG:4326")[:3] == 0).all()
    assert ground_areas(shapes, "EPSG:4326")[3] > 0
    assert np.isnan(ground_areas(shapes, None)).all()
