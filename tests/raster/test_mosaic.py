"""Map sheets are read as one raster that holds the same pixels."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from ranged_server import RangedServer
from rasterio.enums import ColorInterp
from rasterio.windows import Window
from scene_files import GRID, numbered, write_scene

from satseg.errors import ReadError
from satseg.raster.mosaic import MOST_OPEN
from satseg.raster.source import SceneSource


def write_sheet(path: Path, bands: np.ndarray, left: int, top: int, **profile: object) -> Path:
    return write_scene(path, bands, transform=GRID * Affine.translation(left, top), **profile)


def read_all(source: SceneSource) -> tuple[np.ndarray, np.ndarray]:
    with source.open() as scene:
        return scene.read(Window(0, 0, scene.info.width, scene.info.height))


def cut(folder: Path, whole: np.ndarray, places: Sequence[tuple[int, int, int, int]], **profile: object) -> list[Path]:
    """Write parts of a raster, each (left, top, right, bottom), as sheets."""
    return [
        write_sheet(folder / f"sheet_{number}.tif", whole[:, top:bottom, left:right], left, top, **profile)
        for number, (left, top, right, bottom) in enumerate(places)
    ]


def test_sheets_that_touch_are_the_raster_they_were_cut_from(tmp_path: Path) -> None:
    whole = numbered(3, 50, 70)
    sheets = cut(tmp_path, whole, [(30, 0, 70, 20), (0, 0, 30, 20), (0, 20, 45, 50), (45, 20, 70, 50)])
    source = SceneSource.from_sheets(sheets)
    values, valid = read_all(source)
    assert (values == whole).all()
    assert valid.all()
    with source.open() as scene:
        assert scene.info.transform == GRID
        assert scene.info.crs == "EPSG:32632"


def test_on_top_is_the_sheet_named_last(tmp_path: Path) -> None:
    one = write_sheet(tmp_path / "one.tif", np.full((1, 10, 10), 1, np.uint8), 0, 0)
    two = write_sheet(tmp_path / "two.tif", np.full((1, 10, 10), 2, np.uint8), 4, 3)
    expected = np.zeros((13, 14), np.uint8)
    expected[:10, :10] = 1
    later = expected.copy()
    later[3:, 4:] = 2
    assert (read_all(SceneSource.from_sheets([one, two]))[0][0] == later).all()
    expected[3:, 4:] = np.where(expected[3:, 4:] == 1, 1, 2)
    assert (read_all(SceneSource.from_sheets([two, one]))[0][0] == expected).all()


def test_gaps_have_no_data(tmp_path: Path) -> None:
    whole = numbered(2, 30, 40) + 1
    sheets = cut(tmp_path, whole, [(0, 0, 12, 30), (20, 5, 40, 25)])
    values, valid = read_all(SceneSource.from_sheets(sheets))
    there = np.zeros((30, 40), bool)
    there[:, :12] = there[5:25, 20:] = True
    assert (valid == there).all()
    assert (values == np.where(there, whole, 0)).all()


def test_what_lies_below_shows_where_a_sheet_has_no_data_of_whatever_kind(tmp_path: Path) -> None:
    ground = np.full((2, 8, 30), 9, np.uint8)
    below = write_sheet(tmp_path / "below.tif", ground, 0, 0)
    void = np.zeros((8, 6), bool)
    void[2:5, 1:4] = True
    bands = np.full((2, 8, 6), 50, np.uint8)
    by_value = write_sheet(tmp_path / "value.tif", np.where(void, np.uint8(7), bands), 0, 0, nodata=7)
    by_other = write_sheet(
        tmp_path / "other.tif", np.where(void, np.uint8(50), np.uint8(7)) + 0 * bands, 6, 0, nodata=50
    )
    opaque = np.where(void, 0, 255).astype(np.uint8)
    by_alpha = write_sheet(tmp_path / "alpha.tif", np.concatenate([bands, opaque[None]]), 12, 0)
    with rasterio.open(by_alpha, "r+") as dataset:
        dataset.colorinterp = (ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha)
    by_mask = write_sheet(tmp_path / "mask.tif", bands, 18, 0)
    with rasterio.open(by_mask, "r+") as dataset:
        dataset.write_mask(opaque)
    sheets = [below, by_value, by_other, by_alpha, by_mask]
    values, valid = read_all(SceneSource.from_sheets(sheets))
    expected = ground.copy()
    for left, value in ((0, 50), (6, 7), (12, 50), (18, 50)):
        part = expected[:, :, left : left + 6]
        part[:, ~void] = value
    assert valid.all()
    assert (values == expected).all()
    assert (read_all(SceneSource.from_sheets(sheets[1:]))[1] == ~np.tile(void, 4)).all()


def test_palettes_may_differ_from_sheet_to_sheet(tmp_path: Path) -> None:
    sheets = []
    for number, colours in enumerate([{0: (1, 2, 3), 1: (4, 5, 6)}, {0: (7, 8, 9), 1: (10, 11, 12)}]):
        path = write_sheet(tmp_path / f"{number}.tif", numbered(1, 1, 2, "uint8"), 2 * number, 0, photometric="palette")
        with rasterio.open(path, "r+") as dataset:
            dataset.write_colormap(1, colours)
        sheets.append(path)
    values, _ = read_all(SceneSource.from_sheets(sheets))
    assert values[:, 0].T.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]


def test_every_window_has_the_pixels_of_the_whole_also_after_pickling(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    places = [(0, 0, 21, 17), (15, 3, 40, 20), (0, 17, 18, 40), (25, 25, 40, 40)]
    sheets = cut(tmp_path, rng.integers(0, 9, (3, 40, 40)).astype(np.float32), places, nodata=3)
    source = SceneSource.from_sheets(sheets, bands=[3, 1])
    values, valid = read_all(source)
    assert not valid.all()
    with pickle.loads(pickle.dumps(source)).open() as scene:
        for _ in range(40):
            left, top, width, height = (int(n) for n in (*rng.integers(0, 30, 2), *rng.integers(1, 11, 2)))
            part, there = scene.read(Window(left, top, width, height))
            rows, columns = slice(top, top + height), slice(left, left + width)
            assert (part == values[:, rows, columns]).all()
            assert (there == valid[rows, columns]).all()


def test_sheets_of_a_server_are_read_like_local_ones(tmp_path: Path, ranged_server: RangedServer) -> None:
    whole = numbered(2, 40, 50) + 1
    sheets = cut(ranged_server.folder, whole, [(0, 0, 20, 40), (25, 0, 50, 40)])
    source = SceneSource.from_sheets([ranged_server.url(sheet.name) for sheet in sheets])
    with source.open() as scene:
        assert scene.remote
    for found, expected in zip(read_all(source), read_all(SceneSource.from_sheets(sheets)), strict=True):
        assert (found == expected).all()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")
def test_many_sheets_do_not_take_as_many_file_handles(tmp_path: Path) -> None:
    count = 3 * MOST_OPEN
    whole = numbered(1, 2, 4 * count)
    sheets = cut(tmp_path, whole, [(4 * n, 0, 4 * n + 4, 2) for n in range(count)])
    source = SceneSource.from_sheets(sheets)
    before = len(os.listdir("/proc/self/fd"))
    with source.open() as scene:
        values, _ = scene.read(Window(0, 0, scene.info.width, scene.info.height))
        assert len(os.listdir("/proc/self/fd")) - before <= MOST_OPEN
    assert len(os.listdir("/proc/self/fd")) == before
    assert (values == whole).all()


def test_a_sheet_that_is_gone_is_a_read_error_that_names_it(tmp_path: Path) -> None:
    sheets = cut(tmp_path, numbered(1, 30, 30), [(0, 0, 30, 10), (0, 10, 30, 30)])
    source = SceneSource.from_sheets(sheets)
    sheets[1].unlink()
    with source.open() as scene:
        assert (scene.read(Window(0, 0, 30, 10))[0] == numbered(1, 30, 30)[:, :10]).all()
        with pytest.raises(
            ReadError, match=r"sheet_0.tif \(and 1 more sheet\) .* rows 8 to 12: .*sheet_1.tif does not"
        ):
            scene.read(Window(0, 8, 4, 4))


def test_a_sheet_that_is_damaged_is_a_read_error_that_names_it(tmp_path: Path) -> None:
    sheets = cut(tmp_path, numbered(1, 64, 64), [(0, 0, 64, 32), (0, 32, 64, 64)], compress="deflate")
    source = SceneSource.from_sheets(sheets)
    sheets[1].write_bytes(sheets[1].read_bytes()[:-40])
    with source.open() as scene, pytest.raises(ReadError, match=r"rows 40 to 64: .*sheet_1.tif: "):
        scene.read(Window(0, 40, 64, 24))


def test_a_mosaic_is_called_by_what_names_of_sheets_share(tmp_path: Path) -> None:
    alike = SceneSource.from_sheets(cut(tmp_path, numbered(1, 4, 4), [(0, 0, 4, 2), (0, 2, 4, 4)]))
    assert alike.stem == "sheet"
    other = write_sheet(tmp_path / "other.tif", numbered(1, 4, 4), 9, 0)
    assert SceneSource.from_sheets([*alike.paths, other]).stem == "mosaic"
