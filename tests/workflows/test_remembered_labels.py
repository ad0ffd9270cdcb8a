"""What labels meant goes from tiles into the checkpoint, and from there into maps: new labels are read alike.

Covers ``labels/label_meaning``.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from made_scenes import GRID, write_map, write_scene

from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.errors import LabelError
from satseg.evaluation.settings import EvaluateSettings
from satseg.labels.label_meaning import LabelMeaning
from satseg.prediction.settings import PredictionSettings
from satseg.tiling.settings import TileSettings
from satseg.training.settings import TrainSettings
from satseg.workflows.evaluate import evaluate
from satseg.workflows.predict import predict
from satseg.workflows.tile import tile
from satseg.workflows.train import train
from satseg.workflows.vectorize import vectorize

MAP = "value,class\nRye,cereal\nBarley,cereal\nBeet,root\nFallow,ignore\n"


def fields_of_crops(path: Path, seed: int, field: str = "crop") -> Path:
    """Write squares of 32 px with the name of a crop each; a quarter of the ground has none."""
    rng = np.random.default_rng(seed)
    names = rng.choice(["Rye", "Barley", "Beet", "Fallow", ""], 12 * 8)
    cells = [(32 * (i % 12), 32 * (i // 12)) for i in range(12 * 8)]
    shapes = [shapely.box(*(GRID * (x, y)), *(GRID * (x + 32, y + 32))) for x, y in cells]
    frame = geopandas.GeoDataFrame({field: names}, geometry=shapes, crs="EPSG:32645")
    frame[frame[field] != ""].to_file(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on crops, a new scene with labels of its own, and maps of it."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(0)
    for name in ("old", "new"):
        write_scene(folder / f"{name}.tif", rng.integers(1, 255, (2, 256, 384)).astype(np.uint8))
    (folder / "classes.csv").write_text(MAP, encoding="utf-8")
    labels = fields_of_crops(folder / "old.gpkg", 1)
    made = {"class_field": "crop", "class_map": folder / "classes.csv", "size": 64, "overlap": 0, "block": 64}
    tile([folder / "old.tif"], labels=labels, output=folder / "tiles", settings=TileSettings(**made))
    train(
        folder / "tiles",
        output=folder / "run",
        settings=TrainSettings(arch="erfnet", steps=2, batch_size=2, threads=1, pictures=False),
    )
    fields_of_crops(folder / "new.gpkg", 2)
    settings = PredictionSettings(window=128, overlap=16, threads=1)
    predict(folder / "new.tif", model=folder / "run", output=[folder / "m.tif", folder / "m.gpkg"], settings=settings)
    return folder


def test_a_network_reads_new_labels_as_those_it_was_trained_on_and_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "satseg"):
        short = evaluate(
            folder / "run",
            [folder / "new.tif"],
            labels=folder / "new.gpkg",
            settings=EvaluateSettings(window=128, threads=1),
        )
    assert "Labels are read like those of" in caplog.text
    assert "`class_field='crop'`" in caplog.text
    told = {"class_field": "crop", "class_map": folder / "classes.csv"}
    said = evaluate(
        folder / "run",
        [folder / "new.tif"],
        labels=folder / "new.gpkg",
        settings=EvaluateSettings(window=128, threads=1, **told),
    )
    assert short == said
    assert {"cereal", "root"} <= {entry.name for entry in short.classes}


@pytest.mark.parametrize("name", ["m.tif", "m.gpkg", "traced.gpkg", "traced.parquet"])
def test_a_map_of_the_network_does_so_too(name: str, folder: Path) -> None:
    if name.startswith("traced"):
        vectorize(folder / "m.tif", output=folder / name)
    told = {"class_field": "crop", "class_map": folder / "classes.csv"}
    short = evaluate(folder / name, labels=folder / "new.gpkg")
    assert short == evaluate(folder / name, labels=folder / "new.gpkg", settings=EvaluateSettings(**told))
    assert {"cereal", "root"} <= {entry.name for entry in short.classes}


def test_what_is_said_otherwise_goes_before_what_is_remembered(folder: Path, tmp_path: Path) -> None:
    labels = fields_of_crops(tmp_path / "other.gpkg", 2, field="kind")
    with pytest.raises(
        LabelError, match=r"no attribute 'crop', which named the classes of the labels behind"
    ) as caught:
        evaluate(folder / "m.tif", labels=labels)
    assert "`class_field`: kind" in str(caught.value.hint)
    same = evaluate(
        folder / "m.tif", labels=labels, settings=EvaluateSettings(class_field="kind")
    )  # the class map is still that of the network
    assert same.classes == evaluate(folder / "m.tif", labels=folder / "new.gpkg").classes
    swapped = {"Rye": "root", "Barley": "root", "Beet": "cereal", "Fallow": "ignore"}
    other = evaluate(folder / "m.tif", labels=labels, settings=EvaluateSettings(class_field="kind", class_map=swapped))
    pixels = [{entry.name: entry.pixels for entry in report.classes} for report in (same, other)]
    assert (pixels[0]["root"], pixels[0]["cereal"]) == (pixels[1]["cereal"], pixels[1]["root"])


def test_unlabelled_values_of_rasters_are_remembered(folder: Path, tmp_path: Path) -> None:
    best = Checkpoint.load(folder / "run")
    meaning = LabelMeaning(class_map="0=background,1=cereal,2=root", unlabelled=(-1,))
    save_checkpoint(tmp_path / "m.safetensors", best.read_weights(), replace(best.card, labels=meaning))
    ids = np.random.default_rng(0).integers(-1, 3, (256, 384)).astype(np.int16)
    labels = write_map(tmp_path / "chip.tif", folder / "new.tif", ids, nodata=None)
    found = evaluate(
        tmp_path / "m.safetensors",
        [folder / "new.tif"],
        labels=labels,
        settings=EvaluateSettings(window=128, threads=1),
    )
    assert found.unlabelled == (ids == -1).sum()
    counts = {entry.name: entry.pixels for entry in found.classes}
    assert (counts["cereal"], counts["root"]) == ((ids == 1).sum(), (ids == 2).sum())


@pytest.mark.parametrize("first", ["raster", "polygons"])
def test_rasters_and_polygons_in_one_list_are_both_read_as_remembered(folder: Path, tmp_path: Path, first: str) -> None:
    best = Checkpoint.load(folder / "run")
    class_map = f"0=background,1=cereal,2=root,{best.card.labels.class_map}"
    meaning = LabelMeaning("crop", class_map, unlabelled=(-1,))
    save_checkpoint(tmp_path / "m.safetensors", best.read_weights(), replace(best.card, labels=meaning))
    ids = np.random.default_rng(0).integers(-1, 3, (256, 384)).astype(np.int16)
    chip = write_map(tmp_path / "chip.tif", folder / "new.tif", ids, nodata=None)
    rows = [f"{folder / 'new.tif'},{chip}", f"{folder / 'old.tif'},{folder / 'old.gpkg'}"]
    table = tmp_path / "scenes.csv"
    table.write_text("\n".join(["scene,labels", *(rows if first == "raster" else reversed(rows))]))
    given = {"window": 128, "threads": 1, "pixels_only": True, "bootstrap": 0}
    both = evaluate(tmp_path / "m.safetensors", pairs=table, settings=EvaluateSettings(**given))
    polygons = evaluate(
        folder / "run", [folder / "old.tif"], labels=folder / "old.gpkg", settings=EvaluateSettings(**given)
    )
    raster = {"background": (ids == 0).sum(), "cereal": (ids == 1).sum(), "root": (ids == 2).sum()}
    assert {entry.name: entry.pixels for entry in both.classes} == {
        entry.name: entry.pixels + raster[entry.name] for entry in polygons.classes
    }


def test_a_value_that_the_remembered_class_map_lacks_is_asked_about_with_that_class_map(folder: Path) -> None:
    labels = fields_of_crops(folder / "more.gpkg", 2)
    added = geopandas.read_file(labels)
    added.loc[0, "crop"] = "Oats"
    added.to_file(labels)
    with pytest.raises(LabelError, match="the value Oats") as caught:
        evaluate(folder / "m.tif", labels=labels)
    kept = "Rye=cereal,Barley=cereal,Beet=root,Fallow=ignore"
    assert str(caught.value.hint).endswith(f"replaces the one of the training, so give both: `class_map={kept!r}`.")
    evaluate(
        folder / "m.tif", labels=labels, settings=EvaluateSettings(class_field="crop", class_map=[kept, "Oats=cereal"])
    )


def test_a_checkpoint_without_a_word_on_labels_is_as_before(folder: Path) -> None:
    card = Checkpoint.load(folder / "run").card
    assert card.labels == LabelMeaning("crop", "Rye=cereal,Barley=cereal,Beet=root,Fallow=ignore")
    assert ModelCard.from_json(card.to_json()) == card
    silent = replace(card, labels=LabelMeaning())
    assert "labels" not in json.loads(silent.to_json())
    assert ModelCard.from_json(silent.to_json()) == silent


def test_a_tag_that_makes_no_sense_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    for text in ("{", "[]", '{"class_field": 3}', '{"class_map": "x"}', '{"unlabelled": ["a"]}', '{"outside": "x"}'):
        assert LabelMeaning.from_json(text, "map.tif") == LabelMeaning()
    assert caplog.text.count("map.tif has an invalid description of its labels") == 6


def test_a_class_map_too_long_for_a_header_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    long = ",".join(f"{i}=class {i % 7}" for i in range(10_000))
    assert LabelMeaning.of_tiles([{"class_field": "crop", "class_map": long}]) == LabelMeaning("crop")
    assert "too long" in caplog.text
