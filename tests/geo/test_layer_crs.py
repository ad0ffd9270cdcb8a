"""The CRS of vector layers is that which their file defines, shifts of its own included."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from pyproj import CRS

from satseg.geo.crs import same_crs
from satseg.geo.vector_layer import VectorLayer
from satseg.raster.area import AreaOfInterest

_SUFFIXES = ["gpkg", "shp", "fgb", "parquet", "geojson", "gml"]
_SHIFT = "1598.1,73.7,1418.2,0.202,0.045,-2.455,6.7"


def _write(path: Path, crs: CRS | str) -> Path:
    frame = geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.box(4468000, 5333000, 4468100, 5333100)], crs=crs)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path)
    return path


def _shifted() -> CRS:
    wkt = CRS.from_epsg(31468).to_wkt("WKT1_GDAL")
    end = wkt.index("]]", wkt.index("SPHEROID")) + 2
    return CRS.from_wkt(f"{wkt[:end]},TOWGS84[{_SHIFT}]{wkt[end:]}")


@pytest.mark.parametrize("suffix", _SUFFIXES)
@pytest.mark.parametrize("code", [31468, 25832, 2154, 2263])
def test_plain_files_go_by_their_code(tmp_path: Path, suffix: str, code: int) -> None:
    path = _write(tmp_path / f"a.{suffix}", f"EPSG:{code}")

    assert VectorLayer.open(str(path)).crs == f"EPSG:{code}"
    assert AreaOfInterest.read(path).crs == f"EPSG:{code}"


@pytest.mark.filterwarnings("ignore:Passed SRS uses")
@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "shp"])
def test_a_datum_shift_of_the_file_is_kept(tmp_path: Path, suffix: str) -> None:
    path = _write(tmp_path / f"a.{suffix}", _shifted())
    if suffix == "shp":  # as other programs write it beside the shapes
        path.with_suffix(".prj").write_text(_shifted().to_wkt("WKT1_GDAL"))

    for crs in (VectorLayer.open(str(path)).crs, AreaOfInterest.read(path).crs):
        assert crs is not None
        assert CRS(crs).is_bound
        assert CRS(crs).coordinate_operation.towgs84 == pytest.approx([float(part) for part in _SHIFT.split(",")])
        assert not same_crs(crs, "EPSG:31468")


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "fgb", "parquet"])
def test_a_projection_much_like_an_authoritys_is_not_taken_for_it(tmp_path: Path, suffix: str) -> None:
    described = CRS.from_epsg(32633).to_json_dict()
    described["conversion"]["parameters"][3]["value"] = 501500  # false easting
    del described["id"]
    crs = CRS.from_json_dict(described)
    found = VectorLayer.open(str(_write(tmp_path / f"a.{suffix}", crs))).crs

    assert found is not None
    assert not same_crs(found, "EPSG:32633")
    assert any(p.value == 501500 for p in CRS(found).coordinate_operation.params)


@pytest.mark.parametrize("srs_id", [-1, 0])
def test_the_undefined_systems_of_geopackages_are_none(tmp_path: Path, srs_id: int) -> None:
    path = _write(tmp_path / "a.gpkg", "EPSG:32633")
    database = sqlite3.connect(path)
    database.execute("UPDATE gpkg_geometry_columns SET srs_id = ?", (srs_id,))
    database.execute("UPDATE gpkg_contents SET srs_id = ?", (srs_id,))
    database.commit()
    database.close()

    assert VectorLayer.open(str(path)).crs is None


def test_a_geopackage_that_is_read_stays_as_it_is(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.gpkg", "EPSG:32633")
    before = path.read_bytes()
    VectorLayer.open(str(path))

    assert path.read_bytes() == before
    assert np.array_equal(sorted(p.name for p in tmp_path.iterdir()), ["a.gpkg"])
