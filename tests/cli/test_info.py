"""``satseg info`` and ``satseg models``.

Covers ``info_tables`` and ``workflows/info``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from onnx_files import write_onnx

from satseg import list_architectures
from satseg.checkpoint import Checkpoint, save_checkpoint
from satseg.classes import ClassTable
from satseg.mapfile.writer import CLASSES_TAG
from satseg.runs import Run
from satseg.sample import sample


def test_info_describes_a_scene(satseg: Callable) -> None:
    done = satseg("info", sample().labelled)
    assert (done.code, done.stderr) == (0, "")
    assert "2,048 x 2,304 px" in done.stdout
    assert "EPSG:3857" in done.stdout


def test_info_prints_one_json_document(satseg: Callable) -> None:
    done = satseg("info", sample().labelled, "--json")
    found = json.loads(done.stdout)
    assert found["kind"] == "scene"
    assert (found["scene"]["width"], found["scene"]["height"]) == (2048, 2304)
    assert found["scene"]["transform"][6:] == [0, 0, 1]


def test_info_describes_a_checkpoint(satseg: Callable, model: Path) -> None:
    lines = satseg("info", model).stdout.splitlines()
    rows = {line[:12].strip(): line[12:] for line in lines}
    assert rows["network"] == "erfnet"
    assert rows["classes"] == "2"
    assert [line.split()[:2] for line in lines if "#" in line] == [["0", "background"], ["1", "buildings"]]
    assert rows["training"] == "augmentation (gain 0.1), steps 7"
    assert rows["validation"] == "mean_iou 0.25"
    assert rows["SHA-256"] == sha256(model.read_bytes()).hexdigest()


def test_info_says_which_bands_come_from_extra_rasters(satseg: Callable, model: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.load(model)
    assert "extra raster" not in satseg("info", model).stdout
    card = replace(checkpoint.card, bands=replace(checkpoint.card.bands, names=("red", "green", "ndsm"), extra=1))
    save_checkpoint(tmp_path / "a.safetensors", checkpoint.read_weights(), card)
    lines = satseg("info", tmp_path / "a.safetensors").stdout.splitlines()
    assert [line.split()[:2] for line in lines if line.rstrip().endswith("extra raster")] == [["3", "ndsm"]]


def test_info_describes_an_onnx_file(satseg: Callable, tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "net.onnx")
    lines = satseg("info", path).stdout.splitlines()
    rows = {line[:12].strip(): line[12:] for line in lines}
    assert rows["network"] == "onnx"
    assert rows["format"] == "ONNX, with metadata for Deepness"
    assert rows["SHA-256"] == sha256(path.read_bytes()).hexdigest()
    assert [line.split()[:2] for line in lines if "#" in line] == [["0", "water"], ["1", "wood"], ["2", "roofs"]]


def test_info_says_what_a_network_of_format_1_does_otherwise(satseg: Callable, model: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.load(model)
    said = []
    for arch, number in (("pspnet", 1), ("pspnet", 2), ("erfnet", 1)):
        path = tmp_path / f"{arch}-{number}.safetensors"
        save_checkpoint(path, checkpoint.read_weights(), replace(checkpoint.card, arch=arch, format=number))
        said.append("scores slide across each window" in satseg("info", path).stdout)
    assert said == [True, False, False]


def test_info_of_a_run_describes_its_best_checkpoint(satseg: Callable, model: Path, tmp_path: Path) -> None:
    shutil.copy(model, tmp_path / "best.safetensors")
    found = json.loads(satseg("info", tmp_path, "--json").stdout)
    assert (found["kind"], found["path"]) == ("checkpoint", str(tmp_path / "best.safetensors"))
    assert found["checkpoint"]["card"]["classes"]["classes"][1]["name"] == "buildings"


def test_info_describes_a_tile_set(satseg: Callable, tmp_path: Path) -> None:
    tiles = tmp_path / "tiles"
    assert satseg("tile", sample().held_out, "-l", sample().labels, "-o", tiles).code == 0
    found = json.loads(satseg("info", tiles, "--json").stdout)
    assert found["kind"] == "tiles"
    assert sum(found["tiles"]["tiles"].values()) == len(list((tiles / "images").iterdir()))
    assert found["tiles"]["scenes"] == [str(sample().held_out)]
    assert "buildings" in satseg("info", tiles).stdout


def test_info_describes_a_tile_set_without_train_tiles(satseg: Callable, tmp_path: Path) -> None:
    tiles = tmp_path / "tiles"
    assert satseg("tile", sample().held_out, "-l", sample().labels, "-o", tiles).code == 0
    index = geopandas.read_parquet(tiles / "index.parquet")
    index.assign(split="test").to_parquet(tiles / "index.parquet")
    found = json.loads(satseg("info", tiles, "--json").stdout)["tiles"]
    assert (found["tiles"]["train"], found["statistics"]) == (0, None)
    assert found["tiles"]["test"] > 0
    assert satseg("info", tiles).code == 0


def test_info_names_a_few_of_many_scenes_on_the_screen(satseg: Callable, tmp_path: Path) -> None:
    tiles = tmp_path / "tiles"
    assert satseg("tile", sample().held_out, "-l", sample().labels, "-o", tiles).code == 0
    index = geopandas.read_parquet(tiles / "index.parquet")
    index.assign(scene=[f"s{n}.tif" for n in range(len(index))]).to_parquet(tiles / "index.parquet")
    (line,) = (line for line in satseg("info", tiles).stdout.splitlines() if line.startswith("scenes"))
    assert line.endswith(f"s6.tif, s7.tif and {len(index) - 8:,} more")
    assert len(json.loads(satseg("info", tiles, "--json").stdout)["tiles"]["scenes"]) == len(index)


def test_info_takes_confidence_for_no_classes(satseg: Callable, tmp_path: Path) -> None:
    table = ClassTable.from_names(["background", "building"])
    shape: dict[str, Any] = {"driver": "GTiff", "height": 4, "width": 4, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "sure.tif", "w", crs="EPSG:32645", transform=Affine.scale(2, -2), **shape) as t:
        t.write(np.full((1, 4, 4), 200, np.uint8))
        t.scales = (1 / 254,)
        t.update_tags(**{CLASSES_TAG: json.dumps(table.to_dict())})
    assert json.loads(satseg("info", tmp_path / "sure.tif", "--json").stdout)["kind"] == "scene"
    assert "building" not in satseg("info", tmp_path / "sure.tif").stdout


def test_info_of_a_folder_without_anything_is_wrong_usage(satseg: Callable, tmp_path: Path) -> None:
    done = satseg("info", tmp_path)
    assert (done.code, done.stdout) == (2, "")
    assert "is not a tile set, training run or scene" in done.stderr


def test_info_of_nothing_fails_in_one_sentence(satseg: Callable, tmp_path: Path) -> None:
    done = satseg("info", tmp_path / "x.tif")
    assert (done.code, done.stderr) == (1, f"error: {tmp_path / 'x.tif'} does not exist.\n")


@pytest.mark.parametrize("file", ["text.safetensors", "text.tif"])
def test_info_of_a_file_that_is_not_what_it_seems_fails_in_one_sentence(
    file: str, satseg: Callable, tmp_path: Path
) -> None:
    (tmp_path / file).write_text("text")
    done = satseg("info", tmp_path / file)
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {tmp_path / file} ")
    assert "unexpected" not in done.stderr


def test_models_lists_every_network(satseg: Callable) -> None:
    lines = satseg("models").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [entry.name for entry in list_architectures()]


def test_models_prints_one_json_document(satseg: Callable) -> None:
    found = json.loads(satseg("models", "--json").stdout)
    assert [entry["name"] for entry in found] == [entry.name for entry in list_architectures()]
    assert {"name", "year", "paper", "parameters", "output_stride", "encoder"} <= found[0].keys()


def write_classes(path: Path, ids: np.ndarray, *, overviews: bool = False) -> Path:
    """Write a class raster as satseg does: with a colour table and its own class table."""
    table = ClassTable.from_names(["background", "roof", "road"])
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": ids.shape[0],
        "width": ids.shape[1],
        "count": 1,
        "dtype": "uint8",
    }
    with rasterio.open(
        path, "w", nodata=255, crs="EPSG:32645", transform=Affine(1, 0, 3e5, 0, -1, 3e6), **profile
    ) as t:
        t.write(ids, 1)
        t.write_colormap(1, {entry.id: (*entry.rgb, 255) for entry in table})
        t.update_tags(**{CLASSES_TAG: json.dumps(table.to_dict())})
        if overviews:
            t.build_overviews([2, 4], rasterio.enums.Resampling.mode)
    return path


def test_info_describes_a_class_raster_by_its_classes(satseg: Callable, tmp_path: Path) -> None:
    ids = np.zeros((40, 50), dtype=np.uint8)
    ids[:10], ids[10:14], ids[39] = 1, 2, 255
    path = write_classes(tmp_path / "classes.tif", ids)
    found = json.loads(satseg("info", path, "--json").stdout)
    assert found["kind"] == "classes"
    assert found["classes"]["shares"] == {"background": 25 / 40, "roof": 10 / 40, "road": 4 / 40, "nodata": 1 / 40}
    assert found["classes"]["exact"]
    text = satseg("info", path).stdout
    assert "class raster" in text
    assert "25.00%" in text


def test_info_counts_large_class_rasters_in_an_overview(
    satseg: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = np.zeros((400, 400), dtype=np.uint8)
    ids[:100] = 1
    path = write_classes(tmp_path / "classes.tif", ids, overviews=True)
    monkeypatch.setattr("satseg.workflows.info.COUNTED_PIXELS", 1000)
    found = json.loads(satseg("info", path, "--json").stdout)["classes"]
    assert (found["shares"]["roof"], found["exact"]) == (0.25, False)
    assert "from an overview" in satseg("info", path).stdout


def test_info_describes_polygons(satseg: Callable) -> None:
    found = json.loads(satseg("info", sample().labels, "--json").stdout)
    assert found["kind"] == "polygons"
    assert found["polygons"]["count"] > 100
    assert found["polygons"]["crs"] == "EPSG:3857"
    assert f"{found['polygons']['count']:,}" in satseg("info", sample().labels).stdout


def test_info_tells_how_far_an_unfinished_run_is(satseg: Callable, model: Path, tmp_path: Path) -> None:
    run = Run.start(tmp_path / "run", {"arch": "erfnet"})
    assert "unfinished" in satseg("info", run.path).stdout
    run.log.add({"step": 12, "miou": 0.5})
    found = json.loads(satseg("info", run.path, "--json").stdout)
    assert (found["kind"], found["run"]["steps"], found["run"]["mean_iou"]) == ("run", 12, 0.5)
    shutil.copy(model, run.best)
    found = json.loads(satseg("info", run.path, "--json").stdout)
    assert (found["kind"], found["run"]["finished"]) == ("checkpoint", False)
    assert "unfinished" in satseg("info", run.path).stdout


def test_values_of_labels_are_a_table_json_or_a_class_map(satseg: Callable, tmp_path: Path) -> None:
    shapes = [shapely.box(i, 0, i + 1, 1) for i in range(3)]
    crops = {"crop": ["Kartofler, spise-", "Rug", "Rug"]}
    path = tmp_path / "fields.shp"
    geopandas.GeoDataFrame(crops, geometry=shapes, crs="EPSG:32632").to_file(path)
    done = satseg("info", path, "--class-field", "crop")
    assert (done.code, done.stderr) == (0, "")
    assert [line.split()[:2] for line in done.stdout.splitlines()[-2:]] == [["Rug", "2"], ["Kartofler,", "spise-"]]
    values = json.loads(satseg("info", path, "--class-field", "crop", "--json").stdout)["values"]
    assert [(entry["value"], entry["count"]) for entry in values] == [("Rug", 2), ("Kartofler, spise-", 1)]
    written = satseg("info", path, "--class-field", "crop", "--class-map", "-")
    assert written.stdout.startswith("value,class,colour,count,area_m2\nRug,Rug,,2,")
    assert '"Kartofler, spise-","Kartofler, spise-",,1,' in written.stdout
    for wrong in (["--class-map", "classes.csv"], ["--class-map", "-", "--json"]):
        done = satseg("info", path, "--class-field", "crop", *wrong)
        assert (done.code, done.stdout) == (2, "")
        assert "`satseg info` writes the class map to stdout only" in done.stderr


def test_info_values_of_a_class_raster(satseg: Callable, tmp_path: Path) -> None:
    profile = {"count": 1, "height": 1, "width": 4, "dtype": "uint8"}
    with rasterio.open(tmp_path / "mask.png", "w", driver="PNG", **profile) as dataset:
        dataset.write(np.array([[[0, 7, 7, 7]]], dtype=np.uint8))
    done = satseg("info", tmp_path / "mask.png", "--values")
    assert [line.split()[:2] for line in done.stdout.splitlines()[-2:]] == [["0", "1"], ["7", "3"]]
