"""Sheets that are mapped as a mosaic give the map of one GeoTIFF that holds the same pixels, to the byte."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from rasterio.enums import ColorInterp
from scene_files import GRID, block_spans, write_scene

from satseg.backend import create_model
from satseg.checkpoint import ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.errors import OutputError, SceneError, UsageError
from satseg.prediction.settings import OutputNames, PredictionSettings
from satseg.raster.source import SceneSource
from satseg.records import BandSpec, BandStatistics
from satseg.workflows.predict import dry_run_scenes, predict, predict_scenes

SETTINGS = PredictionSettings(window=64, overlap=16, batch_size=2, threads=1, precision="fp32", gsd="scene")
MOSAIC = replace(SETTINGS, mosaic=True)
# left, top, right, bottom of 3 x 2 sheets: the second one overlaps the first and the fifth, the last leaves a gap.
PLACES = (
    (0, 0, 60, 70),
    (50, 0, 110, 80),
    (110, 0, 160, 70),
    (0, 70, 50, 130),
    (50, 70, 110, 130),
    (120, 75, 160, 130),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "best.safetensors"
    card = ModelCard(
        arch="erfnet",
        classes=ClassTable.from_names(["background", "wood", "lake"]),
        bands=BandSpec(("band_1", "band_2"), "uint16", (1.0, 1.0), (0.0, 0.0)),
        statistics=BandStatistics(9, (1024.0, 2048.0), (512.0, 512.0), (0.0, 0.0), (4095.0, 4095.0)),
        gsd=(2.0, 2.0),
        tile_size=64,
    )
    torch.manual_seed(1)
    save_checkpoint(path, create_model("erfnet", in_channels=2, num_classes=3).state_dict(), card)
    return path


@pytest.fixture(scope="module")
def layers() -> np.ndarray:
    """Values of each sheet on the whole grid, (sheet, band, row, col): they differ where sheets overlap."""
    means = np.array([1024, 2048]).reshape(2, 1, 1)
    shape = (len(PLACES), 2, 130, 160)
    return np.random.default_rng(0).normal(means, 400, shape).clip(1, 4095).astype(np.uint16)


def write_sheets(folder: Path, layers: np.ndarray, **profile: object) -> list[Path]:
    sheets = []
    for number, (left, top, right, bottom) in enumerate(PLACES):
        path = folder / f"sheet_{number}.tif"
        transform = GRID * Affine.translation(left, top)
        sheets.append(write_scene(path, layers[number][:, top:bottom, left:right], transform=transform, **profile))
    return sheets


def pasted(layers: np.ndarray, voids: Sequence[np.ndarray | None] = (None,) * len(PLACES)) -> np.ndarray:
    """Return what sheets show together, 0 where nothing; voids are true where a sheet has no data, (row, col)."""
    whole = np.zeros_like(layers[0])
    for (left, top, right, bottom), values, void in zip(PLACES, layers, voids, strict=True):
        there = np.zeros(whole.shape[1:], bool)
        there[top:bottom, left:right] = True
        if void is not None:
            there &= ~void
        whole[:, there] = values[:, there]
    return whole


def map_of(scenes: object, folder: Path, model: Path, settings: PredictionSettings) -> tuple[Path, Path]:
    folder.mkdir()
    names = folder / "map.tif", folder / "map.gpkg"
    assert len(list(predict_scenes(scenes, output=names, model=model, settings=settings))) == 1  # type: ignore[arg-type]
    return names


def require_equal(one: tuple[Path, Path], other: tuple[Path, Path]) -> None:
    """Compare two maps, but for what they say of where they come from."""
    stored = [[path.read_bytes()[start:stop] for start, stop in block_spans(path)] for path, _ in (one, other)]
    assert stored[0] == stored[1]
    with rasterio.open(one[0]) as a, rasterio.open(other[0]) as b:
        assert a.profile == b.profile
        assert len(np.unique(a.read(1))) == 4  # three classes and no data
    a, b = (geopandas.read_file(path) for _, path in (one, other))
    assert (a.geometry.to_wkb() == b.geometry.to_wkb()).all()
    assert a.drop(columns=["geometry", "scene"]).equals(b.drop(columns=["geometry", "scene"]))


def test_sheets_map_like_one_file(tmp_path: Path, model: Path, layers: np.ndarray) -> None:
    whole = write_scene(tmp_path / "whole.tif", pasted(layers), nodata=0)
    expected = map_of(whole, tmp_path / "one", model, SETTINGS)
    found = map_of(write_sheets(tmp_path, layers), tmp_path / "many", model, MOSAIC)
    require_equal(found, expected)
    polygons = geopandas.read_file(found[1])
    border = shapely.LineString([GRID * (110, row) for row in (0, 70)])  # where the second and third sheet touch
    assert polygons.crosses(border).any()


def test_sheets_with_nodata_alpha_and_masks_map_like_one_file(tmp_path: Path, model: Path, layers: np.ndarray) -> None:
    sheets = write_sheets(tmp_path, layers)
    rng = np.random.default_rng(1)
    voids: list[np.ndarray | None] = [None] * len(PLACES)
    for number in (0, 1, 3, 4):
        void = np.kron(rng.random((13, 16)) < 0.2, np.ones((10, 10))) > 0
        left, top, right, bottom = PLACES[number]
        part, values = void[top:bottom, left:right], layers[number][:, top:bottom, left:right]
        place = {"transform": GRID * Affine.translation(left, top)}
        voids[number] = void
        if number == 0:
            write_scene(sheets[0], np.where(part, np.uint16(7), values), nodata=7, **place)
            voids[0] = void | (layers[0] == 7).any(axis=0)
        elif number == 1:
            write_scene(sheets[1], np.concatenate([values, 255 * (~part[None]).astype(np.uint16)]), **place)
            with rasterio.open(sheets[1], "r+") as dataset:
                dataset.colorinterp = (ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha)
        else:
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=number == 3), rasterio.open(sheets[number], "r+") as dataset:
                dataset.write_mask(~part)
    assert (tmp_path / "sheet_4.tif.msk").exists()
    whole = write_scene(tmp_path / "whole.tif", pasted(layers, voids), nodata=0)
    expected = map_of(whole, tmp_path / "one", model, SETTINGS)
    require_equal(map_of(sheets, tmp_path / "many", model, MOSAIC), expected)


def test_python_makes_a_scene_of_sheets(tmp_path: Path, model: Path, layers: np.ndarray) -> None:
    sheets = write_sheets(tmp_path, layers)
    found = map_of(iter(sheets), tmp_path / "setting", model, MOSAIC)
    summary = predict(
        SceneSource.from_sheets(sheets), output=tmp_path / "{stem}_map.tif", model=model, settings=SETTINGS
    )
    assert summary is not None
    assert summary.outputs == (str(tmp_path / "sheet_map.tif"),)
    assert summary.scene == f"{sheets[0]} (and 5 more sheets)"
    with rasterio.open(found[0]) as one, rasterio.open(summary.outputs[0]) as other:
        assert (one.read() == other.read()).all()
        assert other.tags()["SATSEG_COMMAND"].startswith(f"satseg predict --mosaic {sheets[0]} {sheets[1]} ")
        assert one.tags()["SATSEG_INPUTS"] == other.tags()["SATSEG_INPUTS"]


def test_a_finished_mosaic_is_resumed_unless_a_sheet_has_changed(
    tmp_path: Path, model: Path, layers: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    sheets = write_sheets(tmp_path, layers)
    map_tif, map_gpkg = map_of(sheets, tmp_path / "many", model, MOSAIC)
    before = map_tif.read_bytes()
    options = {"output": (map_tif, map_gpkg), "model": model}
    with caplog.at_level(logging.INFO, logger="satseg"):
        assert list(predict_scenes(sheets, settings=replace(MOSAIC, resume=True), **options)) == []
        assert list(predict_scenes(sheets, settings=replace(MOSAIC, skip_existing=True), **options)) == []
    assert "is finished already" in caplog.text
    assert map_tif.read_bytes() == before
    write_scene(sheets[5], layers[0][:, 75:130, 120:160], transform=GRID * Affine.translation(120, 75))
    with pytest.raises(OutputError, match="the scene was another one, or has changed"):
        list(predict_scenes(sheets, settings=replace(MOSAIC, resume=True), **options))


def test_a_layer_of_many_scenes_is_no_mosaic_to_resume(tmp_path: Path, model: Path, layers: np.ndarray) -> None:
    sheets = write_sheets(tmp_path, layers)[:2]
    assert len(list(predict_scenes(sheets, output=tmp_path / "all.gpkg", model=model, settings=SETTINGS))) == 2
    with pytest.raises(OutputError, match=r"the options were .*, now they are --mosaic"):
        settings = replace(MOSAIC, resume=True)
        list(predict_scenes(sheets, output=tmp_path / "all.gpkg", model=model, settings=settings))


def test_an_area_of_interest_reaches_across_sheets(tmp_path: Path, model: Path, layers: np.ndarray) -> None:
    area = shapely.box(*(GRID * (90, 60)), *(GRID * (130, 20)))
    geopandas.GeoSeries([area], crs="EPSG:32632").to_file(tmp_path / "area.gpkg")
    settings = replace(MOSAIC, aoi=str(tmp_path / "area.gpkg"))
    found, _ = map_of(write_sheets(tmp_path, layers), tmp_path / "many", model, settings)
    with rasterio.open(found) as dataset:
        there = dataset.read(1) != 255
    inside = np.zeros_like(there)
    inside[20:60, 90:130] = True
    assert (there == inside).all()


def test_a_project_shows_all_sheets_below_the_map(tmp_path: Path, model: Path, layers: np.ndarray) -> None:
    names = OutputNames(output=tmp_path / "map.tif", project=tmp_path / "map.qgs")
    sheets = write_sheets(tmp_path, layers)
    assert len(list(predict_scenes(sheets, output=names, model=model, settings=MOSAIC))) == 1
    text = (tmp_path / "map.qgs").read_text()
    assert all(f"{path.name}</datasource>" in text for path in [*sheets, tmp_path / "map.tif"])
    before, _, inside = text.partition('<layer-tree-group name="Sheets"')
    assert 'name="Classes"' in before
    assert inside.partition("</layer-tree-group>")[0].count('name="sheet_') == len(sheets)


def test_a_dry_run_is_of_the_whole_mosaic(tmp_path: Path, model: Path, layers: np.ndarray) -> None:
    sheets = write_sheets(tmp_path, layers)
    (found,) = dry_run_scenes(sheets, output=tmp_path / "map.tif", model=model, settings=MOSAIC)
    assert (found.width, found.height) == (160, 130)


def test_sheets_are_checked_by_the_call_itself(tmp_path: Path, model: Path, layers: np.ndarray) -> None:
    sheets = write_sheets(tmp_path, layers)
    write_scene(sheets[4], layers[4], crs="EPSG:32633")
    with pytest.raises(SceneError, match=r"sheet_4.tif is in EPSG:32633, but .*sheet_0.tif is in EPSG:32632"):
        predict_scenes(sheets, output=tmp_path / "map.tif", model=model, settings=MOSAIC)
    with pytest.raises(UsageError, match="is also an input"):
        predict_scenes(sheets[:4], output=sheets[2], model=model, settings=MOSAIC)
