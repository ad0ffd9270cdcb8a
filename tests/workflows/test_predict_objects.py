"""Maps of objects: one polygon each, also where they touch, whatever the windows, strips and interruptions.

Covers ``vectorization/object_division``.
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
from object_oracle import CLASSES, assert_interruption_changes_nothing, row_houses, write_oracle, written_in
from typer.testing import CliRunner

from satseg.checkpoint import Checkpoint, save_checkpoint
from satseg.cli.app import app
from satseg.errors import CheckpointError, SceneError, UsageError
from satseg.objects import ObjectOutputs
from satseg.prediction.map_layers import MapLayers
from satseg.prediction.settings import OutputNames, PredictionSettings
from satseg.raster.scene import Scene
from satseg.vectorization.settings import PolygonSettings, VectorizeSettings
from satseg.workflows.predict import dry_run_scenes, predict, predict_scenes
from satseg.workflows.vectorize import vectorize

OF_POLYGONS = ("marker_depth", "max_object", "raw", "attributes", "min_area")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_oracle(tmp_path_factory.mktemp("houses"), *row_houses(200, 330))


def run(folder: Path, output: Path | list[Path] | OutputNames, *, scene: Path | None = None, **more: Any) -> Any:
    called = {"model": folder / "oracle.safetensors", "arch": f"{folder / 'oracle.py'}:oracle"}
    called |= {name: more.pop(name) for name in ("model", "progress") if name in more}
    polygons = {
        name: more.pop(name) for name in ("marker_depth", "max_object", "raw", "attributes", "min_area") if name in more
    }
    chosen = {"objects": True, "window": 64, "overlap": 16, "threads": 1} | more
    settings = PredictionSettings(**chosen, polygons=PolygonSettings(**polygons))
    return predict(scene or folder / "scene.tif", output=output, settings=settings, **called)


def ids_of(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        assert dataset.dtypes == ("int32",)
        assert dataset.nodata == 0
        return dataset.read(1)


def test_every_object_comes_back_as_a_raster_of_ids_in_the_order_of_first_pixels(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "ids.tif")
    ids, _ = row_houses(200, 330)
    assert ids.max() > 80
    assert ids_of(tmp_path / "ids.tif").tolist() == ids.tolist()


def test_objects_become_one_polygon_each_that_share_their_walls(folder: Path, tmp_path: Path) -> None:
    summary = run(folder, tmp_path / "houses.gpkg", raw=True)
    ids, classes = row_houses(200, 330)
    houses = geopandas.read_file(tmp_path / "houses.gpkg")
    assert sorted(houses["object_id"]) == list(range(1, ids.max() + 1))
    assert shapely.coverage_is_valid(houses.geometry.to_numpy())
    assert (houses.geom_type == "Polygon").all()
    for house in houses.itertuples():
        mine = ids == house.object_id
        assert house.pixels == mine.sum()
        assert house.class_id == classes[mine][0]
        assert house.class_name == CLASSES[house.class_id].name
    assert houses["score"].min() > 0.95
    assert summary.polygons == {name: (houses["class_name"] == name).sum() for name in ("roof", "tank")}


def test_scores_are_the_mean_probability_inside_times_that_of_a_boundary_along_the_outline(
    folder: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    with rasterio.open(folder / "scene.tif") as dataset:
        bands = dataset.read()
    bands[1] = np.where(bands[1] > 0, rng.integers(150, 255, bands[1].shape), 0)
    scene = write_scene(tmp_path / "scene.tif", bands)
    run(folder, [tmp_path / "houses.parquet", tmp_path / "ids.tif"], scene=scene, raw=True)
    houses = geopandas.read_parquet(tmp_path / "houses.parquet").set_index("object_id")
    ids = ids_of(tmp_path / "ids.tif")
    padded = np.pad(ids, 1, mode="edge")
    neighbours = [
        padded[1 + r : 1 + r + ids.shape[0], 1 + c : 1 + c + ids.shape[1]]
        for r, c in ((-1, 0), (1, 0), (0, -1), (0, 1))
    ]
    edges = sum((other != ids).astype(int) for other in neighbours)
    for number in (1, 40, ids.max()):
        mine = ids == number
        outline = (bands[1][mine] * edges[mine]).sum() / edges[mine].sum() / 254
        assert houses.loc[number, "score"] == pytest.approx(houses.loc[number, "confidence_mean"] * outline, abs=2e-3)


@pytest.mark.parametrize("block", [40, 1024])
def test_an_interrupted_map_ends_with_the_bytes_of_an_unbroken_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("satseg.objects.division.BLOCK", block)
    assert_interruption_changes_nothing(tmp_path, monkeypatch, partial(run, folder), max_object=40)


def test_scenes_share_a_layer_of_objects(folder: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "scene.tif") as dataset:
        bands, grid = dataset.read(), dataset.transform
    other = write_scene(tmp_path / "other.tif", bands, transform=grid * grid.translation(1000, 0))
    settings = PredictionSettings(objects=True, window=64, threads=1)
    called = {"model": folder / "oracle.safetensors", "arch": f"{folder / 'oracle.py'}:oracle"}
    list(predict_scenes([folder / "scene.tif", other], output=tmp_path / "all.gpkg", settings=settings, **called))
    houses = geopandas.read_file(tmp_path / "all.gpkg")
    count = row_houses(200, 330)[0].max()
    assert houses.groupby("scene")["object_id"].nunique().to_dict() == {"scene.tif": count, "other.tif": count}
    assert houses["region_id"].is_unique


def test_a_deeper_dip_divides_less(folder: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "scene.tif") as dataset:
        bands = dataset.read()
    bands[1] = bands[1] // 4  # weak boundaries
    bands[2] = np.where(bands[0] > 0, bands[2] // 4 + 150, 0)  # and shallow dips
    scene = write_scene(tmp_path / "scene.tif", bands)
    found = {}
    for depth in (0.05, 0.3):
        run(folder, tmp_path / f"{depth}.tif", scene=scene, marker_depth=depth)
        found[depth] = ids_of(tmp_path / f"{depth}.tif").max()
    assert found[0.3] < found[0.05] == row_houses(200, 330)[0].max()


def test_ids_are_not_taken_for_classes_and_a_stream_of_scenes_may_map_again(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "ids.tif")
    vectorize(tmp_path / "ids.tif", output=tmp_path / "ids.parquet", settings=VectorizeSettings())
    traced = geopandas.read_parquet(tmp_path / "ids.parquet")
    assert sorted(traced["class_id"]) == list(range(1, row_houses(200, 330)[0].max() + 1))
    called = {"model": folder / "oracle.safetensors", "arch": f"{folder / 'oracle.py'}:oracle"}
    settings = PredictionSettings(objects=True, window=64, threads=1)
    scenes = iter([folder / "scene.tif"])
    assert len(list(predict_scenes(scenes, output=tmp_path / "ids.tif", settings=settings, **called))) == 1


def test_a_sieve_is_not_advised_where_it_would_be_refused(folder: Path, tmp_path: Path) -> None:
    words = ["-m", str(folder / "oracle.safetensors"), "--arch", f"{folder / 'oracle.py'}:oracle", "--window", "64"]
    outputs = ["-o", str(tmp_path / "ids.tif"), "-o", str(tmp_path / "houses.gpkg")]
    command = ["predict", str(folder / "scene.tif"), *words, *outputs, "--objects", "--min-area", "430px"]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0
    assert "objects below 430px left out" in told.output
    assert "--sieve" not in told.output


def test_what_makes_no_sense_is_refused_before_work_starts(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`sieve` would merge pixels of objects"):
        run(folder, tmp_path / "a.gpkg", sieve=5)
    with pytest.raises(UsageError, match=r"`marker_depth` is 0; it must be above 0 and at most 1"):
        run(folder, tmp_path / "a.gpkg", marker_depth=0)
    with pytest.raises(UsageError, match="`marker_depth` has no effect on a map without objects"):
        run(folder, tmp_path / "a.gpkg", objects=False, marker_depth=0.2)
    with pytest.raises(UsageError, match="`max_object` has no effect on classes without objects"):
        VectorizeSettings(max_object=100)
    with pytest.raises(UsageError, match="`attributes` has score, which only objects have"):
        run(folder, tmp_path / "a.gpkg", objects=False, attributes="score")
    checkpoint = Checkpoint.load(folder / "oracle.safetensors")
    save_checkpoint(tmp_path / "plain.safetensors", {}, replace(checkpoint.card, objects=False))
    with pytest.raises(CheckpointError, match=r"plain\.safetensors has not learnt objects"):
        run(folder, tmp_path / "a.gpkg", model=tmp_path / "plain.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain.safetensors"]


def test_objects_are_divided_along_with_a_crf_and_test_time_augmentation(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "ids.tif", crf=True, tta="flips")
    assert abs(ids_of(tmp_path / "ids.tif").max() - row_houses(200, 330)[0].max()) < 20


def test_the_map_of_classes_stays_what_it_is_and_objects_are_offered(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "satseg"):
        run(folder, [tmp_path / "classes.tif", tmp_path / "regions.gpkg"], objects=False)
    assert "The network has learnt objects: `objects=True` makes one polygon of each." in caplog.messages
    with rasterio.open(tmp_path / "classes.tif") as dataset:
        assert dataset.read(1).tolist() == row_houses(200, 330)[1].tolist()


def test_vectorize_makes_the_same_objects_of_the_rasters_of_a_map_without_the_network(
    folder: Path, tmp_path: Path
) -> None:
    beside = {name: tmp_path / f"{name}.tif" for name in ("confidence", "boundary", "distance")}
    run(folder, tmp_path / "objects.parquet", max_object=40)
    run(folder, OutputNames(output=tmp_path / "classes.tif", **beside), objects=False)
    settings = VectorizeSettings(max_object=40, **beside)
    vectorize(tmp_path / "classes.tif", output=tmp_path / "again.parquet", settings=settings)
    first, again = (geopandas.read_parquet(tmp_path / name) for name in ("objects.parquet", "again.parquet"))
    assert first.drop(columns="scene").equals(again.drop(columns="scene"))
    coarse = VectorizeSettings(marker_depth=1.0, **beside)
    vectorize(tmp_path / "classes.tif", output=tmp_path / "coarse.parquet", settings=coarse)
    assert len(geopandas.read_parquet(tmp_path / "coarse.parquet")) < len(first)


def test_vectorize_needs_boundary_and_distance_of_the_same_map(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"boundary\.tif is given as `boundary` without `distance`; objects need both"):
        VectorizeSettings(boundary="boundary.tif")
    names = {name: tmp_path / f"{name}.tif" for name in ("boundary", "distance")}
    run(folder, OutputNames(output=tmp_path / "classes.tif", **names), objects=False)
    with pytest.raises(SceneError, match=r"distance\.tif is given as boundary, but its band is named distance"):
        vectorize(
            tmp_path / "classes.tif",
            output=tmp_path / "a.gpkg",
            settings=VectorizeSettings(boundary=names["distance"], distance=names["boundary"]),
        )
    small = write_scene(tmp_path / "small.tif", np.zeros((1, 9, 9), np.uint8))
    with pytest.raises(SceneError, match=r"small\.tif has 9 x 9 pixels, but"):
        vectorize(
            tmp_path / "classes.tif",
            output=tmp_path / "a.gpkg",
            settings=VectorizeSettings(boundary=names["boundary"], distance=small),
        )
    assert not (tmp_path / "a.gpkg").exists()


def test_small_objects_are_left_out_and_not_merged_into_their_neighbours(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "all.parquet", raw=True)
    outputs = [tmp_path / "large.parquet", tmp_path / "large.tif"]
    summary = run(folder, outputs, raw=True, min_area="430px")
    everything, large = (geopandas.read_parquet(tmp_path / f"{name}.parquet") for name in ("all", "large"))
    kept = everything[everything["pixels"] >= 430]
    assert 10 < len(kept) < len(everything) - 10
    kept, large = (table.sort_values("object_id") for table in (kept, large))
    assert large["object_id"].tolist() == list(range(1, len(kept) + 1))  # in the order of their first pixels
    assert shapely.equals_identical(large.geometry.to_numpy(), kept.geometry.to_numpy()).all()
    assert np.bincount(ids_of(outputs[1]).ravel())[1:].tolist() == large["pixels"].tolist()
    assert summary.specks == len(everything) - len(kept)


def test_the_smallest_object_is_that_of_the_checkpoint_unless_it_is_given(folder: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.load(folder / "oracle.safetensors")
    with Scene.open(folder / "scene.tif") as scene:
        across, down = scene.info.gsd or (1.0, 1.0)
    card = replace(checkpoint.card, gsd=(across, down), division={"min_area": f"{429.9 * across * down:.9g}m2"})
    save_checkpoint(tmp_path / "own.safetensors", checkpoint.read_weights(), card)
    for name, options in {
        "given": {"min_area": "430px"},
        "brought": {"model": tmp_path / "own.safetensors"},
        "other": {"model": tmp_path / "own.safetensors", "min_area": "1px"},
    }.items():
        run(folder, tmp_path / f"{name}.tif", **options)
    given, brought, other = (ids_of(tmp_path / f"{name}.tif") for name in ("given", "brought", "other"))
    assert given.tolist() == brought.tolist()
    assert other.max() > given.max()
    with rasterio.open(folder / "scene.tif") as dataset:
        nowhere = write_scene(tmp_path / "nowhere.tif", dataset.read(), crs=None)
    run(folder, tmp_path / "nowhere-ids.tif", scene=nowhere, model=tmp_path / "own.safetensors")
    assert ids_of(tmp_path / "nowhere-ids.tif").tolist() == given.tolist()
    for place, scene in (("here", folder / "scene.tif"), ("nowhere", nowhere)):
        beside = {name: tmp_path / f"{place}-{name}.tif" for name in ("boundary", "distance")}
        names = OutputNames(output=tmp_path / f"{place}-classes.tif", **beside)
        run(folder, names, scene=scene, objects=False, model=tmp_path / "own.safetensors")
        for options, count in (({}, given.max()), ({"min_area": "1px"}, other.max())):
            settings = VectorizeSettings(**beside, **options)
            polygons = vectorize(
                tmp_path / f"{place}-classes.tif", output=tmp_path / "o.fgb", settings=settings
            ).polygons
            (tmp_path / "o.fgb").unlink()
            assert sum(polygons.values()) == count


def test_a_shared_layer_counts_the_bytes_of_objects() -> None:
    table, settings = CLASSES, PredictionSettings(objects=True)
    rest, edges, centres = (
        MapLayers.of(settings, table, (), said).bytes_per_pixel
        for said in (None, ObjectOutputs.EDGES, ObjectOutputs.CENTRES)
    )
    assert edges == rest + 2  # boundary and distance
    assert centres == rest + 1 + 2 * 2  # heat and offsets


def test_nodata_has_no_object_and_disagreement_is_that_of_classes(folder: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "scene.tif") as dataset:
        bands = dataset.read()
    bands[:, 90:110] = 77
    scene = write_scene(tmp_path / "scene.tif", bands, nodata=77)
    apart = {}
    for objects in (True, False):
        names = OutputNames(output=tmp_path / f"{objects}.tif", disagreement=tmp_path / f"{objects}-apart.tif")
        run(folder, names, scene=scene, objects=objects)
        apart[objects] = (tmp_path / f"{objects}-apart.tif").read_bytes()
    ids = ids_of(tmp_path / "True.tif")
    assert not ids[90:110].any()
    assert len(np.unique(ids)) - 1 == ids.max() > 80
    with rasterio.open(tmp_path / "True-apart.tif") as one, rasterio.open(tmp_path / "False-apart.tif") as other:
        assert one.read().tolist() == other.read().tolist()


def test_a_dry_run_estimates_objects_and_refuses_what_the_map_would(folder: Path, tmp_path: Path) -> None:
    called = {"model": folder / "oracle.safetensors", "arch": f"{folder / 'oracle.py'}:oracle"}
    settings = PredictionSettings(objects=True, window=64, threads=1)
    names = [tmp_path / "ids.tif", tmp_path / "houses.gpkg"]
    (estimate,) = dry_run_scenes([folder / "scene.tif"], output=names, settings=settings, **called)
    assert estimate.work_bytes >= 8 * 200 * 330  # classes, confidence, boundary, distance and ids
    card = Checkpoint.load(folder / "oracle.safetensors").card
    save_checkpoint(tmp_path / "coarse.safetensors", {}, replace(card, gsd=(1.0, 1.0)))
    called["model"] = tmp_path / "coarse.safetensors"
    large = PredictionSettings(objects=True, window=64, threads=1, polygons=PolygonSettings(max_object=1500))
    for attempt in (dry_run_scenes, predict_scenes):
        with pytest.raises(UsageError, match=r"Objects of `max_object=1500` px have 300\d px in the scene"):
            list(attempt([folder / "scene.tif"], output=names, settings=large, **called))
    (tmp_path / "coarse.safetensors").unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_workers_give_the_bytes_of_one_process(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (
        written_in(tmp_path / str(devices), monkeypatch, partial(run, folder), devices=devices) for devices in (None, 2)
    )
    assert one == two
