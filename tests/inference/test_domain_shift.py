from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from ranged_server import RangedServer
from rasterio.enums import Resampling
from rasterio.windows import Window
from scene_files import block_spans, write_scene

from satseg.inference import domain_shift
from satseg.inference.domain_shift import describe_domain_shift
from satseg.raster.scene import Scene
from satseg.records import BandStatistics

TRAINED = BandStatistics(9, (100.0,), (10.0,), (0.0,), (200.0,))


def phrases(path: Path, values: np.ndarray, nodata: float | None = None) -> list[str]:
    with Scene.open(write_scene(path, values[None].astype(np.float32), nodata=nodata)) as scene:
        return describe_domain_shift(scene, TRAINED)


@pytest.mark.parametrize("shape", [(1, 1), (300, 40), (900, 1000)])
def test_a_scene_like_the_training_scenes_is_not_remarked(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(100, 10, shape)
    if values.size == 1:
        values[:] = 100
        assert len(phrases(tmp_path / "a.tif", values)) == 1  # a single pixel has no spread
    else:
        assert phrases(tmp_path / "a.tif", values) == []


def test_another_level_is_remarked_with_numbers(tmp_path: Path) -> None:
    (phrase,) = phrases(tmp_path / "a.tif", np.random.default_rng(0).normal(130, 10, (600, 600)))
    assert phrase.startswith("band_1 130 ± ")
    assert phrase.endswith("100 ± 10 in training")


def test_another_spread_is_remarked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    assert phrases(tmp_path / "a.tif", rng.normal(100, 50, (600, 600)))
    assert phrases(tmp_path / "b.tif", rng.normal(100, 2, (600, 600)))


def test_a_scene_without_data_is_not_remarked(tmp_path: Path) -> None:
    assert phrases(tmp_path / "a.tif", np.zeros((50, 50)), nodata=0) == []


class Recorder(Scene):
    """A scene that keeps the windows that were read."""

    windows: tuple[Window, ...] = ()

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        self.windows += (window,)
        return super().read(window)


@pytest.mark.parametrize("profile", [{"tiled": True, "blockxsize": 128, "blockysize": 64}, {}, {"blockysize": 1500}])
def test_few_blocks_are_read_whatever_the_layout(tmp_path: Path, profile: dict[str, object]) -> None:
    path = write_scene(tmp_path / "a.tif", np.full((1, 1500, 1200), 100, dtype=np.uint8), **profile)
    with Recorder.open(path) as scene:
        assert describe_domain_shift(scene, TRAINED)  # no spread at all
        rows, columns = scene.block_shape
        assert len(scene.windows) == 16
        for window in scene.windows:
            assert window.row_off % min(rows, 16) == 0
            assert window.height <= max(rows, 16)
            assert window.width <= columns
            assert window.row_off + window.height <= 1500
            assert window.col_off + window.width <= 1200


def test_huge_blocks_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain_shift, "LARGE_BLOCK", 1000)
    with Recorder.open(write_scene(tmp_path / "a.tif", np.full((1, 300, 40), 100, dtype=np.uint8))) as scene:
        describe_domain_shift(scene, TRAINED)
        assert len(scene.windows) == 1


@pytest.mark.parametrize("overviews", [True, False])
def test_no_block_of_a_remote_scene_is_fetched(ranged_server: RangedServer, overviews: bool) -> None:
    values = np.random.default_rng(0).normal(130, 10, (1, 4096, 512)).astype(np.float32)
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    path = write_scene(ranged_server.folder / "a.tif", values, **tiles)
    spans = block_spans(path)
    if overviews:
        with rasterio.open(path, "r+") as dataset:
            dataset.build_overviews([4], Resampling.average)
    with Scene.open(ranged_server.url("a.tif")) as scene:
        found = describe_domain_shift(scene, TRAINED)
    assert len(found) == overviews  # another level; its smaller spread is that of the overview
    times = ranged_server.times_fetched("a.tif")
    assert all(times[start:stop].min() == 0 for start, stop in spans)
