"""``satseg info`` and ``satseg models``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from satseg import list_architectures
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
    assert rows["classes"] == "0 background, 1 buildings"
    assert rows["training"] == "augmentation (gain 0.1), steps 7"
    assert rows["validation"] == "mean_iou 0.25"
    assert rows["SHA-256"] == sha256(model.read_bytes()).hexdigest()


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


def test_info_of_a_folder_without_anything_is_wrong_usage(satseg: Callable, tmp_path: Path) -> None:
    done = satseg("info", tmp_path)
    assert (done.code, done.stdout) == (2, "")
    assert "holds no tile set, no training run and no scene" in done.stderr


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


def test_info_of_awkward_rasters_is_right_or_one_sentence(satseg: Callable, shared_data: Path) -> None:
    for path in sorted((shared_data / "rasters").iterdir()):
        done = satseg("info", path, "--json")
        assert done.code in (0, 1), path
        if done.code == 0:
            assert json.loads(done.stdout)["kind"] == "scene", path
        else:
            assert done.stderr.startswith("error: "), path
            assert "unexpected" not in done.stderr, done.stderr
