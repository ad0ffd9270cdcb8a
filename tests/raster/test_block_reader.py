"""Covers ``prefetch``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from satseg.errors import SceneError
from satseg.files.spill import SpillStore
from satseg.raster.block_reader import BlockGrid, read_windows
from satseg.raster.scene import Scene

LAYOUTS: dict[str, dict[str, Any]] = {
    "strips of one row": {"tiled": False, "blockysize": 1},
    "strips of 50 rows": {"tiled": False, "blockysize": 50},
    "tiles": {"tiled": True, "blockxsize": 128, "blockysize": 64},
    "large tiles": {"tiled": True, "blockxsize": 512, "blockysize": 512},
}


def write_scene(path: Path, values: np.ndarray, **profile: Any) -> Path:
    options = {"driver": "GTiff", "transform": Affine(0.5, 0, 0, 0, -0.5, 0), "compress": "deflate"} | profile
    bands, height, width = values.shape
    with rasterio.open(path, "w", count=bands, height=height, width=width, dtype=values.dtype, **options) as dataset:
        dataset.write(values)
    return path


def cut(height: int, width: int, size: int, step: int) -> Iterator[Window]:
    for top in range(0, height, step):
        for left in range(0, width, step):
            yield Window(left, top, min(size, width - left), min(size, height - top))


class Counted:
    """Opens scenes and notes what is read of them, in any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pixels = 0
        self.threads: set[int] = set()

    def __call__(self) -> Scene:
        scene = Scene.open(self.path)
        read = scene.read

        def counted(window: Window) -> tuple[np.ndarray, np.ndarray]:
            self.pixels += int(window.height * window.width)
            self.threads.add(threading.get_ident())
            return read(window)

        scene.read = counted  # type: ignore[method-assign]
        return scene


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("budget", [0, 10**9])
@pytest.mark.parametrize("readers", [1, 3])
def test_windows_hold_what_the_scene_holds_and_each_pixel_is_read_once(
    tmp_path: Path, layout: str, budget: int, readers: int
) -> None:
    values = np.random.default_rng(0).integers(0, 60_000, (2, 700, 5000)).astype(np.uint16)
    values[:, 100:140, 3000:] = 7
    opened = Counted(write_scene(tmp_path / "scene.tif", values, nodata=7, **LAYOUTS[layout]))
    with SpillStore(budget, tmp_path) as store:
        windows = list(cut(700, 5000, 256, 200))
        pixels = read_windows(opened, lambda: windows, store=store, readers=readers)
        for window, found in zip(windows, pixels, strict=True):
            expected = values[(slice(None), *window.toslices())]
            assert (found.bands == expected).all()
            valid = (expected != 7).all(axis=0)
            assert ((found.valid if found.valid is not None else np.ones_like(valid)) == valid).all()
    assert opened.pixels == 700 * 5000
    assert len(opened.threads) <= readers


def test_what_no_window_touches_is_not_read(tmp_path: Path) -> None:
    values = np.ones((1, 600, 9000), dtype=np.uint8)
    opened = Counted(write_scene(tmp_path / "scene.tif", values, **LAYOUTS["tiles"]))
    with SpillStore(10**9, tmp_path) as store:
        assert len(list(read_windows(opened, lambda: [Window(6000, 300, 100, 100)], store=store))) == 1
    assert opened.pixels <= 256 * 2048


def test_memory_stays_in_its_budget_when_a_scene_is_wide(tmp_path: Path, held_bytes: Callable[[], int]) -> None:
    values = np.ones((1, 300, 60_000), dtype=np.uint8)
    path = write_scene(tmp_path / "scene.tif", values, **LAYOUTS["strips of one row"])
    with SpillStore(2**20, tmp_path) as store:
        for _ in read_windows(lambda: Scene.open(path), lambda: cut(300, 60_000, 128, 100), store=store):
            assert held_bytes() <= 2 * 2**20  # those of the store, and those in use


def test_a_damaged_stretch_fails_or_becomes_nodata(real_files: Path, tmp_path: Path) -> None:
    path = real_files / "rasters" / "corrupt.tif"
    with Scene.open(path) as scene:
        height, width = scene.info.height, scene.info.width
    windows = list(cut(height, width, 64, 64))
    with (
        SpillStore(10**9, tmp_path) as store,
        pytest.raises(SceneError, match=r"corrupt\.tif cannot be read at rows"),
    ):
        list(read_windows(lambda: Scene.open(path), lambda: windows, store=store))
    failures: list[tuple[Window, SceneError]] = []
    with SpillStore(10**9, tmp_path) as store:
        pixels = list(
            read_windows(
                lambda: Scene.open(path), lambda: windows, store=store, on_failure=lambda *args: failures.append(args)
            )
        )
    assert failures
    assert any(found.valid is not None and not found.valid.any() for found in pixels)


def test_threads_end_when_reading_is_given_up(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.ones((1, 900, 900), dtype=np.uint8), **LAYOUTS["tiles"])
    before = threading.active_count()
    with SpillStore(10**9, tmp_path) as store:
        windows = closing(read_windows(lambda: Scene.open(path), lambda: cut(900, 900, 64, 64), store=store, readers=3))
        with windows as pixels:
            next(pixels)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("block", "rows", "together"),
    [((1, 9000), 38, 5), ((512, 512), 512, 1), ((128, 128), 256, 1), ((300, 9000), 300, 5)],
)
def test_chunks_are_made_of_whole_blocks(real_files: Path, block: tuple[int, int], rows: int, together: int) -> None:
    with Scene.open(real_files / "rasters" / "RGB.byte.tif") as scene:
        info = replace(scene.info, width=9000, height=9000)
    grid = BlockGrid.for_scene(info, block)
    assert (grid.rows, grid.together) == (rows, together)
