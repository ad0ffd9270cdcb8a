"""Networks learn objects beside classes, by their edges or their centres: a checkpoint tells of its further outputs."""

from __future__ import annotations

import shutil
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
from training_runs import interrupt_after, run, weights
from typer.testing import CliRunner

from satseg.checkpoint import Checkpoint
from satseg.cli.app import app
from satseg.errors import TileError, TrainingError, UsageError
from satseg.evaluation.settings import EvaluateSettings
from satseg.objects import ObjectOutputs
from satseg.prediction.settings import PredictionSettings
from satseg.tiles.tileset import INDEX
from satseg.tiling.settings import TileSettings
from satseg.workflows.evaluate import evaluate
from satseg.workflows.predict import predict
from satseg.workflows.tile import tile

STEPS = 4


@pytest.fixture(scope="module")
def objects(bright_scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bright squares of the scene as objects, many of which touch, in tiles of 64 px."""
    with rasterio.open(bright_scene.with_name("labels.tif")) as dataset:
        bright, grid = dataset.read(1)[::16, ::16], dataset.transform
    squares = [(16 * col, 16 * row) for row, col in np.argwhere(bright)]
    shapes = [shapely.box(*(grid * (left, top + 16)), *(grid * (left + 16, top))) for left, top in squares]
    folder = tmp_path_factory.mktemp("objects")
    geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:32645").to_file(folder / "squares.gpkg")
    settings = TileSettings(size=64, overlap=0, block=64, split=(4, 1, 1), objects=True)
    tile([bright_scene], labels=folder / "squares.gpkg", output=folder / "tiles", settings=settings)
    return folder / "tiles"


@pytest.fixture(scope="module")
def learnt(objects: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("learnt") / "run"
    run(objects, output, steps=STEPS)
    return output


def test_a_network_has_two_more_outputs_and_says_so(learnt: Path) -> None:
    checkpoint = Checkpoint.load(learnt)
    assert checkpoint.card.objects
    assert checkpoint.card.training["objects"] is True
    assert checkpoint.card.outputs == len(checkpoint.card.classes) + 2
    assert checkpoint.build_model()(torch.zeros(1, 2, 64, 64)).shape == (1, 4, 64, 64)
    shown = CliRunner().invoke(app, ["info", str(learnt / "best.safetensors")])
    assert "inner boundaries and distances to edges" in shown.output


def test_it_brings_the_size_of_the_smallest_object(learnt: Path) -> None:
    """The squares of 16 x 16 px are all of one size."""
    card = Checkpoint.load(learnt).card
    assert card.gsd is not None
    area = float(str(card.division["min_area"]).removesuffix("m2"))
    assert area == pytest.approx(256 * card.gsd[0] * card.gsd[1], rel=2e-3)
    assert area < 256 * card.gsd[0] * card.gsd[1]
    shown = CliRunner().invoke(app, ["info", str(learnt / "best.safetensors")])
    assert f"min_area {area:g}m2" in shown.output.replace("=", " ")


def test_its_outputs_learn_boundaries_and_distances(objects: Path, tmp_path: Path) -> None:
    """After a while, edges of squares have more boundary and less distance than their middles."""
    run(objects, tmp_path / "run", steps=60, augment="none", lr=3e-3)
    checkpoint = Checkpoint.load(tmp_path / "run" / "last.safetensors")
    model = checkpoint.build_model()
    bands = torch.full((1, 2, 96, 96), -0.7)
    bands[:, :, 32:48, 32:48] = 1.5
    with torch.inference_mode():
        boundary, distance = model(bands)[0, 2:].sigmoid()
    rim = torch.zeros(96, 96, dtype=torch.bool)
    rim[32:48, 32:48] = True
    rim[35:45, 35:45] = False
    middle = slice(38, 42), slice(38, 42)
    assert boundary[rim].mean() > boundary[middle].mean() + 0.1
    assert distance[middle].mean() > distance[rim].mean() + 0.1
    assert distance[middle].mean() > distance[:24, :24].mean() + 0.1


def test_an_interrupted_run_ends_with_the_bytes_of_an_unbroken_one(objects: Path, learnt: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(objects, tmp_path / "run", steps=STEPS, progress=interrupt_after(2))
    run(objects, tmp_path / "run", steps=STEPS, resume=True)
    assert weights(tmp_path / "run") == weights(learnt)
    with pytest.raises(TrainingError, match=r"was started with `objects=True`, not no `objects`"):
        run(objects, tmp_path / "run", steps=STEPS, resume=True, objects=False)


def test_without_objects_the_network_is_that_of_a_tile_set_without(
    objects: Path, bright_scene: Path, tmp_path: Path
) -> None:
    settings = TileSettings(size=64, overlap=0, block=64, split=(4, 1, 1))
    tile([bright_scene], labels=objects.parent / "squares.gpkg", output=tmp_path / "plain", settings=settings)
    run(tmp_path / "plain", tmp_path / "one", steps=STEPS)
    run(objects, tmp_path / "other", steps=STEPS, objects=False)
    assert weights(tmp_path / "one") == weights(tmp_path / "other")
    assert rb"\"objects\": true" not in weights(tmp_path / "one")["best"]


def test_the_map_of_classes_is_decided_by_classes_alone(learnt: Path, bright_scene: Path, tmp_path: Path) -> None:
    settings = PredictionSettings(threads=1, window=64)
    predict(bright_scene, output=tmp_path / "map.tif", model=learnt, settings=settings)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert set(np.unique(dataset.read(1))) <= {0, 1, 255}


def test_a_tile_set_without_objects_cannot_teach_them(bright_tiles: Path, tmp_path: Path) -> None:
    with pytest.raises(TileError, match="keeps no objects, so that they cannot be learnt"):
        run(bright_tiles, tmp_path / "run", objects=True)
    with pytest.raises(UsageError, match="has a term boundary, but the network learns no objects"):
        run(bright_tiles, tmp_path / "run", loss="ce + boundary")
    assert not (tmp_path / "run").exists()


def test_train_tiles_without_objects_are_refused_by_name(objects: Path, tmp_path: Path) -> None:
    shutil.copytree(objects, tmp_path / "tiles")
    index = geopandas.read_parquet(tmp_path / "tiles" / INDEX)
    row = index.index[index["split"] == "train"][1]
    index.loc[row, "objects"] = None
    index.to_parquet(tmp_path / "tiles" / INDEX)
    with pytest.raises(TileError, match=rf"names no objects of 1 tiles, such as {index.loc[row, 'tile']}\."):
        run(tmp_path / "tiles", tmp_path / "run")
    assert not (tmp_path / "run").exists()


CENTRES = {"arch": "panoptic_deeplab", "encoder": "resnet18", "steps": STEPS}


@pytest.fixture(scope="module")
def by_centres(objects: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("by_centres") / "run"
    run(objects, output, **CENTRES)
    return output


def test_a_network_with_a_branch_of_its_own_learns_centres_and_says_so(by_centres: Path) -> None:
    checkpoint = Checkpoint.load(by_centres)
    assert checkpoint.card.object_outputs is ObjectOutputs.CENTRES
    assert checkpoint.card.outputs == len(checkpoint.card.classes) + 3
    assert rb"\"object_outputs\": \"centres\", \"objects\": true" in weights(by_centres)["best"]
    assert checkpoint.build_model()(torch.zeros(1, 2, 64, 64)).shape == (1, 5, 64, 64)
    shown = CliRunner().invoke(app, ["info", str(by_centres / "best.safetensors")])
    assert "centres and offsets to them are learnt" in shown.output


def test_an_interrupted_run_that_learns_centres_ends_with_the_bytes_of_an_unbroken_one(
    objects: Path, by_centres: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(objects, tmp_path / "run", **CENTRES, progress=interrupt_after(2))
    run(objects, tmp_path / "run", **CENTRES, resume=True)
    assert weights(tmp_path / "run") == weights(by_centres)


def test_centres_are_mapped_and_scored_and_their_losses_are_its_own(
    objects: Path, by_centres: Path, bright_scene: Path, tmp_path: Path
) -> None:
    settings = PredictionSettings(threads=1, window=64, objects=True)
    predict(bright_scene, output=[tmp_path / "ids.tif", tmp_path / "a.gpkg"], model=by_centres, settings=settings)
    with rasterio.open(tmp_path / "ids.tif") as dataset:
        assert dataset.dtypes == ("int32",)
    scored = EvaluateSettings(objects=True, bootstrap=0, threads=1)
    assert 0 <= evaluate(by_centres / "best.safetensors", [objects], settings=scored).mean_iou <= 1
    with pytest.raises(UsageError, match=r"has a term boundary, .* learns centre and offset"):
        run(objects, tmp_path / "run", **CENTRES, loss="ce + boundary")
    with pytest.raises(UsageError, match="`arch_options` has objects, which follows from the tile set"):
        run(objects, tmp_path / "run", arch="panoptic_deeplab", arch_options={"objects": False})


@pytest.mark.parametrize("augment", ["none", "strong"])
def test_its_branch_learns_where_centres_are(objects: Path, tmp_path: Path, augment: str) -> None:
    run(objects, tmp_path / "run", **CENTRES | {"steps": 40}, augment=augment, lr=3e-3)
    model = Checkpoint.load(tmp_path / "run" / "last.safetensors").build_model()
    bands = torch.full((1, 2, 96, 96), -0.7)
    bands[:, :, 32:48, 32:48] = 1.5
    with torch.inference_mode():
        heat, rows, columns = model(bands)[0, 2:]
    assert heat[38:42, 38:42].mean() > heat[:16, :16].mean() + 0.1
    assert rows[33:35, 36:44].mean() > rows[45:47, 36:44].mean()
    assert columns[36:44, 33:35].mean() > columns[36:44, 45:47].mean()
