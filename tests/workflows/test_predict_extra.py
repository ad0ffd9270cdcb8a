"""Networks that were trained with extra rasters, such as elevation, ask for them and use them.

Covers ``prediction/fitting``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from made_scenes import write_labels, write_scene

from satseg.backend import create_model
from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.errors import CheckpointError, OutputError, SceneError, UsageError
from satseg.evaluation.settings import EvaluateSettings
from satseg.prediction.settings import PredictionSettings
from satseg.raster.source import SceneSource
from satseg.records import BandSpec, BandStatistics
from satseg.tiles.tileset import TileSet
from satseg.tiling.settings import TileSettings
from satseg.training.settings import TrainSettings
from satseg.workflows.evaluate import evaluate
from satseg.workflows.predict import predict, predict_scenes
from satseg.workflows.tile import tile
from satseg.workflows.train import train

SETTINGS: dict[str, Any] = {"window": 64, "overlap": 16, "threads": 1, "precision": "fp32"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of two bands of a scene and elevation, with random weights."""
    card = ModelCard(
        arch="erfnet",
        classes=ClassTable.from_names(["background", "roof"]),
        bands=BandSpec(("red", "nir", "ndsm"), "float32", (1.0,) * 3, (0.0,) * 3, extra=1),
        statistics=BandStatistics(9, (120.0, 120.0, 5.0), (60.0, 60.0, 5.0), (0.0, 0.0, 0.0), (255.0, 255.0, 30.0)),
        gsd=(0.5, 0.5),
        tile_size=64,
    )
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "best.safetensors"
    save_checkpoint(path, create_model("erfnet", in_channels=3, num_classes=2).state_dict(), card)
    return path


@pytest.fixture
def values() -> np.ndarray:
    """Red, near infrared and elevation, (3, 70, 90)."""
    rng = np.random.default_rng(0)
    heights = np.kron(rng.uniform(0, 15, (7, 9)), np.ones((10, 10)))
    return np.stack([*rng.integers(1, 255, (2, 70, 90)), heights]).astype(np.float32)


@pytest.fixture
def scene(tmp_path: Path, values: np.ndarray) -> Path:
    return named(write_scene(tmp_path / "town.tif", values[:2].astype(np.uint8)), "red", "nir")


@pytest.fixture
def elevation(tmp_path: Path, values: np.ndarray) -> Path:
    return write_scene(tmp_path / "lidar.tif", values[2:])


def named(path: Path, *names: str) -> Path:
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = names
    return path


def classes_of(scene: Path | SceneSource, model: Path, output: Path, **settings: Any) -> np.ndarray:
    predict(scene, output=output, model=model, settings=PredictionSettings(**SETTINGS, **settings))
    return read(output)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        classes: np.ndarray = dataset.read(1)
    return classes


def test_an_extra_raster_counts_as_the_last_band_under_any_name(
    tmp_path: Path, scene: Path, elevation: Path, model: Path, values: np.ndarray
) -> None:
    stacked = named(write_scene(tmp_path / "all.tif", values), "red", "nir", "ndsm")
    expected = classes_of(stacked, model, tmp_path / "a.tif")
    assert len(np.unique(expected)) == 2
    assert (classes_of(scene, model, tmp_path / "b.tif", extra=elevation) == expected).all()


def test_bands_of_the_scene_are_still_found_by_name(
    tmp_path: Path, scene: Path, elevation: Path, model: Path, values: np.ndarray
) -> None:
    expected = classes_of(scene, model, tmp_path / "a.tif", extra=elevation)
    more = np.stack([values[1], 255 - values[0], values[0]]).astype(np.uint8)
    other = named(write_scene(tmp_path / "more.tif", more), "nir", "green", "red")
    assert (classes_of(other, model, tmp_path / "b.tif", extra=elevation) == expected).all()


def test_the_map_follows_the_elevation(
    tmp_path: Path, scene: Path, elevation: Path, model: Path, values: np.ndarray
) -> None:
    flat = write_scene(tmp_path / "flat.tif", np.full_like(values[2:], 5))
    before = classes_of(scene, model, tmp_path / "a.tif", extra=elevation)
    assert (classes_of(scene, model, tmp_path / "b.tif", extra=flat) != before).mean() > 0.02


def test_where_an_extra_raster_has_no_data_the_map_has_none(
    tmp_path: Path, scene: Path, model: Path, values: np.ndarray
) -> None:
    heights = values[2:].copy()
    heights[0, 20:40, 30:50] = -9999
    file = write_scene(tmp_path / "dsm.tif", heights, nodata=-9999)
    assert ((classes_of(scene, model, tmp_path / "a.tif", extra=file) == 255) == (heights[0] == -9999)).all()


def test_a_missing_extra_raster_is_asked_for_by_name(tmp_path: Path, scene: Path, model: Path) -> None:
    with pytest.raises(CheckpointError, match=r"was trained with the extra band 'ndsm', which .*town\.tif") as caught:
        classes_of(scene, model, tmp_path / "a.tif")
    assert "extra='ndsm.tif'" in str(caught.value.hint)
    assert not (tmp_path / "a.tif").exists()


def test_another_number_of_extra_bands_is_refused(tmp_path: Path, scene: Path, elevation: Path, model: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is given the extra bands lidar, lidar, but .* the extra band 'ndsm'"):
        classes_of(scene, model, tmp_path / "a.tif", extra=[elevation, elevation])


def test_extra_rasters_in_another_order_are_refused(
    tmp_path: Path, scene: Path, elevation: Path, model: Path, values: np.ndarray
) -> None:
    checkpoint = Checkpoint.load(model)
    bands = BandSpec(("red", "lidar", "slope"), "float32", (1.0,) * 3, (0.0,) * 3, extra=2)
    card = ModelCard(**{**vars(checkpoint.card), "bands": bands})
    save_checkpoint(tmp_path / "two.safetensors", checkpoint.read_weights(), card)
    slope = write_scene(tmp_path / "slope.tif", values[2:] / 10)
    with pytest.raises(CheckpointError, match=r"slope, lidar, but .* trained with the extra bands lidar, slope"):
        classes_of(scene, tmp_path / "two.safetensors", tmp_path / "a.tif", bands="red", extra=[slope, elevation])


def test_a_network_without_extra_rasters_takes_none(tmp_path: Path, scene: Path, elevation: Path, model: Path) -> None:
    checkpoint = Checkpoint.load(model)
    bands = BandSpec(("red", "nir", "green"), "uint8", (1.0,) * 3, (0.0,) * 3)
    save_checkpoint(
        tmp_path / "plain.safetensors",
        checkpoint.read_weights(),
        ModelCard(**{**vars(checkpoint.card), "bands": bands}),
    )
    with pytest.raises(CheckpointError, match=r"given the extra bands lidar, lidar, lidar, but .* 3 bands in all"):
        classes_of(scene, tmp_path / "plain.safetensors", tmp_path / "a.tif", extra=[elevation] * 3)


def test_each_scene_has_its_own_raster_by_its_name(
    tmp_path: Path, scene: Path, elevation: Path, model: Path, values: np.ndarray
) -> None:
    (tmp_path / "ndsm").mkdir()
    other = named(write_scene(tmp_path / "village.tif", values[:2].astype(np.uint8)), "red", "nir")
    write_scene(tmp_path / "ndsm" / "town.tif", values[2:])
    write_scene(tmp_path / "ndsm" / "village.tif", np.full_like(values[2:], 5))
    settings = PredictionSettings(**SETTINGS, extra=tmp_path / "ndsm" / "{stem}.tif")
    for _ in predict_scenes([scene, other], output=tmp_path / "{stem}_map.tif", model=model, settings=settings):
        pass
    assert (read(tmp_path / "town_map.tif") == classes_of(scene, model, tmp_path / "a.tif", extra=elevation)).all()
    assert (read(tmp_path / "village_map.tif") != read(tmp_path / "town_map.tif")).any()


def test_a_raster_that_is_missing_for_one_scene_is_named(tmp_path: Path, scene: Path, model: Path) -> None:
    with pytest.raises(SceneError, match=r"ndsm.town\.tif cannot be opened"):
        classes_of(scene, model, tmp_path / "a.tif", extra=tmp_path / "ndsm" / "{stem}.tif")


def test_resuming_notices_another_raster(
    tmp_path: Path, scene: Path, elevation: Path, model: Path, values: np.ndarray
) -> None:
    classes_of(scene, model, tmp_path / "a.tif", extra=elevation)
    resumed = PredictionSettings(**SETTINGS, extra=elevation, resume=True)
    assert predict(scene, output=tmp_path / "a.tif", model=model, settings=resumed) is None
    write_scene(elevation, values[2:] + 1)
    with pytest.raises(OutputError, match="the extra rasters were other ones, or have changed"):
        predict(scene, output=tmp_path / "a.tif", model=model, settings=resumed)


def test_an_extra_raster_is_not_written_over(scene: Path, elevation: Path, model: Path) -> None:
    with pytest.raises(UsageError, match="lidar"):
        classes_of(scene, model, elevation, extra=elevation)


def test_evaluation_takes_the_same_rasters(tmp_path: Path, scene: Path, elevation: Path, model: Path) -> None:
    labels = write_labels(tmp_path / "roofs.gpkg", (10, 10, 50, 60))
    with pytest.raises(CheckpointError, match="extra band 'ndsm'"):
        evaluate(model, scene, labels=labels, settings=EvaluateSettings(threads=1))
    classes_of(scene, model, tmp_path / "a.tif", extra=elevation)
    options: dict[str, Any] = {"pixels_only": True, "bootstrap": 0}
    found = evaluate(model, scene, labels=labels, settings=EvaluateSettings(**options, **SETTINGS, extra=elevation))
    expected = evaluate(tmp_path / "a.tif", labels=labels, settings=EvaluateSettings(**options))
    assert found.mean_iou == pytest.approx(expected.mean_iou, abs=1e-12)


def test_training_remembers_which_bands_were_extra(
    tmp_path: Path, scene: Path, elevation: Path, values: np.ndarray
) -> None:
    labels = write_labels(tmp_path / "roofs.gpkg", (10, 10, 50, 60))
    cut = TileSettings(extra=elevation, size=32, overlap=0, split=(0.5, 0.5, 0), block=32, buffer=0)
    tile(scene, labels=labels, output=tmp_path / "tiles", settings=cut)
    assert TileSet.open(tmp_path / "tiles").bands.extra_names == ("lidar",)
    learn = TrainSettings(arch="espnet", steps=1, batch_size=2, threads=1, device="cpu", pictures=False)
    run = train(tmp_path / "tiles", output=tmp_path / "run", settings=learn)
    assert Checkpoint.load(run.best).card.bands.extra_names == ("lidar",)
    with pytest.raises(CheckpointError, match="extra band 'lidar'"):
        classes_of(scene, run.best, tmp_path / "a.tif")


def test_maps_and_tiles_take_no_extra_raster(elevation: Path, model: Path) -> None:
    with pytest.raises(UsageError, match="`extra` needs a checkpoint and scenes"):
        evaluate(model, "tiles", settings=EvaluateSettings(extra=elevation))
