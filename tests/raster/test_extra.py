"""Extra rasters: their names, and what is read of them on the grid of a scene.

Covers ``settings``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from made_scenes import GRID, write_scene
from rasterio.windows import Window

from satseg.errors import SceneError
from satseg.raster.extra import ExtraFile
from satseg.raster.source import SceneSource, extra_paths


@pytest.mark.parametrize(
    ("pattern", "path", "name"),
    [
        ("ndsm.tif", "ndsm.tif", "ndsm"),
        ("ndsm/{stem}.tif", "ndsm/town.tif", "ndsm"),
        ("heights/{stem}_ndsm.tif", "heights/town_ndsm.tif", "ndsm"),
        ("lidar_{stem}_dsm.tif", "lidar_town_dsm.tif", "lidar_dsm"),
        ("{stem}.tif", "town.tif", "extra"),
        ("https://host/{stem}/dsm.tif?sig=a.b", "https://host/town/dsm.tif?sig=a.b", "dsm"),
        ("{stem}/dsm.tif", "town/dsm.tif", "dsm"),
    ],
)
def test_a_band_is_called_the_same_in_all_scenes(pattern: str, path: str, name: str) -> None:
    assert ExtraFile.of(pattern, "town") == ExtraFile(path, name)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    bands = np.random.default_rng(0).integers(1, 255, (2, 60, 80), dtype=np.uint8)
    return write_scene(tmp_path / "town.tif", bands)


def test_bands_follow_those_of_the_scene_and_stay_when_others_are_selected(tmp_path: Path, scene: Path) -> None:
    height = np.arange(4800, dtype=np.float32).reshape(1, 60, 80)
    write_scene(tmp_path / "town_ndsm.tif", height)
    with SceneSource((str(scene),), extra=[str(tmp_path / "{stem}_ndsm.tif")]).open() as opened:
        assert (opened.info.bands.names, opened.info.bands.extra) == (("band_1", "band_2", "ndsm"), 1)
        assert opened.info.bands.dtype == "float32"
        values, valid = opened.select(["2"]).read(Window(10, 5, 20, 30))
        whole, _ = opened.read(Window(0, 0, 80, 60))
    assert valid.all()
    assert (values == whole[1:, 5:35, 10:30]).all()
    assert (whole[2] == height[0]).all()


def test_what_is_read_does_not_depend_on_the_window(tmp_path: Path, scene: Path) -> None:
    height = np.random.default_rng(1).normal(5, 2, (1, 40, 50)).astype(np.float32)
    height[0, 10:14, 20:25] = -9999
    write_scene(
        tmp_path / "dsm.tif", height, transform=GRID * Affine.translation(-3, -2) * Affine.scale(1.7), nodata=-9999
    )
    with SceneSource((str(scene),), extra=[str(tmp_path / "dsm.tif")]).open() as opened:
        whole, known = opened.read(Window(0, 0, 80, 60))
        for row, column in ((0, 0), (7, 33), (41, 59)):
            values, valid = opened.read(Window(column, row, 21, 19))
            part = np.s_[row : row + 19, column : column + 21]
            assert (valid == known[part]).all()
            assert values[:, valid] == pytest.approx(whole[(slice(None), *part)][:, valid], abs=1e-5)
    assert 0.9 < known.mean() < 1
    assert whole[2][known].min() > -10


@pytest.mark.parametrize("nodata", [None, -9999.0])
def test_nan_is_no_data_whatever_the_file_declares(tmp_path: Path, scene: Path, nodata: float | None) -> None:
    height = np.ones((1, 60, 80), dtype=np.float32)
    height[0, 20:30, 40:60] = np.nan
    write_scene(tmp_path / "dsm.tif", height, nodata=nodata)
    with SceneSource((str(scene),), extra=[str(tmp_path / "dsm.tif")]).open() as opened:
        _, valid = opened.read(Window(0, 0, 80, 60))
    assert (valid == np.isfinite(height[0])).all()


def test_a_raster_of_other_ground_is_refused(tmp_path: Path, scene: Path) -> None:
    elsewhere = write_scene(
        tmp_path / "dsm.tif", np.ones((1, 60, 80), dtype=np.float32), transform=GRID * Affine.translation(500, 0)
    )
    with pytest.raises(SceneError, match=r"dsm\.tif does not lie where .*town\.tif does"):
        SceneSource((str(scene),), extra=[str(elsewhere)]).open()


def test_rasters_of_several_scenes_are_each_named_once() -> None:
    sources = [SceneSource((name,), extra=["dsm.tif", "slope/{stem}.tif"]) for name in ("a.tif", "b.tif")]
    assert extra_paths(sources) == ["dsm.tif", "slope/a.tif", "slope/b.tif"]


def test_sheets_of_a_mosaic_have_it_as_one_file_would(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(1, 255, (3, 24, 40), dtype=np.uint8)
    whole = write_scene(tmp_path / "whole.tif", image)
    left = write_scene(tmp_path / "left.tif", image[:, :, :17])
    right = write_scene(tmp_path / "right.tif", image[:, :, 17:], transform=GRID * Affine.translation(17, 0))
    coarse = GRID * Affine.translation(-2, -2) * Affine.scale(3.5)
    heights = write_scene(
        tmp_path / "height.tif", np.arange(9 * 14, dtype=np.float32).reshape(1, 9, 14), transform=coarse
    )
    sheets = SceneSource.of(SceneSource.from_sheets([left, right]), extra=[str(heights)])
    with sheets.open() as mosaic, SceneSource(str(whole), extra=[str(heights)]).open() as scene:
        assert mosaic.info.bands == scene.info.bands
        for found, wanted in zip(mosaic.read(Window(5, 3, 30, 20)), scene.read(Window(5, 3, 30, 20)), strict=True):
            np.testing.assert_array_equal(found, wanted)
