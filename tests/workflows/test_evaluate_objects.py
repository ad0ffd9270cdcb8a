"""Objects of networks, of rasters of ids and of polygons, compared with labels.

Covers ``tile_objects`` and ``tune_objects``.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from object_oracle import CLASSES, row_houses, write_oracle
from rasterio.features import shapes
from scipy.ndimage import gaussian_filter

from satseg.checkpoint import Checkpoint, save_checkpoint
from satseg.errors import CheckpointError, ClassRasterError, LabelError, TileError, UsageError
from satseg.evaluation.settings import EvaluateSettings
from satseg.evaluation.tiles import ClassifiedTile, SaidOfObjects
from satseg.prediction.settings import PredictionSettings
from satseg.records import ClassScore, EvaluationReport, ProgressEvent
from satseg.sample import named_network
from satseg.tiling.settings import TileSettings
from satseg.vectorization.settings import PolygonSettings
from satseg.workflows.evaluate import evaluate
from satseg.workflows.predict import predict
from satseg.workflows.tile import tile
from satseg.workflows.tune_objects import tune

SHAPE = 200, 330


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a scene of houses, their outlines, their ids, and a network that knows them."""
    ids, classes = row_houses(*SHAPE)
    folder = write_oracle(tmp_path_factory.mktemp("houses"), ids, classes)
    with rasterio.open(folder / "scene.tif") as scene:
        profile = {name: scene.profile[name] for name in ("driver", "width", "height", "crs", "transform")}
    with rasterio.open(folder / "ids.tif", "w", count=1, dtype="int32", **profile) as file:
        file.write(ids, 1)
    found = [
        (shapely.geometry.shape(outline), int(value))
        for outline, value in shapes(ids, ids > 0, 4, profile["transform"])
    ]
    kinds = [CLASSES.names[classes[ids == value][0]] for _, value in found]
    frame = geopandas.GeoDataFrame({"use": kinds}, geometry=[outline for outline, _ in found], crs=profile["crs"])
    frame.to_file(folder / "uses.gpkg")
    frame.drop(columns="use").to_file(folder / "houses.gpkg")
    return folder


def score(folder: Path, *args: Any, **options: Any) -> EvaluationReport:
    named = {"labels": folder / options.pop("labels")} if "labels" in options else {}
    return evaluate(*args, settings=EvaluateSettings(**options), **named)


def network(folder: Path) -> dict[str, Any]:
    return {"arch": f"{folder / 'oracle.py'}:oracle", "window": 64, "overlap": 16, "threads": 1}


def is_perfect(found: ClassScore, objects: int) -> bool:
    scores = found.object_f1, found.object_precision, found.object_recall, found.pq, found.ap
    return scores == (1,) * 5 and (found.label_objects, found.map_objects, found.merged) == (objects, objects, 0)


def test_a_network_that_knows_objects_finds_each_of_them_where_its_classes_alone_melt(folder: Path) -> None:
    subject, scene = folder / "oracle.safetensors", [folder / "scene.tif"]
    known = {"labels": "uses.gpkg", "class_field": "use", **network(folder)}
    melted = score(folder, subject, scene, **known)
    report = score(folder, subject, scene, objects=True, **known)
    assert melted.mean_iou == report.mean_iou == 1
    for number in (1, 2):
        assert melted.classes[number].object_f1 < 0.6
        assert melted.classes[number].merged > 0.5
        assert report.classes[number].object_f1 > 0.99
        assert report.classes[number].ap > 0.95
        assert report.classes[number].merged == 0


@pytest.mark.parametrize("labels", ["houses.gpkg", "ids.tif"])
def test_a_raster_of_ids_is_compared_object_by_object(folder: Path, labels: str, tmp_path: Path) -> None:
    report = score(folder, folder / "ids.tif", labels=labels, objects=True)
    objects = len(geopandas.read_file(folder / "houses.gpkg"))
    assert is_perfect(report.classes[1], objects)
    settings = PredictionSettings(objects=True, window=64, overlap=16, threads=1)
    model = folder / "oracle.safetensors"
    predict(
        folder / "scene.tif", output=tmp_path / "map.tif", model=model, arch=network(folder)["arch"], settings=settings
    )
    found = score(folder, tmp_path / "map.tif", labels=labels, objects=True)
    assert found.classes[1].object_f1 > 0.99
    assert found.mean_iou > 0.99  # 0 is no object there, although it is declared as nodata


def test_objects_that_lie_in_several_strips_end_where_their_last_pixel_is(folder: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "ids.tif") as file:
        ids, profile = file.read(1), file.profile
    tall = np.zeros_like(ids)
    tall[:, ::10] = np.arange(1, tall[:, ::10].shape[1] + 1)
    with rasterio.open(
        tmp_path / "tall.tif", "w", **{**profile, "blockysize": 16, "blockxsize": 16, "tiled": True}
    ) as file:
        file.write(tall, 1)
    report = evaluate(tmp_path / "tall.tif", labels=tmp_path / "tall.tif", settings=EvaluateSettings(objects=True))
    assert is_perfect(report.classes[1], 33)


def test_polygons_are_compared_with_a_raster_of_ids(folder: Path) -> None:
    report = score(folder, folder / "houses.gpkg", labels="ids.tif", objects=True, class_map={"*": "house"})
    assert is_perfect(report.classes[1], len(geopandas.read_file(folder / "houses.gpkg")))


@pytest.fixture(scope="module")
def tiles(folder: Path) -> Path:
    settings = TileSettings(size=64, objects=True, class_field="use", split="test")
    tile([folder / "scene.tif"], labels=folder / "uses.gpkg", output=folder / "tiles", settings=settings)
    return folder / "tiles"


def test_objects_of_tiles_are_those_of_their_ids(folder: Path, tiles: Path) -> None:
    options = {"arch": network(folder)["arch"], "threads": 1}
    plain = score(folder, folder / "oracle.safetensors", tiles, **options)
    report = score(folder, folder / "oracle.safetensors", tiles, objects=True, **options)
    assert plain.mean_iou == report.mean_iou == 1
    for number in (1, 2):
        assert plain.classes[number].label_objects < report.classes[number].label_objects
        assert report.classes[number].object_f1 > 0.95  # splinters at the edges of tiles are dropped as small
    assert report.settings["object_area"] == "m2"


def test_tiles_without_a_crs_have_pixels_as_large_as_those_of_the_training(folder: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "scene.tif") as file:
        bands, profile = file.read(), file.profile
    with rasterio.open(tmp_path / "scene.tif", "w", **{**profile, "crs": None}) as file:
        file.write(bands)
    geopandas.read_file(folder / "uses.gpkg").set_crs(None, allow_override=True).to_file(tmp_path / "uses.gpkg")
    settings = TileSettings(size=64, objects=True, class_field="use", split="test")
    tile([tmp_path / "scene.tif"], labels=tmp_path / "uses.gpkg", output=tmp_path / "tiles", settings=settings)
    checkpoint = Checkpoint.load(folder / "oracle.safetensors")
    gsd = checkpoint.card.gsd
    assert gsd is not None
    found = {}
    for pixels in (8, 300):
        card = replace(checkpoint.card, division={"min_area": f"{(pixels - 0.1) * gsd[0] * gsd[1]:.9g}m2"})
        save_checkpoint(tmp_path / "own.safetensors", checkpoint.read_weights(), card)
        options = {"arch": network(folder)["arch"], "threads": 1, "objects": True}
        found[pixels] = score(folder, tmp_path / "own.safetensors", tmp_path / "tiles", **options)
    assert found[8].classes[1].object_f1 > 0.95
    assert 0 < found[300].classes[1].map_objects < found[8].classes[1].map_objects


@pytest.fixture
def noisy(folder: Path, tmp_path: Path) -> Path:
    """Return a folder with val and test tiles, and a network whose distances dip in the middle of large roofs."""
    for name in ("oracle.py", "oracle.safetensors"):
        shutil.copy(folder / name, tmp_path)
    with rasterio.open(folder / "scene.tif") as file:
        bands, profile = file.read(), file.profile
    rng = np.random.default_rng(0)
    bands[2] = np.where(bands[2] > 0, np.clip(bands[2] - gaussian_filter(rng.normal(0, 800, SHAPE), 1.5), 1, 254), 0)
    with rasterio.open(tmp_path / "scene.tif", "w", **profile) as file:
        file.write(bands)
    settings = TileSettings(size=64, objects=True, class_field="use", split=(0.2, 0.4, 0.4), buffer=0)
    tile([tmp_path / "scene.tif"], labels=folder / "uses.gpkg", output=tmp_path / "tiles", settings=settings)
    return tmp_path


def test_what_divides_best_on_val_is_stored_and_used(noisy: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"arch": network(noisy)["arch"], "threads": 1}
    model = noisy / "oracle.safetensors"
    before = score(noisy, model, noisy / "tiles", objects=True, **options)
    with caplog.at_level(logging.INFO):
        after = score(noisy, model, noisy / "tiles", tune_objects=True, **options)
    division = Checkpoint.load(model).card.division
    assert division["marker_depth"] != 0.35
    assert str(division["min_area"]).endswith("m2")
    assert after.object_f1 > before.object_f1 + 0.05
    assert f"Stored in {model}: marker_depth {division['marker_depth']:g}" in caplog.text
    assert "a gain of" in caplog.text
    assert score(noisy, model, noisy / "tiles", objects=True, **options) == after
    maps = [noisy / f"{name}.tif" for name in ("stored", "given", "default")]
    for path, polygons in zip(maps, [{}, division, {"marker_depth": 0.35, "min_area": "8px"}], strict=True):
        settings = PredictionSettings(
            objects=True, window=64, overlap=16, threads=1, polygons=PolygonSettings(**polygons)
        )
        predict(noisy / "scene.tif", output=path, model=model, arch=options["arch"], settings=settings)
    stored, given, default = (rasterio.open(path).read(1) for path in maps)
    assert np.array_equal(stored, given)
    assert not np.array_equal(stored, default)


def test_tuning_needs_a_network_and_val_tiles_with_objects(folder: Path, tiles: Path) -> None:
    with pytest.raises(UsageError, match="needs a checkpoint, and a tile set"):
        score(folder, folder / "ids.tif", labels="houses.gpkg", tune_objects=True)
    stored = (folder / "oracle.safetensors").read_bytes()
    for split in ("val", "train"):  # all tiles are test tiles
        with pytest.raises(TileError, match="is empty"):
            score(
                folder,
                folder / "oracle.safetensors",
                tiles,
                tune_objects=True,
                split=split,
                arch=network(folder)["arch"],
            )
    assert (folder / "oracle.safetensors").read_bytes() == stored


def test_the_network_of_the_package_is_not_tuned(tiles: Path) -> None:
    before = named_network("sample").read_bytes()
    with pytest.raises(UsageError, match="network of the package stays as it is"):
        evaluate("sample", tiles, settings=EvaluateSettings(tune_objects=True))
    assert named_network("sample").read_bytes() == before


def test_what_has_no_objects_is_refused(folder: Path, tiles: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "ids.tif") as file:
        classes, profile = (file.read(1) > 0).astype(np.uint8), file.profile
    with rasterio.open(tmp_path / "classes.tif", "w", **{**profile, "dtype": "uint8"}) as file:
        file.write(classes, 1)
    settings = EvaluateSettings(objects=True)
    with pytest.raises(LabelError, match="holds classes, not objects"):
        evaluate(folder / "ids.tif", labels=tmp_path / "classes.tif", settings=settings)
    with pytest.raises(LabelError, match="which is not among"):
        score(folder, folder / "ids.tif", labels="uses.gpkg", class_field="use", objects=True)
    with pytest.raises(UsageError, match=r"`objects` .* a raster of ids or a network"):
        score(folder, folder / "houses.gpkg", labels="houses.gpkg", objects=True)
    with pytest.raises(UsageError, match="exclude each other"):
        EvaluateSettings(objects=True, pixels_only=True)
    plain = TileSettings(size=64, class_field="use", split="test")
    tile([folder / "scene.tif"], labels=folder / "uses.gpkg", output=tmp_path / "tiles", settings=plain)
    with pytest.raises(TileError, match="hold no objects"):
        score(folder, folder / "oracle.safetensors", tmp_path / "tiles", arch=network(folder)["arch"], objects=True)
    checkpoint = Checkpoint.load(folder / "oracle.safetensors")
    save_checkpoint(tmp_path / "classes.safetensors", {}, replace(checkpoint.card, objects=False))
    with pytest.raises(CheckpointError, match="has not learnt objects"):
        score(folder, tmp_path / "classes.safetensors", tiles, arch=network(folder)["arch"], objects=True)


def test_a_raster_of_ids_that_is_taken_for_classes_tells_of_the_option(folder: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "ids.tif") as file:
        profile = file.profile
    ids = np.zeros(SHAPE, dtype=np.int32)
    ids[::2, ::2] = np.arange(1, ids[::2, ::2].size + 1).reshape(ids[::2, ::2].shape) % 400  # 255 is one among many
    with rasterio.open(tmp_path / "ids.tif", "w", **profile) as file:
        file.write(ids, 1)
    with pytest.raises(ClassRasterError, match="400 different values") as caught:
        evaluate(tmp_path / "ids.tif", labels=folder / "houses.gpkg")
    assert "If they are ids of objects, set `objects`" in caught.value.hint


def write_ids(path: Path, like: Path, ids: np.ndarray, **more: Any) -> Path:
    with rasterio.open(like) as file:
        profile = file.profile
    with rasterio.open(path, "w", **{**profile, **more}) as file:
        file.write(ids.astype(np.int32), 1)
    return path


def test_zero_is_no_object_even_where_it_is_nodata_or_nowhere_at_all(folder: Path, tmp_path: Path) -> None:
    with rasterio.open(folder / "ids.tif") as file:
        ids = file.read(1)
    rows, columns = np.indices(SHAPE)
    everywhere = write_ids(tmp_path / "all.tif", folder / "ids.tif", 1 + rows // 50 * 10 + columns // 50)
    nodata = write_ids(tmp_path / "nodata.tif", folder / "ids.tif", ids, nodata=0)
    settings = EvaluateSettings(objects=True)
    full = evaluate(everywhere, labels=everywhere, settings=settings)
    assert is_perfect(full.classes[1], 28)
    assert is_perfect(evaluate(nodata, labels=nodata, settings=settings).classes[1], int(ids.max()))
    wrong = evaluate(everywhere, labels=nodata, settings=settings)
    assert wrong.classes[1].precision == pytest.approx((ids > 0).mean())  # also beyond the labelled objects


def test_maps_without_an_object_are_scored_as_well(folder: Path, tmp_path: Path) -> None:
    for name in ("maps", "labels"):
        (tmp_path / name).mkdir()
    with rasterio.open(folder / "ids.tif") as file:
        ids = file.read(1)
    for number, (mapped, known) in enumerate([(ids, ids), (0 * ids, ids), (ids, 0 * ids)]):
        write_ids(tmp_path / "maps" / f"{number}.tif", folder / "ids.tif", mapped)
        write_ids(tmp_path / "labels" / f"{number}.tif", folder / "ids.tif", known)
    report = evaluate(pairs=(tmp_path / "maps", tmp_path / "labels"), settings=EvaluateSettings(objects=True))
    entry = report.classes[1]
    assert (entry.object_recall, entry.object_precision) == (0.5, 0.5)


def test_labels_over_each_other_are_refused_where_objects_are_compared(folder: Path) -> None:
    with pytest.raises(UsageError, match="a single file of labels; there are 2"):
        evaluate(
            folder / "ids.tif",
            labels=[folder / "ids.tif", folder / "houses.gpkg"],
            settings=EvaluateSettings(objects=True),
        )


def test_scores_that_are_no_numbers_rank_last(folder: Path, tmp_path: Path) -> None:
    frame = geopandas.read_file(folder / "houses.gpkg")
    scores = np.linspace(0.1, 0.9, len(frame))
    scores[::5] = np.nan
    frame["score"] = scores
    frame.to_parquet(tmp_path / "map.parquet")
    found = evaluate(tmp_path / "map.parquet", labels=folder / "houses.gpkg").classes[1]
    assert (found.ap, found.object_f1) == (1, 1)


def test_raw_maps_keep_small_objects_whatever_was_tuned() -> None:
    settings = PredictionSettings(objects=True, polygons=PolygonSettings(raw=True))
    polygons = settings.divided_as({"marker_depth": 0.5, "min_area": "64m2"}).polygons
    assert (polygons.marker_depth, polygons.in_pixels((0.5, 0.5), ids=False).min_area) == (0.5, 0)


def test_scenes_without_labels_are_not_mapped_and_nothing_is_kept_of_an_interrupted_one(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rasterio.open(folder / "scene.tif") as file:
        bands, profile = file.read(), file.profile
    elsewhere = {**profile, "transform": profile["transform"] * profile["transform"].translation(9_000, 0)}
    with rasterio.open(tmp_path / "far.tif", "w", **elsewhere) as file:
        file.write(bands)
    settings = EvaluateSettings(objects=True, class_field="use", **network(folder))
    called = {"labels": folder / "uses.gpkg", "settings": settings}
    events: list[ProgressEvent] = []
    report = evaluate(
        folder / "oracle.safetensors", [tmp_path / "far.tif", folder / "scene.tif"], progress=events.append, **called
    )
    assert report.classes[1].object_f1 > 0.99
    assert "scene is not scored" in caplog.text
    assert min(event.done for event in events) >= bands[0].size  # the first scene counts as done when the second begins

    def interrupt(event: ProgressEvent) -> None:
        if event.done > bands[0].size // 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("satseg.prediction.scene_run.COMMIT_SECONDS", 0.0)  # rows are finished before that
    with pytest.raises(KeyboardInterrupt):
        evaluate(folder / "oracle.safetensors", [folder / "scene.tif"], progress=interrupt, **called)
    assert "resume" not in caplog.text


def test_tiles_without_a_labelled_object_tune_nothing() -> None:
    nothing = np.zeros((8, 8), dtype=np.uint8)
    found = ClassifiedTile(NoObjects(), nothing, nothing, objects=SaidOfObjects(nothing, (nothing, nothing)))  # type: ignore[arg-type]
    with pytest.raises(TileError, match="no labelled object"):
        tune([((0, 0), found)], CLASSES, None, PolygonSettings())


class NoObjects:
    """A tile without objects."""

    def read_objects(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((8, 8), dtype=np.int32), np.zeros((8, 8), dtype=bool)
