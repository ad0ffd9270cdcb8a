"""CRS: names only where they are exact, units, and what relates to the ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS, Geod, Transformer
from rasterio.enums import WktVersion

from satseg.errors import UsageError
from satseg.geo.crs import (
    full_turn,
    geodesic,
    identify_crs,
    is_local,
    metres_per_unit,
    prime_meridian,
    require_map_crs,
    same_crs,
)
from satseg.geo.grid import ground_sampling_distance
from satseg.raster.scene import Scene
from tests.scene_files import numbered, write_scene

_UNDEFINED = 'LOCAL_CS["Undefined Cartesian SRS",UNIT["Meter",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
_LOCAL = 'LOCAL_CS["Local Coordinates (m)",UNIT["metre",1]]'


def _shifted(code: int, shift: str) -> str:
    """Return the WKT of a CRS with a datum shift of its own."""
    wkt = CRS.from_epsg(code).to_wkt("WKT1_GDAL")
    end = wkt.index("]]", wkt.index("SPHEROID")) + 2
    return f"{wkt[:end]},TOWGS84[{shift}]{wkt[end:]}"


@pytest.mark.parametrize("code", [4326, 32633, 31468, 2154, 2263, 27572, 4807, 5514, 3067, 7415, 2193])
def test_a_definition_that_is_an_authoritys_is_called_by_its_code(code: int) -> None:
    in_gdal = rasterio.CRS.from_epsg(code)

    assert identify_crs(in_gdal.to_wkt()) == f"EPSG:{code}"
    assert identify_crs(in_gdal.to_wkt(version=WktVersion.WKT2_2019)) == f"EPSG:{code}"


@pytest.mark.parametrize("code", [31468, 28405])
def test_the_order_of_axes_does_not_matter(code: int) -> None:
    name = identify_crs(CRS.from_epsg(code).to_wkt("WKT1_ESRI"))  # always easting first

    assert same_crs(name, f"EPSG:{code}")


def test_a_datum_shift_of_its_own_is_kept() -> None:
    name = identify_crs(_shifted(31468, "1598.1,73.7,1418.2,0.202,0.045,-2.455,6.7"))

    assert name is not None
    here, there = (
        Transformer.from_crs(crs, 4326, always_xy=True).transform(4468000, 5333000) for crs in (name, "EPSG:31468")
    )
    assert Geod(ellps="WGS84").inv(*here, *there)[2] > 200
    assert not same_crs(name, "EPSG:31468")


@pytest.mark.parametrize(
    "definition", ["+proj=utm +zone=33 +ellps=intl +units=m", "+proj=utm +zone=33 +ellps=bessel +units=m"]
)
def test_another_datum_of_much_the_same_projection_keeps_its_definition(definition: str) -> None:
    name = identify_crs(definition)

    assert name is not None
    assert not name.startswith("EPSG")
    assert CRS(name) == CRS(definition)


def test_a_scene_keeps_the_datum_shift_of_its_file(tmp_path: Path) -> None:
    crs = rasterio.CRS.from_wkt(_shifted(31468, "1598.1,73.7,1418.2,0.202,0.045,-2.455,6.7"))
    transform = Affine(2, 0, 4468000, 0, -2, 5333000)

    with Scene.open(write_scene(tmp_path / "scene.tif", numbered(1, 4, 4), crs=crs, transform=transform)) as scene:
        assert scene.info.crs is not None
        assert CRS(scene.info.crs).is_bound
        assert scene.info.gsd == pytest.approx((2, 2), rel=1e-3)


def test_undefined_is_no_crs_and_local_is_local() -> None:
    assert identify_crs(_UNDEFINED) is None
    assert is_local(identify_crs(_LOCAL))
    assert not is_local("EPSG:32633")
    assert not is_local(None)


@pytest.mark.parametrize("name", ["EPSG:4978", "EPSG:5773", _LOCAL])
def test_polygons_are_only_put_where_they_have_a_place(name: str) -> None:
    with pytest.raises(UsageError, match="Polygons cannot be written in") as caught:
        require_map_crs(name)
    assert caught.value.hint


def test_units_are_those_of_the_crs() -> None:
    assert prime_meridian("EPSG:27572") == pytest.approx(2.33722917)  # Paris, stated in grads
    assert prime_meridian("EPSG:5330") == pytest.approx(106.8077194)  # Jakarta, in degrees
    assert prime_meridian("EPSG:32633") == 0
    assert full_turn("EPSG:4326") == 360
    assert full_turn("EPSG:4807") == 400  # grads
    assert metres_per_unit("EPSG:2263") == pytest.approx(1200 / 3937)  # feet of the US survey
    assert metres_per_unit("EPSG:4326") == pytest.approx(111_195, rel=1e-4)
    assert metres_per_unit("EPSG:4807") == pytest.approx(0.9 * 111_195, rel=1e-4)


@pytest.mark.parametrize(
    ("crs", "centre", "unit", "expected"),
    [
        ("EPSG:27572", (600000, 2428000), 0.5, 0.5),  # Lambert of Paris: metres, its degrees are grads
        ("EPSG:32631", (452000, 5412000), 0.5, 0.5),
        ("EPSG:2263", (990000, 212000), 1.0, 1200 / 3937),
    ],
)
def test_pixels_have_their_size_on_the_ground(
    crs: str, centre: tuple[float, float], unit: float, expected: float
) -> None:
    found = ground_sampling_distance(crs, Affine(unit, 0, centre[0], 0, -unit, centre[1]), 10, 10)

    assert found == pytest.approx((expected, expected), rel=1e-3)


def test_grads_from_paris_are_converted() -> None:
    lon, lat = geodesic("EPSG:4807")[0].transform(np.array([2.0]), np.array([54.0]))
    found = ground_sampling_distance("EPSG:4807", Affine(1e-5, 0, 0, 0, -1e-5, 54.0), 10, 10)

    assert (lon[0], lat[0]) == pytest.approx((1.8, 48.6))
    assert found is not None
    assert found[1] == pytest.approx(0.9 * 111_190 * 1e-5, rel=2e-3)
    assert found[0] == pytest.approx(found[1] * np.cos(np.radians(48.6)), rel=6e-3)
