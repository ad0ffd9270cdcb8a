"""Covers ``selection``."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window
from scene_files import GRID, numbered, write_scene

from satseg.errors import SceneError, UsageError
from satseg.files.local_files import local_files
from satseg.raster.scene import Scene
from satseg.raster.selection import select_bands
from satseg.raster.source import SceneSource
from satseg.raster.windows import strips


def read(source: SceneSource) -> tuple[np.ndarray, np.ndarray]:
    with source.open() as scene:
        return scene.read(Window(0, 0, scene.info.width, scene.info.height))


def stack(folder: Path, bands: np.ndarray, **profile: object) -> SceneSource:
    names = [f"T32_B{number:02}_10m.tif" for number in range(2, 2 + len(bands))]
    return SceneSource(
        tuple(str(write_scene(folder / n, band[None], **profile)) for n, band in zip(names, bands, strict=True))
    )


def test_bands_are_chosen_by_number_or_name_in_any_order(tmp_path: Path) -> None:
    bands = numbered(3, 4, 5)
    path = str(write_scene(tmp_path / "a.tif", bands, names=("blue", "green", "NIR")))
    for wanted in [("3", "1"), ("nir", "Blue"), ("3", "blue"), (" 3", "1 ")]:
        values, _ = read(SceneSource((path,), wanted))
        assert (values == bands[[2, 0]]).all()
    with SceneSource((path,), ("nir", "1")).open() as scene:
        assert scene.info.bands.names == ("NIR", "blue")


def test_a_band_may_be_chosen_more_than_once(tmp_path: Path) -> None:
    bands = numbered(2, 3, 3)
    values, _ = read(SceneSource((str(write_scene(tmp_path / "a.tif", bands)),), ("2", "2", "1")))
    assert (values == bands[[1, 1, 0]]).all()


def test_only_chosen_bands_decide_what_is_valid(tmp_path: Path) -> None:
    bands = np.ones((2, 2, 2), dtype=np.uint8)
    bands[0, 0, 0] = 0
    path = str(write_scene(tmp_path / "a.tif", bands, nodata=0))
    assert not read(SceneSource((path,)))[1].all()
    assert read(SceneSource((path,), ("2",)))[1].all()


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        ("grean", r"no band 'grean'. Did you mean 'green'\?", "1 blue, 2 green, 3 green"),
        ("4", "no image band number 4", "1 blue"),
        ("0", "no image band number 0", "1 blue"),
        ("green", "2 bands named 'green'", "by number"),
    ],
)
def test_a_band_that_is_not_there_is_said(tmp_path: Path, wanted: str, message: str, hint: str) -> None:
    path = write_scene(tmp_path / "a.tif", numbered(3, 2, 2), names=("blue", "green", "green"))
    with pytest.raises(SceneError, match=message) as caught:
        SceneSource((str(path),), (wanted,)).open()
    assert hint in str(caught.value.hint)


def test_single_band_files_are_stacked_under_what_tells_their_names_apart(tmp_path: Path) -> None:
    bands = numbered(3, 4, 5)
    source = stack(tmp_path, bands)
    values, valid = read(source)
    assert (values == bands).all()
    assert valid.all()
    with source.open() as scene:
        assert scene.info.bands.names == ("B02", "B03", "B04")
    assert source.stem == "T32"
    assert source.name.endswith("T32_B02_10m.tif (and 2 stacked on it)")
    values, _ = read(replace(source, bands=("B04", "1")))
    assert (values == bands[[2, 0]]).all()


def test_descriptions_name_stacked_bands_before_files_do(tmp_path: Path) -> None:
    a = write_scene(tmp_path / "x_1.tif", numbered(2, 2, 2), names=("nir", "Band 2"))
    b = write_scene(tmp_path / "x_2.tif", numbered(1, 2, 2))
    with Scene.open(a, b) as scene:
        assert scene.info.bands.names == ("nir", "1_2", "2")


def test_stacked_bands_that_are_described_by_their_file_have_the_names_of_all_dates(tmp_path: Path) -> None:
    for date in ("20240101", "20240202"):
        paths = []
        for band in ("B02", "B08"):
            path = tmp_path / f"T32_{date}_{band}_10m.tif"
            with rasterio.open(path, "w", driver="GTiff", count=1, height=3, width=3, dtype="uint8") as dataset:
                dataset.write(np.ones((1, 3, 3), dtype=np.uint8))
                dataset.descriptions = (path.stem,)
            paths.append(str(path))
        with SceneSource(tuple(paths)).open() as scene:
            assert scene.info.bands.names == ("B02", "B08")


def test_stacked_files_have_a_common_type_and_each_its_nodata(tmp_path: Path) -> None:
    first, second = np.array([[[7, 1], [2, 3]]], dtype=np.uint8), np.array([[[4, 5], [-9, 7]]], dtype=np.int16)
    a, b = write_scene(tmp_path / "a.tif", first, nodata=7), write_scene(tmp_path / "b.tif", second, nodata=-9)
    with Scene.open(a, b) as scene:
        values, valid = scene.read(Window(0, 0, 2, 2))
        assert scene.info.bands.dtype == values.dtype.name == "int16"
    assert (values == np.concatenate([first, second])).all()
    assert valid.tolist() == [[False, True], [False, True]]


def test_the_colours_of_a_palette_can_be_stacked_and_chosen(tmp_path: Path) -> None:
    indices, height = np.array([[[0, 1]]], dtype=np.uint8), np.array([[[1.5, 2.5]]], dtype=np.float32)
    a, b = write_scene(tmp_path / "a.tif", indices), write_scene(tmp_path / "b.tif", height, names=("height",))
    with rasterio.open(a, "r+") as dataset:
        dataset.write_colormap(1, {0: (1, 2, 3), 1: (4, 5, 6)})
    values, _ = read(SceneSource((str(a), str(b)), ("blue", "height", "1")))
    assert values.tolist() == [[[3.0, 6.0]], [[1.5, 2.5]], [[1.0, 4.0]]]


@pytest.mark.parametrize(
    ("profile", "difference"),
    [
        ({"width": 3}, "2 x 2 px and 3 x 2 px"),
        ({"crs": "EPSG:32633"}, "EPSG:32632 and EPSG:32633"),
        ({"transform": GRID * Affine.translation(0.5, 0)}, r"2 x -2 at \(500000, 5000000\) and .*\(500001, 5000000\)"),
    ],
)
def test_files_on_different_grids_are_not_stacked(tmp_path: Path, profile: dict[str, object], difference: str) -> None:
    width = int(str(profile.pop("width", 2)))
    a = write_scene(tmp_path / "a.tif", numbered(1, 2, 2))
    b = write_scene(tmp_path / "b.tif", numbered(1, 2, width), **profile)
    with pytest.raises(SceneError, match=rf"a.tif and .*b.tif are not on the same grid: .*{difference}"):
        Scene.open(a, b)


def test_a_source_can_be_sent_and_opened_elsewhere(tmp_path: Path) -> None:
    source = stack(tmp_path, numbered(2, 3, 3))
    sent = pickle.loads(pickle.dumps(source))
    assert sent == source
    assert (read(sent)[0] == read(source)[0]).all()


def test_outputs_are_named_after_the_scene() -> None:
    stems = {
        "folder/scene.tif": "scene",
        "https://host/a/scene.tif?token=x/y.z": "scene",
        "/vsis3/bucket/scene.tif": "scene",
        "50%?.tif": "50%?",
    }
    assert {path: SceneSource((path,)).stem for path in stems} == stems


def test_a_source_needs_files_and_bands_need_names() -> None:
    for paths, bands in [((), None), (("a.tif",), ()), (("a.tif",), ("1", " "))]:
        with pytest.raises(UsageError):
            SceneSource(paths, bands)


def test_names_that_a_network_knows_are_selected(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", numbered(4, 2, 2), names=("Blue", "Green", "Red", "NIR"))
    with Scene.open(path) as scene:
        bands = scene.info.bands
    assert select_bands(bands, ("red", "green", "blue")) == ("Red", "Green", "Blue")
    assert select_bands(bands, ("blue", "green", "red", "nir")) is None  # just these, in this order
    assert select_bands(bands, ("red", "swir")) is None


@pytest.mark.parametrize("names", [("band_1", "band_2"), ("Band 1", "Band 2"), ("1", "2"), ("red", "red")])
def test_numbers_and_repeated_names_select_nothing(tmp_path: Path, names: tuple[str, str]) -> None:
    path = write_scene(tmp_path / "a.tif", numbered(3, 2, 2), names=(*names, "red"))
    with Scene.open(path) as scene:
        assert select_bands(scene.info.bands, names[::-1]) is None


AWKWARD = ("cog_gcps.tif", "cog_rgb_mask.tif", "alpha.tif", "image_nan.tif", "rotated.tif", "inverted_lat.tif")


@pytest.mark.parametrize("name", AWKWARD)
def test_threads_with_their_own_handles_read_the_same(real_files: Path, name: str) -> None:
    source = SceneSource((str(real_files / "rasters" / name),))
    values, valid = read(source)
    windows = strips(*valid.shape, 37)

    def read_one(window: Window) -> tuple[np.ndarray, np.ndarray]:
        with source.open() as scene:
            return scene.read(window)

    with ThreadPoolExecutor(4) as pool:
        for window, (part, mask) in zip(windows, pool.map(read_one, windows), strict=True):
            rows = slice(window.row_off, window.row_off + window.height)
            assert np.array_equal(part, values[:, rows], equal_nan=part.dtype.kind == "f")
            assert (mask == valid[rows]).all()


def test_every_awkward_raster_has_the_mask_that_gdal_tells(real_files: Path) -> None:
    paths = [path for path in sorted((real_files / "rasters").iterdir()) if path.suffix in (".tif", ".jpg")]
    compared = 0
    for path in paths:
        if path.name in ("corrupt.tif", "cog_gcps.tif"):  # damaged; rectified
            continue
        values, valid = read(SceneSource((str(path),), expand_palette=False))
        with rasterio.open(path) as dataset:
            bands = dataset.read()[: len(values)] if path.name != "RGBA.uint16.tif" else dataset.read([1, 2, 3])
            told = (dataset.read_masks()[: len(values)] > 0).all(axis=0)
        assert np.array_equal(values, bands, equal_nan=values.dtype.kind == "f")
        finite = np.isfinite(bands).all(axis=0)
        assert (valid == (told & finite)).all(), path.name
        compared += 1
    assert compared == len(paths) - 2 == 20


def test_the_files_behind_a_mosaic_belong_to_the_scene(real_files: Path) -> None:
    found = local_files(real_files / "rasters" / "RGB.byte.rpc.vrt")
    assert [path.name for path in found if ".aux" not in path.name] == ["RGB.byte.rpc.vrt", "RGB.byte.tif"]
