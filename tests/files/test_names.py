"""Names of files: whatever the file system allows is read and written, and nothing else is touched."""

from __future__ import annotations

import os
import shutil
import sqlite3
import zipfile
from itertools import product
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.windows import Window
from scene_files import GRID, numbered, write_scene

from satseg.classes import ClassTable
from satseg.errors import SceneError, printable
from satseg.files.gdal import gdal_environment
from satseg.files.local_files import local_files
from satseg.files.names import gdal_name, is_local_file, is_remote, layer_name, plain_target, split_layer
from satseg.geo.vector_layer import VectorLayer, has_features
from satseg.mapfile.work_raster import WorkRaster
from satseg.mapfile.writer import write_map
from satseg.raster.area import AreaOfInterest
from satseg.raster.scene import Scene
from satseg.records import BandSpec, Rows, SceneInfo
from satseg.vectorization.formats import VECTOR_SUFFIXES
from satseg.vectorization.sink import PolygonSink

LATIN = os.fsdecode(b"b\xe2timents")
STEMS = [
    *(
        "a!1",
        "a;b",
        "a?sig=1&x=2",
        "a?",
        "[1]",
        "a|b",
        "a#b",
        "a%41",
        "a&b",
        "a b",
        " a ",
        "a'b",
        'a"b',
        "a\nb",
        "a\tb",
    ),
    *("{a}", "-a", "$a", "a\\b", "*", "a,b", "a=b", "t0:1", "GPKG:x", "vrt:x", "file:x", "a.b", ".a", "été", LATIN),
    *(
        "gpkg_x",
        "GPKGx",
        "sqlite_x",
        "%x",
        "layer_styles",
        "<VRTDataset>",
        "<OGRVRTDataSource>",
        "a|layername=b",
        "https:",
        "x" * 236,
    ),
]
CLASSES = ClassTable.from_names(["background", "building"])
VALUES = np.kron(np.eye(4, dtype=np.uint8), np.ones((4, 4), dtype=np.uint8))


def info(shape: tuple[int, ...]) -> SceneInfo:
    bands = BandSpec(("class",), "uint8", (1.0,), (0.0,))
    return SceneInfo("map.tif", shape[1], shape[0], bands, 255, True, "EPSG:32632", GRID, (2.0, 2.0))


def write_polygons(path: Path) -> None:
    with PolygonSink([path], classes=CLASSES, provenance={"BY": "tests"}) as sink:
        sink.begin(info(VALUES.shape))
        sink.write(Rows(0, VALUES))
        sink.close()


def copied(path: Path, folder: Path) -> Path:
    """Copy a file and those of its stem under a plain name."""
    for other in path.parent.iterdir():
        if other.name.startswith(path.stem):
            shutil.copy(other, folder / f"plain{other.name.removeprefix(path.stem).lower()}")
    return folder / f"plain{path.suffix.lower()}"


def read(path: Path) -> np.ndarray:
    frame = geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path, layer=0)
    return np.sort(frame.geometry.to_crs("EPSG:32632").area.round().to_numpy())


@pytest.mark.parametrize("stem", STEMS, ids=ascii)
def test_a_raster_is_read_under_any_name(tmp_path: Path, stem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = write_scene(tmp_path / "plain.tif", numbered(2, 8, 8))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(plain, "r+") as dataset:
        dataset.write_mask(np.eye(8, dtype=bool))
    for name in (f"{stem}.tif", f"{stem}.TIF"):
        plain.with_name(name).write_bytes(plain.read_bytes())
        plain.with_name(f"{name}.msk").write_bytes(Path("plain.tif.msk").read_bytes())
        for given_name in (name, str(tmp_path / name)):
            with gdal_environment(), Scene.open(given_name) as scene:
                values, valid = scene.read(Window(0, 0, 8, 8))
                assert scene.info.path == printable(given_name)
            assert (values == numbered(2, 8, 8)).all()
            assert (valid == np.eye(8, dtype=bool)).all()
            assert is_local_file(given_name)
        assert [path.name for path in local_files(name)] == [name, f"{name}.msk"]


@pytest.mark.parametrize(
    ("stem", "suffix"),
    [*product(STEMS, VECTOR_SUFFIXES), *product(["a!1"], [".GPKG", ".SHP", ".Parquet", ".GeoJSON"])],
    ids=ascii,
)
def test_polygons_are_written_and_read_under_any_name(tmp_path: Path, stem: str, suffix: str) -> None:
    folder, aside = tmp_path / "urgent!; [x]", tmp_path / "aside"
    folder.mkdir()
    aside.mkdir()
    path = folder / f"{stem}{suffix}"
    (folder / "1.fgb").write_text("a file of the user")
    write_polygons(path)
    made = {other.name for other in folder.iterdir()} - {"1.fgb"}
    parts = (".shx", ".dbf", ".prj", ".cpg", ".qml", ".qix") if suffix.lower() == ".shp" else (".qml",)
    assert path.name in made
    assert made <= {path.name, *(stem + part for part in parts)}
    assert (folder / "1.fgb").read_text() == "a file of the user"
    plain = copied(path, aside)
    assert read(plain).sum() == pytest.approx(4 * 64, rel=1e-3)
    layer = VectorLayer.open(str(path))
    assert sum(shapely.area(shapes).size for shapes, _ in layer.batches([])) == len(read(plain))
    area = AreaOfInterest.read(path)
    assert len(area.geometries) == len(read(plain))
    if suffix == ".gpkg":
        with sqlite3.connect(plain) as connection:
            ((name,),) = connection.execute("SELECT table_name FROM gpkg_contents")
        assert path.with_suffix(".qml").name in made
        assert name == layer_name(stem)
        assert layer.name == name


@pytest.mark.parametrize("stem", STEMS, ids=ascii)
def test_maps_are_written_under_any_name(tmp_path: Path, stem: str) -> None:
    folder = tmp_path / f"{LATIN}!"
    folder.mkdir()
    path = folder / f"{stem}.tif"
    with WorkRaster(folder / "work.raw", height=16, width=16) as rows:
        rows.write(0, 0, VALUES[None])
        write_map(rows, path, info(VALUES.shape), CLASSES, {})
    (folder / "work.raw").unlink()
    assert {other.name for other in folder.iterdir()} == {path.name, f"{path.name}.aux.xml"}
    with rasterio.open(copied(path, tmp_path)) as dataset:
        assert (dataset.read(1) == VALUES).all()
    with Scene.open(path, expand_palette=False) as scene:
        assert (scene.read(Window(0, 0, 16, 16))[0] == VALUES).all()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.binary(min_size=1, max_size=40).map(lambda raw: os.fsdecode(raw.translate(None, b"/\0"))))
def test_random_bytes_are_names(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "random"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.gpkg"
    with plain_target(path) as target:
        frame = geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:32632")
        pyogrio.write_dataframe(frame, target, layer=layer_name(path.stem), driver="GPKG")
    assert [other.name for other in folder.iterdir()] == [path.name]
    assert VectorLayer.open(str(path)).name == layer_name(path.stem)
    printable(name).encode()
    path.unlink()


def test_a_layer_is_named_like_its_file_where_the_format_allows_it() -> None:
    kept = ["map", "été", "a!1", "1", "_gpkg", "a b", "sqlite", "x" * 241, "layer_styles2"]
    assert [layer_name(stem) for stem in kept] == kept
    assert layer_name("gpkg_x") == "_gpkg_x"
    assert layer_name("%x") == "_%x"
    assert layer_name(LATIN) == r"b\xe2timents"


def test_what_is_no_file_is_a_url_or_a_name_of_gdal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spelt = {
        "https://host/a;b.tif?sv=1&sig=a%2Fb#x": "/vsicurl/https://host/a;b.tif?sv=1&sig=a%2Fb#x",
        "HTTPS://host/a.tif": "/vsicurl/https://host/a.tif",
        "s3://bucket/a!b.tif": "/vsis3/bucket/a!b.tif",
        "az://c/a.tif": "/vsiaz/c/a.tif",
        "zip+https://host/a.zip!in/b.tif": "/vsizip//vsicurl/https://host/a.zip/in/b.tif",
        "GTIFF_DIR:1:a.tif": "GTIFF_DIR:1:a.tif",
        "none.tif": "none.tif",
        "PG:dbname=x": "PG:dbname=x",
    }
    assert {name: gdal_name(name) for name in spelt} == spelt
    assert [name for name in spelt if is_remote(name)] == list(spelt)[:5]
    (tmp_path / "a.zip").touch()
    assert gdal_name("zip://a.zip!b.tif") == f"/vsizip/{tmp_path}/a.zip/b.tif"
    assert gdal_name(f"file://{tmp_path}/a%2ezip") == f"{tmp_path}/a.zip"
    assert split_layer("a.gpkg|layername=x y") == ("a.gpkg", "x y")
    (tmp_path / "a.gpkg|layername=x y").touch()
    assert split_layer("a.gpkg|layername=x y") == ("a.gpkg|layername=x y", None)


@pytest.mark.parametrize("name", ["a\0b.tif", "<VRTDataset>" + "x" * 5000, "y" * 300 + ".tif", "", "vrt://[1].tif"])
def test_what_is_no_name_at_all_is_refused_in_one_sentence(name: str) -> None:
    with gdal_environment(), pytest.raises(SceneError):
        Scene.open(name)


@pytest.mark.parametrize("stem", ["a!1", "a;b", LATIN], ids=ascii)
def test_the_definition_of_a_crs_is_found_under_any_name(tmp_path: Path, stem: str) -> None:
    own = "+proj=tmerc +lat_0=0 +lon_0=9 +k=0.9996 +x_0=500000 +y_0=0 +ellps=bessel +towgs84=598,73,418,0,0,0,0"
    frame = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=own)
    frame.to_file(tmp_path / "plain.gpkg")
    path = (tmp_path / "plain.gpkg").rename(tmp_path / f"{stem}.gpkg")
    shutil.copy(path, tmp_path / "plain.gpkg")
    assert VectorLayer.open(str(path)).crs == VectorLayer.open(str(tmp_path / "plain.gpkg")).crs
    assert has_features(str(path))


def test_shapefiles_in_archives_are_read_by_all_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:32632")
    frame.to_file(tmp_path / "in.shp")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for part in tmp_path.glob("in.*"):
            archive.write(part, part.name)
    for copy in ("a!b.zip", f"{LATIN}.zip", "a.ZIP"):
        shutil.copy("a.zip", copy)
    names = [
        "a.zip",
        "zip://a.zip",
        "zip://a.zip!in.shp",
        f"zip+file://{tmp_path}/a.zip!in.shp",
        "/vsizip/a.zip/in.shp",
    ]
    for name in [*names, "a!b.zip", f"{LATIN}.zip", "a.ZIP"]:
        assert VectorLayer.open(name).count == 1
        assert len(AreaOfInterest.read(name).geometries) == 1
        assert [path.suffix.lower() for path in local_files(name)] == [".zip"]
