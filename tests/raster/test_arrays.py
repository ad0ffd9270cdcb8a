"""Arrays are scenes, and nothing about them is guessed."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.transform import from_origin

import satseg
from satseg.errors import UsageError

PLACE = {"transform": from_origin(5e5, 5e6, 2, 2), "crs": "EPSG:32633"}
PIXELS = np.arange(3 * 40 * 50, dtype=np.uint16).reshape(3, 40, 50)


def test_an_array_is_read_as_it_was_passed() -> None:
    source = satseg.SceneSource.from_array(PIXELS, names=["red", "green", "nir"], nodata=7, stem="north", **PLACE)
    with source.open() as scene:
        pixels, valid = scene.read(rasterio.windows.Window(0, 0, 50, 40))
        info = scene.info
    np.testing.assert_array_equal(pixels, PIXELS)
    assert (info.bands.names, info.bands.dtype, info.nodata) == (("red", "green", "nir"), "uint16", 7)
    assert (info.transform, info.crs, (info.width, info.height)) == (PLACE["transform"], "EPSG:32633", (50, 40))
    assert not valid[0, 7]
    assert source.stem == "north"


def test_its_file_goes_with_it() -> None:
    source = satseg.SceneSource.from_array(PIXELS, **PLACE)
    path, copy = Path(source.paths[0]), pickle.loads(pickle.dumps(source))
    assert copy == source
    del copy
    gc.collect()
    assert path.exists()
    del source
    gc.collect()
    assert not path.parent.exists()


@pytest.mark.parametrize("nodata", [None, 0])
def test_what_a_masked_array_masks_is_no_data(nodata: int | None) -> None:
    mask = np.zeros(PIXELS.shape, bool)
    mask[:, 3, 4] = True
    source = satseg.SceneSource.from_array(np.ma.array(PIXELS + 1, mask=mask), nodata=nodata, **PLACE)
    with source.open() as scene:
        _, valid = scene.read(rasterio.windows.Window(0, 0, 50, 40))
    assert np.argwhere(~valid).tolist() == [[3, 4]]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int32", "uint32", "float16", "float32", "float64"])
def test_types_that_rasters_lack_are_widened(dtype: str) -> None:
    source = satseg.SceneSource.from_array(np.eye(40).astype(dtype), **PLACE)
    with rasterio.open(source) as written:
        np.testing.assert_array_equal(written.read(1), np.eye(40))
        assert written.dtypes == ({"bool": "uint8", "float16": "float32"}.get(dtype, dtype),)


@pytest.mark.parametrize(
    ("array", "changes", "told"),
    [
        (PIXELS.transpose(1, 2, 0), {}, "`array` is an array of 40 x 50 x 3 uint16, that is 40 bands of 3 columns"),
        (np.zeros((512, 512, 12)), {}, "its bands seem to be last"),
        (np.zeros((4, 3, 40, 40)), {}, r"not \(bands, height, width\)"),
        (np.zeros(5), {}, r"not \(bands, height, width\)"),
        (np.zeros((0, 5, 5)), {}, r"not \(bands, height, width\)"),
        (np.zeros((40, 40), complex), {}, "holds real numbers"),
        (np.array([["a"]]), {}, "holds real numbers"),
        (PIXELS, {"crs": "EPSG:none"}, "`crs` is 'EPSG:none', which is not a CRS"),
        (PIXELS, {"transform": None}, "needs `transform` as well"),
        (PIXELS, {"transform": (5e5, 2, 0, 5e6, 0, -2)}, "not an affine.Affine"),
        (PIXELS, {"nodata": -1}, "`nodata=-1` is not a value of uint16"),
        (PIXELS, {"names": ["red"]}, "has 1 names for 3 bands"),
    ],
)
def test_what_is_no_scene_is_told(array: Any, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        satseg.SceneSource.from_array(array, **PLACE | changes)


def test_a_picture_may_lie_nowhere() -> None:
    source = satseg.SceneSource.from_array(PIXELS, transform=None, crs=None)
    with source.open() as scene:
        assert scene.info.crs is None


def test_an_array_of_classes_becomes_polygons_where_it_lies(tmp_path: Path) -> None:
    classes = np.zeros((40, 50), np.uint8)
    classes[10:20, 5:15] = 1
    source = satseg.SceneSource.from_array(classes, **PLACE)
    names = {0: "background", 1: "roof"}
    made = satseg.vectorize(
        source, output=tmp_path / "roofs.geojsonl", settings=satseg.VectorizeSettings(class_map=names)
    )
    assert made.polygons == {"roof": 1}
    assert made.area_m2["roof"] == pytest.approx(400, rel=2e-3)
    report = satseg.evaluate(
        source, labels=source, settings=satseg.EvaluateSettings(class_map=names, bootstrap=0, pixels_only=True)
    )
    assert (report.pixels, report.mean_iou) == (2000, 1)


def test_a_choice_of_bands_has_no_name_of_its_own() -> None:
    with pytest.raises(UsageError, match="a single file is needed"):
        satseg.vectorize(satseg.SceneSource("a.tif", "1"), output="a.gpkg")


def test_datasets_of_rasterio_are_scenes(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "width": 8, "height": 8, "count": 1, "dtype": "uint8", **PLACE}
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as out:
            out.write(np.kron(np.eye(2, dtype=np.uint8), np.ones((4, 4), np.uint8)), 1)
        with memory.open() as dataset:
            assert satseg.info(dataset).kind == "scene"
            assert satseg.vectorize(dataset, output=tmp_path / "a.gpkg").polygons["class 1"] == 2


def test_affine_of_gdal_is_the_hint_that_helps() -> None:
    geotransform = (5e5, 2.0, 0.0, 5e6, 0.0, -2.0)
    assert Affine.from_gdal(*geotransform) == PLACE["transform"]


def test_a_crs_that_is_unknown_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(satseg.UsageError, match="`crs` is 'EPSG:999999', which is not a CRS"):
        satseg.SceneSource.from_array(PIXELS, transform=PLACE["transform"], crs="EPSG:999999")
    assert capfd.readouterr().err == ""
