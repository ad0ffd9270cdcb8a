"""``satseg vectorize``, as a function and as a command.

Covers ``labels/class_raster``.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from pyproj import CRS, Transformer

import satseg
from satseg.classes import ClassTable
from satseg.errors import SatsegError, SceneError, UsageError
from satseg.geo.vector_layer import VectorLayer
from satseg.mapfile.work_raster import WorkRaster
from satseg.mapfile.writer import write_map
from satseg.raster.scene import Scene
from satseg.records import VectorSummary
from satseg.vectorization.settings import VectorizeSettings

TRANSFORM = Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)
RAW = VectorizeSettings(raw=True)


def vectorize(rasters: Any, *, settings: VectorizeSettings = RAW, **others: Any) -> VectorSummary:
    """Trace on the edges of pixels unless settings are given."""
    return satseg.vectorize(rasters, settings=settings, **others)


def write_raster(path: Path, bands: np.ndarray, *, palette: dict | None = None, **options: object) -> Path:
    bands = bands if bands.ndim == 3 else bands[None]
    profile = {"driver": "GTiff", "crs": "EPSG:32645", "transform": TRANSFORM, "dtype": bands.dtype} | options
    with rasterio.open(path, "w", count=len(bands), height=bands.shape[1], width=bands.shape[2], **profile) as dataset:
        dataset.write(bands)
        if palette:
            dataset.write_colormap(1, palette)
    return path


@pytest.fixture
def classes() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, (60, 50)).astype(np.uint8)


def test_names_come_from_what_satseg_wrote(tmp_path: Path, classes: np.ndarray) -> None:
    grid = write_raster(tmp_path / "grid.tif", classes)
    table = ClassTable.from_names(["background", "building", "road"])
    height, width = classes.shape
    with Scene.open(grid) as scene, WorkRaster(tmp_path / "rows.raw", height=height, width=width) as rows:
        rows.write(0, 0, classes[None])
        write_map(rows, tmp_path / "classes.tif", scene.info, table, {})
    summary = vectorize(tmp_path / "classes.tif", output=[tmp_path / "out.gpkg"])
    found = geopandas.read_file(tmp_path / "out.gpkg")
    assert set(summary.polygons) == set(found.class_name) == {"building", "road"}
    assert found.pixels.sum() == (classes > 0).sum()


def test_a_plain_raster_has_numbered_classes_and_no_background(tmp_path: Path, classes: np.ndarray) -> None:
    path = write_raster(tmp_path / "plain.tif", classes, nodata=2)
    summary = vectorize(path, output=[tmp_path / "out.parquet"])
    assert set(summary.polygons) == {"class 0", "class 1"}
    assert geopandas.read_parquet(tmp_path / "out.parquet").pixels.sum() == (classes != 2).sum()


def test_colours_come_from_the_colour_table(tmp_path: Path, classes: np.ndarray) -> None:
    palette = {0: (1, 2, 3, 255), 1: (10, 20, 30, 255), 2: (200, 100, 50, 255)}
    path = write_raster(tmp_path / "palette.tif", classes, palette=palette, photometric="palette")
    vectorize(path, output=[tmp_path / "out.gpkg"])
    assert "200,100,50,255" in (tmp_path / "out.qml").read_text()


def test_the_block_layout_of_the_file_changes_nothing(tmp_path: Path, classes: np.ndarray) -> None:
    found = []
    for options in ({"blockysize": 1}, {"tiled": True, "blockxsize": 16, "blockysize": 16}):
        path = write_raster(tmp_path / "in.tif", classes, **options)
        vectorize(path, output=[tmp_path / "out.gpkg"])
        found.append((tmp_path / "out.gpkg").read_bytes())
    assert found[0] == found[1]


def test_awkward_rasters_are_refused_in_one_sentence(tmp_path: Path, classes: np.ndarray) -> None:
    rasters = {
        "2 bands": write_raster(tmp_path / "bands.tif", np.stack([classes, classes])),
        "holds float32 values": write_raster(tmp_path / "float.tif", classes.astype(np.float32) / 2),
        "holds the value -5": write_raster(tmp_path / "negative.tif", classes.astype(np.int16) - 5),
    }
    for path in rasters.values():
        with pytest.raises(SceneError, match=path.name):
            vectorize(path, output=[tmp_path / "out.gpkg"])
    with pytest.raises(SceneError, match="does not exist"):
        vectorize(tmp_path / "none.tif", output=[tmp_path / "out.gpkg"])
    with pytest.raises(UsageError, match="no output"):
        vectorize(tmp_path / "bands.tif", output=[])
    assert not (tmp_path / "out.gpkg").exists()


def test_real_rasters_end_right_or_with_one_sentence(real_files: Path, tmp_path: Path) -> None:
    done = []
    for path in sorted((real_files / "rasters").iterdir()):
        try:
            vectorize(path, output=[tmp_path / "out.gpkg"])
            done.append(path.name)
        except SatsegError as error:
            assert error.message.endswith(".")
            assert "\n" not in error.message
    stems = ("cog_cmap", "cog_dateline", "cog_gcps", "image_colormap", "inverted_lat", "rotated")
    assert done == [f"{stem}.tif" for stem in stems]


def test_simplify_takes_pixels_and_metres_on_the_ground(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:80, :80] - 39.5
    path = write_raster(tmp_path / "disc.tif", (rows**2 + columns**2 < 900).astype(np.uint8))
    vertices = {
        length: vectorize(
            path, output=[tmp_path / "out.gpkg"], settings=VectorizeSettings(raw=True, simplify=length)
        ).vertices
        for length in (None, "1px", "0.5m", "2m")
    }
    assert vertices[None] > 4 * vertices["1px"]
    assert vertices["0.5m"] == vertices["1px"]  # pixels of half a metre, but for UTM's scale
    assert vertices["2m"] < vertices["1px"]
    for length in ("200cm", "0.002 km", 2):
        settings = VectorizeSettings(simplify=length)
        assert vectorize(path, output=[tmp_path / "out.gpkg"], settings=settings).vertices == vertices["2m"]
    with pytest.raises(UsageError, match="`simplify='1 mile'` has 'mile', which is not a unit"):
        vectorize(path, output=[tmp_path / "out.gpkg"], settings=VectorizeSettings(simplify="1 mile"))


def test_min_area_and_fill_holes_clean_the_map(tmp_path: Path) -> None:
    classes = np.full((30, 30), 255, dtype=np.uint8)
    classes[5:25, 5:25] = 1
    classes[10, 10], classes[2, 2], classes[15:17, 15:17] = 2, 2, 255
    path, out = write_raster(tmp_path / "in.tif", classes, nodata=255), tmp_path / "out.gpkg"
    assert vectorize(path, output=[out]).polygons == {"class 1": 1, "class 2": 2}
    assert vectorize(path, output=[out], settings=VectorizeSettings(raw=True, min_area="1m2")).polygons == {
        "class 1": 1
    }
    assert geopandas.read_file(out).pixels.tolist() == [396]
    vectorize(
        path, output=[out], settings=VectorizeSettings(raw=True, min_area="2px", fill_holes="4px", simplify="1px")
    )
    assert geopandas.read_file(out).pixels.tolist() == [400]
    assert vectorize(path, output=[out], settings=VectorizeSettings(raw=True, min_area="500px")).polygons == {}
    with pytest.raises(UsageError, match="`min_area='10m'` is a length, not an area"):
        vectorize(path, output=[out], settings=VectorizeSettings(raw=True, min_area="10m"))


def test_by_default_specks_and_the_staircases_of_pixels_stay_out(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:80, :80] - 39.5
    classes = (rows**2 + columns**2 < 900).astype(np.uint8)
    classes[2, 2:9], classes[77, 2:10], classes[40, 40:47], classes[30, 30:38] = 1, 1, 0, 0  # of 7 and of 8 px
    path, out = write_raster(tmp_path / "disc.tif", classes), tmp_path / "out.gpkg"
    settings = VectorizeSettings(classes=("class 1",))
    summary, raw = (vectorize(path, output=out, settings=settings.changed(raw=raw)) for raw in (False, True))
    assert (summary.polygons, summary.specks, summary.holes) == ({"class 1": 2}, 1, 1)
    assert (raw.polygons, raw.specks, raw.holes) == ({"class 1": 3}, 0, 0)
    assert raw.vertices > 4 * summary.vertices
    assert summary.area_m2["class 1"] == pytest.approx(raw.area_m2["class 1"], rel=0.01)
    ids = write_raster(tmp_path / "ids.tif", classes.astype(np.uint16), nodata=0)
    assert vectorize(ids, output=out, settings=VectorizeSettings()).vertices == raw.vertices


def test_metres_need_a_crs(tmp_path: Path, classes: np.ndarray) -> None:
    path = write_raster(tmp_path / "in.tif", classes, crs=None)
    for options in ({"simplify": "1m"}, {"min_area": "1m2"}):
        with pytest.raises(UsageError, match="in metres on the ground, but the ground resolution"):
            vectorize(path, output=[tmp_path / "out.gpkg"], settings=VectorizeSettings(**options))


def test_numbers_of_16_bits_are_said_to_be_taken_for_ids(
    tmp_path: Path, classes: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="satseg")
    path, out = write_raster(tmp_path / "crops.tif", classes.astype(np.uint16)), tmp_path / "out.gpkg"
    vectorize(path, output=out, settings=VectorizeSettings(raw=True, class_map={0: "wheat", 1: "maize", 2: "grass"}))
    assert "treated as ids" not in caplog.text
    vectorize(path, output=out)
    assert "crops.tif: values of more than 8 bits without names are treated as ids" in caplog.text
    assert "Use `class_map` to make them classes" in caplog.text


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "uint32", "int64"])
def test_ids_of_instances_need_no_class_table(tmp_path: Path, dtype: str) -> None:
    ids = np.kron(np.arange(30).reshape(5, 6), np.ones((4, 4), dtype=int)).astype(dtype) * 1000
    path = write_raster(tmp_path / "ids.tif", ids, nodata=3000)
    summary = vectorize(path, output=[tmp_path / "out.gpkg"])
    found = geopandas.read_file(tmp_path / "out.gpkg")
    assert summary.polygons == {"all": 29}
    assert sorted(found.class_id) == [i * 1000 for i in range(30) if i != 3]
    assert set(found.pixels) == {16}
    assert found.class_name[0] == f"class {found.class_id[0]}"


def test_a_band_and_a_threshold_may_be_chosen(tmp_path: Path, classes: np.ndarray) -> None:
    probability = np.stack([np.zeros((60, 50)), classes / 2]).astype(np.float32)
    path = write_raster(tmp_path / "probability.tif", probability)
    summary = vectorize(
        path, output=[tmp_path / "out.gpkg"], settings=VectorizeSettings(raw=True, band=2, threshold=0.5)
    )
    assert list(summary.polygons) == ["class 1"]
    assert geopandas.read_file(tmp_path / "out.gpkg").pixels.sum() == (classes >= 1).sum()
    with pytest.raises(UsageError, match=r"has no band 3; its bands are 1 to 2"):
        vectorize(path, output=[tmp_path / "out.gpkg"], settings=VectorizeSettings(raw=True, band=3))


def test_shares_of_8_bits_have_the_threshold_of_what_they_stand_for(tmp_path: Path, classes: np.ndarray) -> None:
    path = tmp_path / "shares.tif"
    shares = np.stack([254 - 100 * classes, 100 * classes]).astype(np.uint8)
    write_raster(path, shares)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.descriptions = (1 / 254, 1 / 254), ("background", "wood")
    summary = vectorize(path, output=tmp_path / "out.gpkg", settings=VectorizeSettings(raw=True, band=2, threshold=0.5))
    assert list(summary.polygons) == ["wood"]
    assert geopandas.read_file(tmp_path / "out.gpkg", layer="out").pixels.sum() == (shares[1] >= 127).sum()
    with pytest.raises(SceneError, match="has a scale or an offset") as caught:
        vectorize(path, output=tmp_path / "out.gpkg", settings=VectorizeSettings(raw=True, band=2))
    assert "`threshold`" in caught.value.hint


def test_polygons_of_every_format_are_labels_again(tmp_path: Path, classes: np.ndarray) -> None:
    path = write_raster(tmp_path / "classes.tif", classes)
    files = [tmp_path / f"out.{suffix}" for suffix in ("gpkg", "parquet", "fgb", "geojson", "geojsonl", "shp")]
    count = sum(vectorize(path, output=files).polygons.values())
    layers = [VectorLayer.open(str(file)) for file in files]
    assert [sum(len(shapes) for shapes, _ in layer.batches([])) for layer in layers] == [count] * len(files)
    assert all("class_name" in layer.fields for layer in layers)


def test_a_raster_that_is_named_twice_is_refused(tmp_path: Path, classes: np.ndarray) -> None:
    path = write_raster(tmp_path / "a.tif", classes)
    with pytest.raises(UsageError, match="is named twice, and"):
        vectorize([path, path], output=tmp_path / "out.gpkg")
    (tmp_path / "link.tif").symlink_to(path)
    with pytest.raises(UsageError, match=r"a\.tif is named twice, also as .*link\.tif"):
        vectorize([path, tmp_path / "link.tif"], output=tmp_path / "out.gpkg")


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "satseg", "vectorize", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_the_command_writes_features_or_json_to_stdout(tmp_path: Path, classes: np.ndarray) -> None:
    path = write_raster(tmp_path / "in.tif", classes)
    features = run(path, "-o", "-")
    assert features.returncode == 0, features.stderr
    assert {json.loads(line)["type"] for line in features.stdout.splitlines()} == {"Feature"}
    told = run(path, "-o", tmp_path / "out.gpkg", "--json")
    assert sum(json.loads(told.stdout)["polygons"].values()) == len(features.stdout.splitlines())
    both = run(path, "-o", "-", "--json")
    assert both.returncode == 2
    assert "Traceback" not in both.stderr


def test_confidence_comes_from_a_raster_beside(tmp_path: Path, classes: np.ndarray) -> None:
    path = write_raster(tmp_path / "in.tif", np.kron(classes[:6, :5], np.ones((10, 10))).astype(np.uint8))
    shares = np.random.default_rng(0).integers(0, 255, (60, 50)).astype(np.uint8)
    beside = {
        "uint8": write_raster(tmp_path / "shares.tif", shares, nodata=255),
        "real": write_raster(tmp_path / "real.tif", shares / np.float32(254)),
    }
    found = {}
    for name, confidence in beside.items():
        vectorize(
            path, output=tmp_path / f"{name}.parquet", settings=VectorizeSettings(raw=True, confidence=confidence)
        )
        found[name] = geopandas.read_parquet(tmp_path / f"{name}.parquet")
    assert found["uint8"].equals(found["real"])
    table = found["uint8"]
    np.testing.assert_allclose(np.average(table.confidence_mean, weights=table.pixels), shares.mean() / 254, rtol=1e-6)
    assert (table.confidence_min <= table.confidence_p05).all()
    assert (table.confidence_p05 < table.confidence_mean).all()
    vectorize(path, output=tmp_path / "a.gpkg", settings=VectorizeSettings(raw=True, band=1, confidence=beside["real"]))
    told = shlex.split(pyogrio.read_info(tmp_path / "a.gpkg")["layer_metadata"]["SATSEG_COMMAND"])
    assert told[5:] == ["--band", "1", "--confidence", str(beside["real"]), "--raw"]
    small = write_raster(tmp_path / "small.tif", shares[:9])
    with pytest.raises(SceneError, match="has 50 x 9 pixels, but"):
        vectorize(path, output=tmp_path / "out.gpkg", settings=VectorizeSettings(raw=True, confidence=small))
    elsewhere = write_raster(tmp_path / "elsewhere.tif", shares, transform=TRANSFORM * Affine.translation(1, 0))
    with pytest.raises(SceneError, match="but different positions"):
        vectorize(path, output=tmp_path / "out.gpkg", settings=VectorizeSettings(raw=True, confidence=elsewhere))
    with pytest.raises(UsageError, match="there is no confidence for"):
        vectorize(path, output=tmp_path / "out.gpkg", settings=VectorizeSettings(attributes=("confidence_mean",)))


def test_several_rasters_make_one_layer_or_none(tmp_path: Path, classes: np.ndarray) -> None:
    paths = [write_raster(tmp_path / f"{name}.tif", classes) for name in "ab"]
    out = tmp_path / "out.gpkg"
    summary = vectorize(paths, output=out)
    table = geopandas.read_file(out)
    assert set(table.scene) == {"a.tif", "b.tif"}
    told = pyogrio.read_info(out)["layer_metadata"]
    assert shlex.split(told["SATSEG_COMMAND"]) == ["satseg", "vectorize", *map(str, paths), "-o", str(out), "--raw"]
    assert told["SATSEG_SCENE"] == ", ".join(map(str, paths))
    assert len(table) == table.region_id.nunique() == sum(summary.polygons.values())
    before = out.read_bytes()
    ids = write_raster(tmp_path / "ids.tif", classes.astype(np.int32))
    with pytest.raises(SceneError, match=r"ids\.tif does not have the classes of .*a\.tif"):
        vectorize([paths[0], ids], output=out)
    assert out.read_bytes() == before
    vectorize(paths, output=out)
    assert out.read_bytes() == before


def test_rasters_of_the_same_ground_are_told_of(
    tmp_path: Path, classes: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    height, width = classes.shape
    places = {"here": (0, 0), "beside": (width, 0), "half": (0, height / 2)}
    here, beside, half = (
        write_raster(tmp_path / f"{name}.tif", classes, transform=TRANSFORM * Affine.translation(*place))
        for name, place in places.items()
    )
    vectorize([here, beside], output=tmp_path / "neighbours.gpkg")
    assert "the same ground" not in caplog.text
    vectorize([beside, here, half], output=tmp_path / "both.gpkg")
    assert f"{here} and {half} overlap (50 % of the smaller one)" in caplog.text


_FULL_DISK = """
import resource, signal, sys
from satseg.cli.app import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
main(["vectorize", *sys.argv[1:]])
"""


def test_a_full_disk_is_said_once_and_not_by_gdal(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "checkers.tif", np.indices((400, 400)).sum(0).astype(np.uint8) % 2 + 1)
    vectorize(path, output=tmp_path / "before.gpkg")  # what is compiled would not fit on that disk either
    command = [sys.executable, "-c", _FULL_DISK, str(path), "-o", str(tmp_path / "out.gpkg"), "--raw"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: Cannot write out.gpkg: ")
    assert len(done.stderr.splitlines()) <= 2  # with a hint
    assert not (tmp_path / "out.gpkg").exists()


def test_a_datum_shift_of_the_map_is_that_of_its_polygons(
    tmp_path: Path, classes: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    wkt = CRS.from_epsg(31468).to_wkt("WKT1_GDAL")
    end = wkt.index("]]", wkt.index("SPHEROID")) + 2
    shifted = f"{wkt[:end]},TOWGS84[1598.1,73.7,1418.2,0.202,0.045,-2.455,6.7]{wkt[end:]}"
    transform = Affine(1, 0, 4468000, 0, -1, 5333000)
    path = write_raster(tmp_path / "in.tif", classes, crs=rasterio.CRS.from_wkt(shifted), transform=transform)
    vectorize(path, output=[tmp_path / f"out.{suffix}" for suffix in ("gpkg", "fgb", "parquet", "shp")])
    for suffix in ("gpkg", "fgb", "parquet"):
        found = VectorLayer.open(str(tmp_path / f"out.{suffix}")).crs
        assert found is not None
        ways = (Transformer.from_crs(crs, 4326, always_xy=True) for crs in (shifted, found))
        there, here = (way.transform(4468000, 5333000) for way in ways)
        np.testing.assert_allclose(here, there, rtol=0, atol=1e-7)
    assert "a Shapefile cannot store the datum shift" in caplog.text
