"""What users have instead of a plain GeoTIFF like those of the training gives the same map."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
from ranged_server import RangedServer
from scene_files import GRID, block_spans, write_mosaic, write_scene

from satseg.backend import create_model
from satseg.checkpoint import ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.errors import CheckpointError
from satseg.prediction.settings import PredictionSettings
from satseg.raster.source import SceneSource
from satseg.records import BandSpec, BandStatistics
from satseg.workflows.predict import predict

SETTINGS = PredictionSettings(window=64, batch_size=2, threads=1, precision="fp32", gsd="scene")
BANDS = BandSpec(("red", "nir"), "uint16", (0.25, 0.25), (0.0, 0.0))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "best.safetensors"
    card = ModelCard(
        arch="erfnet",
        classes=ClassTable.from_names(["background", "wood", "lake"]),
        bands=BANDS,
        statistics=BandStatistics(9, (1024.0, 2048.0), (512.0, 512.0), (0.0, 0.0), (4095.0, 4095.0)),
        gsd=(2.0, 2.0),
        tile_size=64,
    )
    torch.manual_seed(1)
    save_checkpoint(path, create_model("erfnet", in_channels=2, num_classes=3).state_dict(), card)
    return path


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """Raw values of red and nir like those of the training, all of them valid."""
    means = np.array([1024, 2048]).reshape(2, 1, 1)
    return np.random.default_rng(0).normal(means, 400, (2, 96, 130)).clip(1, 4095).astype(np.uint16)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, values: np.ndarray) -> np.ndarray:
    folder = tmp_path_factory.mktemp("plain")
    classes = class_map(plain_scene(folder / "scene.tif", values), checkpoint)
    assert len(np.unique(classes)) > 1
    return classes


def plain_scene(path: Path, values: np.ndarray, **profile: object) -> Path:
    return described(write_scene(path, values, names=BANDS.names, **profile), BANDS.scales, BANDS.offsets)


def described(path: Path, scales: tuple[float, ...], offsets: tuple[float, ...]) -> Path:
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = scales, offsets
    return path


def class_map(scene: Path | str | SceneSource, checkpoint: Path, **settings: object) -> np.ndarray:
    output = checkpoint.parent / "map.tif"
    predict(scene, output=output, model=checkpoint, settings=replace(SETTINGS, **settings))  # type: ignore[arg-type]
    with rasterio.open(output) as dataset:
        classes: np.ndarray = dataset.read(1)
    return classes


def test_bands_are_found_by_the_names_of_the_training(
    tmp_path: Path, checkpoint: Path, values: np.ndarray, expected: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    bands = np.stack([np.full_like(values[0], 7), values[1], values[0]])
    path = write_scene(tmp_path / "scene.tif", bands, names=("blue", "NIR", "Red"))
    with caplog.at_level(logging.INFO, logger="satseg"):
        assert (class_map(described(path, (0.25,) * 3, (0.0,) * 3), checkpoint) == expected).all()
    assert "Taking the bands Red, NIR of" in caplog.text


def test_bands_that_are_asked_for_may_have_any_name(
    tmp_path: Path, checkpoint: Path, values: np.ndarray, expected: np.ndarray
) -> None:
    bands = np.stack([values[1], values[0], values[0]])
    path = described(write_scene(tmp_path / "s.tif", bands, names=("B08", "B04", "B03")), (0.25,) * 3, (0.0,) * 3)
    assert (class_map(path, checkpoint, bands=("2", "b08")) == expected).all()
    with pytest.raises(CheckpointError, match="it has 3 bands, but the network was trained on 2") as caught:
        class_map(path, checkpoint)
    assert "`bands`" in str(caught.value.hint)


def test_values_of_another_offset_and_type_are_converted(
    tmp_path: Path, checkpoint: Path, values: np.ndarray, expected: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    shifted = described(write_scene(tmp_path / "a.tif", (values + 64).astype(np.int32)), (0.25,) * 2, (-16.0,) * 2)
    halves = described(write_scene(tmp_path / "b.tif", (values / 2).astype(np.float32)), (0.5,) * 2, (0.0,) * 2)
    with caplog.at_level(logging.INFO, logger="satseg"):
        for path in (shifted, halves):
            assert (class_map(path, checkpoint) == expected).all()
            assert (
                f"{path} has another scale or offset than the training scenes: its values are converted" in caplog.text
            )
    assert "unlike" not in caplog.text


def test_a_scale_that_is_not_stated_is_not_guessed(tmp_path: Path, checkpoint: Path, values: np.ndarray) -> None:
    path = write_scene(tmp_path / "a.tif", values)
    with pytest.raises(
        CheckpointError, match=r"it has no scale and offset, but the training scenes had scale 0.25"
    ) as caught:
        class_map(path, checkpoint)
    assert "gdal_edit" in str(caught.value.hint)


def test_a_stack_of_files_maps_like_one(
    tmp_path: Path, checkpoint: Path, values: np.ndarray, expected: np.ndarray
) -> None:
    files = [
        described(write_scene(tmp_path / f"S2_{name}.tif", band[None]), (0.25,), (0.0,))
        for name, band in zip(("nir", "red"), values[::-1], strict=True)
    ]
    assert (class_map(SceneSource(tuple(map(str, files))), checkpoint) == expected).all()


def test_a_remote_mosaic_maps_like_one_file(
    ranged_server: RangedServer, checkpoint: Path, values: np.ndarray, expected: np.ndarray
) -> None:
    left = plain_scene(ranged_server.folder / "left.tif", values[:, :, :70])
    right = plain_scene(ranged_server.folder / "right.tif", values[:, :, 70:], transform=GRID * GRID.translation(70, 0))
    sources = [(f"/vsicurl/{ranged_server.url(file.name)}", file) for file in (left, right)]
    mosaic = described(write_mosaic(ranged_server.folder / "m.vrt", sources), BANDS.scales, BANDS.offsets)
    url = ranged_server.url(mosaic.name)
    assert (class_map(url, checkpoint) == expected).all()
    for file in (left, right):
        assert ranged_server.times_fetched(file.name).max() == 1


def test_nothing_is_fetched_beside_the_area_of_interest(
    ranged_server: RangedServer, tmp_path: Path, checkpoint: Path
) -> None:
    bands = np.random.default_rng(0).integers(500, 3000, (2, 1024, 128)).astype(np.uint16)
    path = plain_scene(ranged_server.folder / "scene.tif", bands, tiled=True, blockxsize=128, blockysize=128)
    foot = shapely.Polygon([GRID * corner for corner in [(5, 900), (90, 900), (90, 1000), (5, 1000)]])
    geopandas.GeoSeries([foot], crs="EPSG:32632").to_crs("EPSG:4326").to_file(tmp_path / "area.geojson")
    classes = class_map(ranged_server.url("scene.tif"), checkpoint, aoi=str(tmp_path / "area.geojson"))
    inside = np.zeros(classes.shape, dtype=bool)
    inside[900:1000, 5:90] = True
    assert ((classes != 255) == inside).all()
    times = ranged_server.times_fetched("scene.tif")
    fetched = [bool(times[start:stop].min()) for start, stop in block_spans(path)]
    assert fetched == [False] * 6 + [True] * 2
    assert times.max() == 1
