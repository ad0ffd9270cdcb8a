"""Covers ``work_raster``."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from pyproj import CRS, Transformer

from satseg.classes import ClassTable
from satseg.files.names import open_raster
from satseg.geo.crs import crs_of_raster, identify_crs
from satseg.mapfile.work_raster import WorkRaster
from satseg.mapfile.writer import read_class_table, write_map
from satseg.records import BandSpec, MapLayer, SceneInfo

TABLE = ClassTable.from_names(["background", "wood", "lake & shore"])
GRID = Affine(2.0, 0, 500_000, 0, -2.0, 5_000_000)


def write(
    folder: Path,
    pixels: np.ndarray,
    *,
    layer: MapLayer = MapLayer.CLASSES,
    crs: str | None = "EPSG:32632",
    transform: Affine = GRID,
    threads: int = 1,
) -> Path:
    bands, height, width = pixels.shape
    spec = BandSpec(("gray",), "uint8", (1.0,), (0.0,))
    info = SceneInfo("s.tif", width, height, spec, None, False, crs, transform, (2.0, 2.0))
    with WorkRaster(folder / "rows.raw", height=height, width=width, bands=bands) as rows:
        rows.write(0, 0, pixels)
        write_map(rows, folder / "map.tif", info, TABLE, {"SATSEG_MODEL": "m"}, layer=layer, threads=threads)
    return folder / "map.tif"


def test_the_map_is_a_cog_with_colours_names_and_origin(tmp_path: Path) -> None:
    classes = np.random.default_rng(0).choice([0, 1, 2, 255], (1, 1400, 600)).astype(np.uint8)
    with rasterio.open(write(tmp_path, classes)) as dataset:
        assert (dataset.read() == classes).all()
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.block_shapes == [(512, 512)]
        assert dataset.overviews(1)
        assert dataset.nodata == 255
        assert dataset.crs == "EPSG:32632"
        assert dataset.transform == GRID
        assert dataset.colormap(1)[1] == (*TABLE[1].rgb, 255)
        assert dataset.tags(1)["CLASS_2"] == "lake & shore"
        assert dataset.tags()["SATSEG_MODEL"] == "m"
        assert read_class_table(dataset) == TABLE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif", "map.tif.aux.xml", "rows.raw"]


def test_names_and_colours_of_classes_stand_in_the_attribute_table(tmp_path: Path) -> None:
    """QGIS from 3.30 on lists what stands there, in colours at random where there are none."""
    write(tmp_path, np.zeros((1, 40, 60), dtype=np.uint8))
    table = ElementTree.parse(tmp_path / "map.tif.aux.xml").find(".//GDALRasterAttributeTable")
    assert table is not None
    fields = [(field.findtext("Name"), field.findtext("Usage")) for field in table.iter("FieldDefn")]
    assert fields == [("Value", "5"), ("Class", "2"), ("Red", "6"), ("Green", "7"), ("Blue", "8")]
    rows = [[cell.text for cell in row.iter("F")] for row in table.iter("Row")]
    assert rows == [[str(entry.id), entry.name, *map(str, entry.rgb)] for entry in TABLE]


def test_gdal_tells_the_colours_and_categories_of_the_classes_alone(tmp_path: Path) -> None:
    """QGIS before 3.30 lists all that GDAL tells."""
    path = write(tmp_path, np.zeros((1, 40, 60), dtype=np.uint8))
    with rasterio.open(path) as dataset:
        assert dataset.colormap(1) == {entry.id: (*entry.rgb, 255) for entry in TABLE}
        rasterio.shutil.copy(dataset, tmp_path / "described.vrt", driver="VRT")
    categories = ElementTree.parse(tmp_path / "described.vrt").iter("Category")
    assert [category.text for category in categories] == list(TABLE.names)


def test_colours_stay_in_a_map_that_has_lost_its_sidecar(tmp_path: Path) -> None:
    path = write(tmp_path, np.zeros((1, 40, 60), dtype=np.uint8))
    path.with_name("map.tif.aux.xml").unlink()
    with rasterio.open(path) as dataset:
        assert {value: dataset.colormap(1)[value] for value in range(3)} == {c.id: (*c.rgb, 255) for c in TABLE}
        assert dataset.colormap(1)[255] == (0, 0, 0, 0)


def test_overviews_hold_only_classes_that_are_there(tmp_path: Path) -> None:
    classes = np.random.default_rng(0).choice([0, 2], (1, 1400, 1200)).astype(np.uint8)
    with rasterio.open(write(tmp_path, classes), overview_level=0) as dataset:
        assert set(np.unique(dataset.read(1))) <= {0, 2}


def test_overviews_halve_the_map_down_to_a_block(tmp_path: Path) -> None:
    classes = np.zeros((1, 1400, 2600), dtype=np.uint8)
    classes[:, :, 1300:] = 1
    path = write(tmp_path, classes)
    with rasterio.open(path) as dataset:
        assert dataset.overviews(1) == [2, 4, 8]
    with rasterio.open(path, overview_level=2) as dataset:
        assert dataset.shape == (175, 325)
        assert dataset.colormap(1)[1] == (*TABLE[1].rgb, 255)
        assert dataset.nodata == 255
        assert (dataset.read(1) == (np.arange(325) > 162)).all()


def test_equal_maps_have_equal_bytes_with_any_number_of_threads(tmp_path: Path) -> None:
    classes = np.random.default_rng(0).choice([0, 1, 2, 255], (1, 1400, 600)).astype(np.uint8)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    assert write(tmp_path / "one", classes).read_bytes() == write(tmp_path / "other", classes, threads=2).read_bytes()


def test_probabilities_have_a_band_for_each_class_and_a_scale(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 50, 70)).astype(np.uint8)
    with rasterio.open(write(tmp_path, pixels, layer=MapLayer.PROBABILITIES)) as dataset:
        assert (dataset.read() == pixels).all()
        assert dataset.descriptions == ("background", "wood", "lake & shore")
        assert dataset.scales == (1 / 254,) * 3
        assert dataset.nodata == 255


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (None, Affine.identity()),
        ("EPSG:4326", Affine(0.1, 0, 8, 0, -0.1, 50)),
        ("EPSG:32632", GRID * Affine.rotation(30)),
        (None, Affine(1, 0, 5, 0, 1, 7)),
    ],
)
def test_any_grid_is_kept(tmp_path: Path, crs: str | None, transform: Affine) -> None:
    with rasterio.open(write(tmp_path, np.ones((1, 33, 47), dtype=np.uint8), crs=crs, transform=transform)) as dataset:
        assert dataset.crs == crs
        assert dataset.transform.almost_equals(transform, precision=1e-9)


def test_a_crs_of_its_own_is_that_of_the_map(tmp_path: Path) -> None:
    wkt = CRS.from_epsg(31468).to_wkt("WKT1_GDAL")
    end = wkt.index("]]", wkt.index("SPHEROID")) + 2
    shifted = identify_crs(f"{wkt[:end]},TOWGS84[1598.1,73.7,1418.2,0.202,0.045,-2.455,6.7]{wkt[end:]}")
    with open_raster(write(tmp_path, np.zeros((1, 40, 60), dtype=np.uint8), crs=shifted)) as dataset:
        found = crs_of_raster(dataset)
    assert found is not None
    there, here = (
        Transformer.from_crs(code, 4326, always_xy=True).transform(4468000, 5333000) for code in (shifted, found)
    )
    np.testing.assert_allclose(here, there, rtol=0, atol=1e-7)
