"""Maps of objects that a network finds by their centres: offsets come from the window whose centre is nearest.

Covers ``prediction/scene_run``, ``prediction/job``, ``prediction/map_layers`` and ``vectorization/object_division``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from made_scenes import write_scene
from object_oracle import assert_interruption_changes_nothing, centre_bands, row_houses, write_centre_oracle, written_in
from typer.testing import CliRunner

from satseg.checkpoint import Checkpoint, save_checkpoint
from satseg.cli.app import app
from satseg.errors import CheckpointError, UsageError
from satseg.objects import ObjectOutputs
from satseg.prediction.settings import OutputNames, PredictionSettings
from satseg.tiling.settings import TileSettings
from satseg.vectorization.settings import PolygonSettings
from satseg.workflows.evaluate import EvaluateSettings, evaluate
from satseg.workflows.predict import predict, predict_scenes
from satseg.workflows.tile import tile

EDGE = 12  # pixels along the scene's edge, where no other window knows better


def houses() -> tuple[np.ndarray, np.ndarray]:
    ids, classes = row_houses(200, 330)
    ids[:EDGE] = ids[-EDGE:] = ids[:, :EDGE] = ids[:, -EDGE:] = 0
    ids[(np.bincount(ids.ravel()) < 120)[ids]] = 0
    _, at = np.unique(ids, return_inverse=True)
    return at.reshape(ids.shape).astype(np.int32), np.where(ids > 0, classes, 0).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_centre_oracle(tmp_path_factory.mktemp("centres"), *houses())


def called(folder: Path) -> dict[str, Any]:
    return {"model": folder / "oracle.safetensors", "arch": f"{folder / 'oracle.py'}:oracle"}


def run(
    folder: Path, output: Path | list[Path] | OutputNames, *, scene: Path | None = None, model: Any = None, **more: Any
) -> Any:
    polygons = {name: more.pop(name) for name in ("marker_depth", "max_object", "raw", "min_area") if name in more}
    progress = {name: more.pop(name) for name in ("progress",) if name in more}
    chosen = {"objects": True, "window": 64, "overlap": 16, "threads": 1} | more
    settings = PredictionSettings(**chosen, polygons=PolygonSettings(**polygons))
    known = called(folder) | ({"model": model} if model else {})
    return predict(scene or folder / "scene.tif", output=output, settings=settings, **known, **progress)


def ids_of(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        assert dataset.dtypes == ("int32",)
        return dataset.read(1)


def assert_same_objects(found: np.ndarray, ids: np.ndarray) -> None:
    pairs = np.unique(np.stack([found.ravel(), ids.ravel()]), axis=1)
    assert ((found > 0) == (ids > 0)).all()
    assert pairs.shape[1] == ids.max() + 1 == found.max() + 1


@pytest.mark.parametrize("options", [{}, {"tta": "d4"}, {"crf": False, "batch_size": 3}])
def test_every_house_comes_back_although_windows_are_wrong_along_their_rims(
    folder: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    """Means of offsets over overlapping windows would lead into other houses."""
    run(folder, tmp_path / "ids.tif", **options)
    found, (ids, _) = ids_of(tmp_path / "ids.tif"), houses()
    assert ids.max() > 60
    assert_same_objects(found, ids)
    firsts = [int(np.flatnonzero(found == number)[0]) for number in range(1, found.max() + 1)]
    assert firsts == sorted(firsts)


def test_houses_become_one_polygon_each_with_a_class_and_a_score(folder: Path, tmp_path: Path) -> None:
    run(folder, [tmp_path / "houses.gpkg", tmp_path / "ids.tif"], raw=True)
    (_, classes), ids = houses(), ids_of(tmp_path / "ids.tif")
    found = geopandas.read_file(tmp_path / "houses.gpkg")
    assert sorted(found["object_id"]) == list(range(1, ids.max() + 1))
    assert shapely.coverage_is_valid(found.geometry.to_numpy())
    for house in found.itertuples():
        mine = ids == house.object_id
        assert house.pixels == mine.sum()
        assert house.class_id == classes[mine][0]
    assert found["score"].min() > 0.95


def test_a_scene_of_finer_pixels_has_longer_offsets(folder: Path, tmp_path: Path) -> None:
    ids, classes = houses()
    fine = np.repeat(np.repeat(centre_bands(ids, classes), 2, 1), 2, 2)
    with rasterio.open(folder / "scene.tif") as dataset:
        grid = dataset.transform
    scene = write_scene(tmp_path / "scene.tif", fine, transform=grid * grid.scale(0.5))
    run(folder, tmp_path / "ids.tif", scene=scene, window=128, overlap=40)
    found, expected = ids_of(tmp_path / "ids.tif"), np.repeat(np.repeat(ids, 2, 0), 2, 1)
    inside = expected > 0
    agreeing = [np.bincount(found[expected == number]).max() for number in range(1, ids.max() + 1)]
    assert sum(agreeing) > 0.95 * inside.sum()
    assert (np.bincount(found.ravel())[1:] > 400).sum() == ids.max()  # the others are splinters of two classes


@pytest.mark.parametrize("block", [40, 1024])
def test_an_interrupted_map_ends_with_the_bytes_of_an_unbroken_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("satseg.objects.division.BLOCK", block)
    assert_interruption_changes_nothing(tmp_path, monkeypatch, partial(run, folder), max_object=100)


def test_scenes_share_a_layer_of_objects_and_a_crf_leaves_them_apart(folder: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "scene.tif") as dataset:
        bands, grid = dataset.read(), dataset.transform
    other = write_scene(tmp_path / "other.tif", bands, transform=grid * grid.translation(1000, 0))
    settings = PredictionSettings(objects=True, window=64, overlap=16, threads=1, crf=True)
    scenes = [folder / "scene.tif", other]
    list(predict_scenes(scenes, output=tmp_path / "all.gpkg", settings=settings, **called(folder)))
    found = geopandas.read_file(tmp_path / "all.gpkg").groupby("scene")["object_id"].nunique().to_dict()
    assert found.keys() == {"scene.tif", "other.tif"}
    assert all(abs(count - houses()[0].max()) < 15 for count in found.values())


def test_nodata_has_no_object(folder: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "scene.tif") as dataset:
        bands = dataset.read()
    bands[:, 90:110] = 777
    run(folder, tmp_path / "ids.tif", scene=write_scene(tmp_path / "scene.tif", bands, nodata=777))
    ids = ids_of(tmp_path / "ids.tif")
    assert not ids[90:110].any()
    assert ids[:90].any()


def test_objects_of_tiles_and_of_a_scene_are_scored(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "truth.gpkg", raw=True)
    known = {"window": 64, "overlap": 16, "threads": 1, "bootstrap": 0, "class_field": "class_name"}
    settings = EvaluateSettings(objects=True, arch=called(folder)["arch"], **known)
    labels = tmp_path / "truth.gpkg"
    report = evaluate(folder / "oracle.safetensors", [folder / "scene.tif"], labels=labels, settings=settings)
    assert report.object_f1 == 1
    cut = TileSettings(size=64, objects=True, class_field="class_name", split="test")
    tile([folder / "scene.tif"], labels=labels, output=tmp_path / "tiles", settings=cut)
    del known["class_field"]
    settings = EvaluateSettings(objects=True, arch=called(folder)["arch"], **known)
    report = evaluate(folder / "oracle.safetensors", [tmp_path / "tiles"], settings=settings)
    assert report.object_f1 > 0.5  # offsets along the rims of tiles are wrong
    settings = EvaluateSettings(tune_objects=True, arch=called(folder)["arch"], **known)
    with pytest.raises(UsageError, match="finds objects by their centres, which leaves nothing to tune"):
        evaluate(folder / "oracle.safetensors", [tmp_path / "tiles"], settings=settings)


def test_what_belongs_to_edges_is_refused_before_work_starts(folder: Path, tmp_path: Path) -> None:
    for name in ("boundary", "distance"):
        with pytest.raises(UsageError, match=f"`{name}` is none of the outputs of this network"):
            run(folder, OutputNames(output=tmp_path / "a.gpkg", **{name: tmp_path / "a.tif"}))
    with pytest.raises(UsageError, match="`marker_depth` divides objects at their edges"):
        run(folder, tmp_path / "a.gpkg", marker_depth=0.3)
    card = Checkpoint.load(called(folder)["model"]).card
    save_checkpoint(tmp_path / "edges.safetensors", {}, replace(card, object_outputs=ObjectOutputs.EDGES))
    with pytest.raises(CheckpointError, match="apart by their centres, the other by their edges"):
        run(folder, tmp_path / "a.gpkg", model=[called(folder)["model"], tmp_path / "edges.safetensors"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edges.safetensors"]


def test_info_says_what_a_network_has_learnt(folder: Path) -> None:
    shown = CliRunner().invoke(app, ["info", str(folder / "oracle.safetensors")])
    assert "centres and offsets to them are learnt" in shown.output


@pytest.mark.slow
def test_workers_give_the_bytes_of_one_process(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (
        written_in(tmp_path / str(devices), monkeypatch, partial(run, folder), devices=devices) for devices in (None, 2)
    )
    assert one == two
