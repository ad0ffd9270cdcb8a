"""Where polygons go is checked before there are any."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from affine import Affine

from satseg.errors import OutputError, UsageError
from satseg.records import BandSpec, SceneInfo
from satseg.vectorization.formats import require_transformation

_LOCAL = 'LOCAL_CS["Site",UNIT["metre",1]]'


def _scene(crs: str | None) -> SceneInfo:
    return SceneInfo(
        "scene.tif", 8, 8, BandSpec(("grey",), "uint8", (1.0,), (0.0,)), None, False, crs, Affine.scale(1, -1), None
    )


@pytest.mark.parametrize("target", [Path("a.geojson"), Path("a.GeoJSONL"), sys.stdout])
@pytest.mark.parametrize("crs", [_LOCAL, "ESRI:104905"])  # a site; Mars
def test_geojson_needs_a_place_on_earth(target: object, crs: str) -> None:
    with pytest.raises(OutputError, match="cannot transform from the CRS of the map") as caught:
        require_transformation(_scene(crs), None, [target])  # type: ignore[list-item]
    assert "GeoJSON needs longitude and latitude" in str(caught.value.hint)


def test_other_formats_take_any_crs_of_a_plane() -> None:
    for crs in (_LOCAL, "ESRI:104905", "EPSG:32633", None):
        require_transformation(_scene(crs), None, [Path("a.gpkg"), Path("a.parquet")])


def test_another_crs_is_reached_from_the_ground_only() -> None:
    require_transformation(_scene("EPSG:32633"), "EPSG:3035", [Path("a.gpkg")])
    with pytest.raises(OutputError, match="cannot transform"):
        require_transformation(_scene(_LOCAL), "EPSG:3035", [Path("a.gpkg")])
    with pytest.raises(UsageError, match="has no CRS to transform from"):
        require_transformation(_scene(None), "EPSG:3035", [Path("a.gpkg")])
