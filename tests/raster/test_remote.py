"""Covers ``scene`` and ``rasterfile``."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from ranged_server import RangedServer
from rasterio.windows import Window
from scene_files import block_spans, numbered, write_scene

from satseg.errors import ReadError, SceneError
from satseg.files.gdal import gdal_environment
from satseg.files.names import is_local_file, is_remote
from satseg.raster.scene import Scene
from satseg.raster.windows import strips
from satseg.sample import sample


def serve(server: RangedServer, source: Path) -> Path:
    return Path(shutil.copy(source, server.folder))


def read_in_block_rows(name: str) -> np.ndarray:
    with gdal_environment(), Scene.open(name) as scene:
        rows = scene.block_shape[0] * max(1, 256 // scene.block_shape[0])
        return np.concatenate([scene.read(w)[0] for w in strips(scene.info.height, scene.info.width, rows)], axis=1)


def test_opening_takes_few_requests_and_lists_no_folder(ranged_server: RangedServer) -> None:
    serve(ranged_server, sample().labelled)
    with gdal_environment(), Scene.open(ranged_server.url("town.tif")) as scene:
        assert scene.info.width == 2048
    requests = ranged_server.requests()
    assert [request.method for request in requests] == ["HEAD", "GET"]
    assert {request.path for request in requests} == {"/town.tif"}
    assert requests[1].stop <= 2**16


STORED = ("mosaic_cog1.tif", "RGB.byte.tif", "RGBA.uint16.tif", "cog_rgb_mask.tif", "cog_rgba.tif", "alpha.tif")


@pytest.mark.parametrize("name", STORED)  # tiles, strips, alpha, a mask, nodata
def test_reading_block_rows_once_fetches_no_byte_of_a_block_twice(
    ranged_server: RangedServer, real_files: Path, name: str
) -> None:
    path = serve(ranged_server, real_files / "rasters" / name)
    values = read_in_block_rows(ranged_server.url(name))
    assert (values == read_in_block_rows(str(path))).all()
    times = ranged_server.times_fetched(name)
    spans = block_spans(path)
    assert spans
    for start, stop in spans:
        assert times[start:stop].max() == 1


def test_threads_fetch_no_block_twice(ranged_server: RangedServer, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**16, (2, 512, 640), dtype=np.uint16)
    path = write_scene(ranged_server.folder / "a.tif", values, tiled=True, blockxsize=128, blockysize=128)
    url = ranged_server.url("a.tif")

    def read_one(window: Window) -> np.ndarray:
        with Scene.open(url) as scene:
            return scene.read(window)[0]

    with gdal_environment(), ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(read_one, strips(512, 640, 128)))
    assert (np.concatenate(parts, axis=1) == values).all()
    times = ranged_server.times_fetched("a.tif")
    assert all(times[start:stop].min() == 1 for start, stop in block_spans(path))  # threads may share edges of ranges


def test_what_passes_is_tried_again(
    ranged_server: RangedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.05")  # settings in the environment win
    bands = numbered(1, 20, 30)
    write_scene(ranged_server.folder / "a.tif", bands)
    assert (read_in_block_rows(ranged_server.url("fail-3/a.tif")) == bands).all()
    assert [r.status for r in ranged_server.requests() if r.method == "GET"][:4] == [503, 503, 503, 206]


def test_a_server_that_dies_is_a_read_error(ranged_server: RangedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    values = np.random.default_rng(0).integers(0, 255, (1, 1024, 512), dtype=np.uint8)
    write_scene(ranged_server.folder / "a.tif", values, tiled=True, blockxsize=256, blockysize=256)
    with gdal_environment(), Scene.open(ranged_server.url("a.tif")) as scene:
        ranged_server.stop()
        with pytest.raises(ReadError, match="rows 512 to 768") as caught:
            scene.read(Window(0, 512, 512, 256))
    assert (caught.value.rows, caught.value.columns) == ((512, 768), (0, 512))
    assert "try again" in str(caught.value.hint)


def test_what_is_not_there_is_said_in_one_sentence(ranged_server: RangedServer) -> None:
    url = ranged_server.url("none.tif")
    for name in (url, f"/vsicurl/{url}"):
        with gdal_environment(), pytest.raises(SceneError, match=r"none.tif does not exist: the server answered 404"):
            Scene.open(name)


def test_buckets_are_read_by_s3_names(
    ranged_server: RangedServer, real_files: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (ranged_server.folder / "bucket").mkdir()
    path = shutil.copy(real_files / "rasters" / "cog_rgba.tif", ranged_server.folder / "bucket")
    monkeypatch.setenv("AWS_S3_ENDPOINT", f"127.0.0.1:{ranged_server.port}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name, value in [("HTTPS", "NO"), ("VIRTUAL_HOSTING", "FALSE"), ("NO_SIGN_REQUEST", "YES")]:
        monkeypatch.setenv(f"AWS_{name}", value)
    assert (read_in_block_rows("s3://bucket/cog_rgba.tif") == read_in_block_rows(str(path))).all()
    with gdal_environment(), pytest.raises(SceneError, match="does not exist"):
        Scene.open("s3://bucket/none.tif")


@pytest.mark.parametrize("sidecar", ["a.tfw", "a.tif.msk", "a.tif.aux.xml"])
def test_what_lies_beside_a_local_file_is_used(tmp_path: Path, sidecar: str) -> None:
    path = write_scene(tmp_path / "a.tif", np.ones((1, 4, 4), dtype=np.uint8), crs=None, transform=None)
    if sidecar.endswith("tfw"):
        (tmp_path / sidecar).write_text("2\n0\n0\n-2\n501\n999\n")
    elif sidecar.endswith("msk"):
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
            dataset.write_mask(np.eye(4, dtype=bool))
    else:
        place = "<GeoTransform>7, 2, 0, 9, 0, -2</GeoTransform>"
        (tmp_path / sidecar).write_text(f"<PAMDataset><SRS>EPSG:32632</SRS>{place}</PAMDataset>")
    assert (tmp_path / sidecar).exists()
    with gdal_environment(), Scene.open(path) as scene:
        _, valid = scene.read(Window(0, 0, 4, 4))
        assert (scene.info.transform.c == 500) == sidecar.endswith("tfw")
        assert (valid.sum() == 4) == sidecar.endswith("msk")
        assert (scene.info.crs == "EPSG:32632") == sidecar.endswith("xml")


def test_names_tell_what_is_remote() -> None:
    remote = [
        "https://host/a.tif",
        "s3://bucket/a.tif",
        "/vsicurl/http://host/a.tif",
        "/vsizip//vsis3/bucket/a.zip/a.tif",
    ]
    virtual = ["/vsizip/a.zip/a.tif", "vrt://a.tif?bands=1", "GTIFF_DIR:1:a.tif"]
    local = ["a.tif", "/data/a.tif", "../vsicurl/a.tif", "C:\\data\\a.tif"]
    assert all(is_remote(name) and not is_local_file(name) for name in remote)
    assert not any(is_remote(name) or is_local_file(name) for name in virtual)
    assert all(is_local_file(name) and not is_remote(name) for name in local)
