"""Covers ``source`` and ``block_reader``."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from ranged_server import RangedServer
from rasterio.windows import Window
from scene_files import block_spans, numbered, write_mosaic, write_scene

from satseg.errors import ReadError, SceneError
from satseg.files.gdal import CACHE_BYTES, gdal_environment
from satseg.raster.scene import Scene
from satseg.raster.source import SceneSource
from satseg.raster.windows import strips


def read_all(source: SceneSource) -> tuple[np.ndarray, np.ndarray]:
    with source.open() as scene:
        return scene.read(Window(0, 0, scene.info.width, scene.info.height))


def two_real_files(real_files: Path) -> list[Path]:
    return [real_files / "rasters" / name for name in ("mosaic_cog1.tif", "mosaic_cog2.tif")]


def test_a_mosaic_is_its_files_pasted_in_order(tmp_path: Path, real_files: Path) -> None:
    files = two_real_files(real_files)
    source = SceneSource((str(write_mosaic(tmp_path / "m.vrt", [(str(file), file) for file in files])),))
    with rasterio.open(files[0]) as a, rasterio.open(files[1]) as b:
        expected = np.zeros((3, 112, 167), dtype=np.uint16)
        expected[:, 12:, :120] = a.read()
        over = b.read()
        below = expected[:, :100, 47:]
        below[:] = np.where(over != 0, over, below)
    values, valid = read_all(source)
    assert (values == expected).all()
    assert (valid == (expected != 0).all(axis=0)).all()
    assert not valid.all()


@pytest.mark.parametrize("snap", [True, False])  # real mosaics do not lie on whole pixels
def test_a_mosaic_has_one_answer_for_every_window_and_thread(tmp_path: Path, real_files: Path, snap: bool) -> None:
    files = two_real_files(real_files)
    path = write_mosaic(tmp_path / "m.vrt", [(str(file), file) for file in files], snap=snap)
    source = SceneSource((str(path),), bands=("3", "1"))
    values, valid = read_all(source)
    rng = np.random.default_rng(0)
    places = [(*rng.integers(0, 60, 2), *rng.integers(1, 50, 2)) for _ in range(40)]
    windows = [Window(*(int(n) for n in place)) for place in places]

    def read_some(part: list[Window]) -> list[tuple[np.ndarray, np.ndarray]]:
        with source.open() as scene:
            return [scene.read(window) for window in part]

    with ThreadPoolExecutor(4) as pool:
        found = [pair for pairs in pool.map(read_some, [windows[i::4] for i in range(4)]) for pair in pairs]
    for window, (part, mask) in zip([w for i in range(4) for w in windows[i::4]], found, strict=True):
        rows, columns = window.toslices()
        assert (part == values[:, rows, columns]).all()
        assert (mask == valid[rows, columns]).all()


@pytest.mark.parametrize("local", [True, False])
def test_a_mosaic_of_remote_files_fetches_each_block_once(
    ranged_server: RangedServer, real_files: Path, local: bool
) -> None:
    files = [Path(shutil.copy(file, ranged_server.folder)) for file in two_real_files(real_files)]
    sources = [(f"/vsicurl/{ranged_server.url(file.name)}", file) for file in files]
    path = write_mosaic(ranged_server.folder / "m.vrt", sources)
    with gdal_environment(), Scene.open(path if local else ranged_server.url("m.vrt")) as scene:
        assert scene.remote
        parts = [scene.read(window)[0] for window in strips(scene.info.height, scene.info.width, 64)]
    for file in files:
        times = ranged_server.times_fetched(file.name)
        assert all(times[start:stop].max() == 1 for start, stop in block_spans(file))
    asked = {request.path for request in ranged_server.requests()}  # and nothing that might lie beside them
    assert asked == {f"/{file.name}" for file in files} | (set() if local else {"/m.vrt"})
    on_disk = write_mosaic(ranged_server.folder / "disk.vrt", [(str(file), file) for file in files])
    assert (np.concatenate(parts, axis=1) == read_all(SceneSource((str(on_disk),)))[0]).all()


def test_a_mosaic_is_read_in_blocks_of_its_files_with_a_cache_for_those_on_borders(tmp_path: Path) -> None:
    bands = np.zeros((2, 600, 3000), dtype=np.uint16)
    file = write_scene(tmp_path / "a.tif", bands, tiled=True, blockxsize=512, blockysize=256)
    mosaic = write_mosaic(tmp_path / "m.vrt", [(str(file), file)])
    with Scene.open(mosaic) as scene, Scene.open(file) as plain:
        assert scene.block_shape == plain.block_shape == (256, 512)
        assert plain.cache_bytes == scene.cache_bytes == CACHE_BYTES
    wide = mosaic.read_text().replace('rasterXSize="3000"', 'rasterXSize="90000"')
    (tmp_path / "wide.vrt").write_text(wide)
    with Scene.open(tmp_path / "wide.vrt") as scene:
        assert scene.cache_bytes == 3 * 256 * 90_000 * 2 * 2


def test_a_mosaic_whose_file_is_gone_is_a_read_error(tmp_path: Path) -> None:
    file = write_scene(tmp_path / "a.tif", numbered(1, 30, 30) + 1)
    path = write_mosaic(tmp_path / "m.vrt", [(str(file), file)])
    file.unlink()
    with Scene.open(path) as scene, pytest.raises(ReadError, match=r"m.vrt cannot be read at rows 3 to 5: .*a.tif"):
        scene.read(Window(0, 3, 4, 2))


def test_an_expression_of_gdal_serves_as_a_scene(tmp_path: Path) -> None:
    bands = numbered(3, 6, 6)
    file = write_scene(tmp_path / "a.tif", bands)
    values, _ = read_all(SceneSource((f"vrt://{file}?bands=3,1",)))
    assert (values == bands[[2, 0]]).all()


def test_a_mosaic_can_be_stacked_with_a_file(tmp_path: Path) -> None:
    a, b = (write_scene(tmp_path / name, numbered(1, 6, 6) + n) for n, name in [(1, "a.tif"), (90, "b.tif")])
    mosaic = write_mosaic(tmp_path / "m.vrt", [(str(a), a)])
    values, _ = read_all(SceneSource((str(mosaic), str(b))))
    assert (values == np.concatenate([numbered(1, 6, 6) + 1, numbered(1, 6, 6) + 90])).all()


def test_many_scenes_are_read_or_refused_in_one_sentence(real_files: Path) -> None:
    refused = {}
    for path in sorted((real_files / "rasters").iterdir()):
        source = SceneSource((str(path),))
        try:
            with source.open() as scene:
                for window in (Window(0, 0, 10, 10), Window(scene.info.width - 7, scene.info.height - 9, 7, 9)):
                    values, valid = scene.read(window)
                    assert values.shape == (len(scene.info.bands), *valid.shape)
                    assert values.dtype == scene.info.bands.dtype
        except SceneError as error:
            assert path.name in error.message
            assert "\n" not in error.message
            refused[path.name] = error.message
    assert set(refused) == {"RGB.byte.rpc.vrt", "RGB.byte.tif.aux.xml", "corrupt.tif"}
