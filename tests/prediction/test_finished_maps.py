"""Maps that are finished already, and what is said where they are to be resumed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_scenes import write_scene
from typer.testing import CliRunner

from satseg.backend import create_model
from satseg.checkpoint import ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.cli.app import app
from satseg.errors import OutputError, SatsegError
from satseg.files.atomic_write import work_folder
from satseg.prediction.settings import PredictionSettings
from satseg.records import BandSpec, BandStatistics, FinishedMap
from satseg.vectorization.settings import PolygonSettings
from satseg.workflows.predict import predict, predict_scenes

SETTINGS: dict[str, Any] = {"window": 64, "overlap": 8, "threads": 1}


def settings(**more: Any) -> PredictionSettings:
    return PredictionSettings(**{**SETTINGS, "resume": True, **more})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two checkpoints of one name in two folders."""
    import torch

    made = []
    for seed in range(2):
        torch.manual_seed(seed)
        card = ModelCard(
            arch="espnet",
            classes=ClassTable.from_names(["background", "roof"]),
            bands=BandSpec(("band_1",), "uint8", (1.0,), (0.0,)),
            statistics=BandStatistics(1, (128.0,), (50.0,), (0.0,), (255.0,)),
            gsd=None,
            tile_size=64,
            training={"steps": 1},
        )
        made.append(tmp_path_factory.mktemp("model") / "best.safetensors")
        save_checkpoint(made[-1], create_model("espnet", in_channels=1, num_classes=2).state_dict(), card)
    return made


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return scene_of(tmp_path / "scene.tif", 0)


def scene_of(path: Path, seed: int) -> Path:
    values = np.random.default_rng(seed).integers(1, 255, (1, 70, 80), dtype=np.uint8)
    return write_scene(path, values)


def contents(paths: Sequence[Path]) -> list[tuple[bytes, int]]:
    return [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]


@pytest.mark.parametrize("name", ["map.tif", "map.gpkg", "map.parquet", "map.fgb", "map.geojson"])
def test_a_finished_map_is_left_alone(scene: Path, models: list[Path], name: str) -> None:
    output = scene.with_name(name)
    assert predict(scene, output=output, model=models[0], settings=settings()) is not None
    before = contents([output])
    assert predict(scene, output=output, model=models[0], settings=settings()) is None
    assert contents([output]) == before
    assert not work_folder(output).exists()


def test_a_finished_map_needs_no_network(scene: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    output = [scene.with_name("map.tif"), scene.with_name("map.gpkg")]
    predict(scene, output=output, model=models[0], settings=settings())
    monkeypatch.setattr("satseg.prediction.job.Predictor", lambda *_: pytest.fail("a network was loaded"))
    assert predict(scene, output=output, model=models[0], settings=settings(threads=2)) is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"tta": "flips"},
            "the options were --window 64 --overlap 8, now they are --window 64 --overlap 8 --tta flips",
        ),
        ({"window": None, "overlap": "auto"}, "the options were --window 64 --overlap 8, now they are the defaults"),
        ({"sieve": 4}, "now they are --window 64 --overlap 8 --sieve 4"),
    ],
)
def test_a_map_made_with_other_options_is_refused_with_both(
    scene: Path, models: list[Path], changed: dict[str, Any], said: str
) -> None:
    output = scene.with_name("map.tif")
    predict(scene, output=output, model=models[0], settings=settings())
    before = contents([output])
    with pytest.raises(OutputError, match="exists, but was made from other inputs") as caught:
        predict(scene, output=output, model=models[0], settings=settings(**changed))
    assert said in caught.value.message
    assert "Leave out `resume`" in str(caught.value.hint)
    assert contents([output]) == before


def test_options_of_polygons_count_for_polygons_alone(scene: Path, models: list[Path]) -> None:
    raster, polygons = scene.with_name("map.tif"), scene.with_name("map.gpkg")
    predict(scene, output=[raster, polygons], model=models[0], settings=settings())
    other = settings(polygons=PolygonSettings(keep_background=True))
    assert predict(scene, output=raster, model=models[0], settings=other) is None
    with pytest.raises(OutputError, match=r"map\.gpkg exists.*--keep-background"):
        predict(scene, output=[raster, polygons], model=models[0], settings=other)


def test_a_map_of_another_model_is_refused_with_both(scene: Path, models: list[Path]) -> None:
    output = scene.with_name("map.tif")
    predict(scene, output=output, model=models[0], settings=settings())
    with pytest.raises(
        OutputError, match=r"the model was best\.safetensors sha256:(\w+), now it is best.*sha256:(?!\1)"
    ):
        predict(scene, output=output, model=models[1], settings=settings())


def test_a_map_of_another_scene_is_refused(scene: Path, models: list[Path], tmp_path: Path) -> None:
    output = scene.with_name("map.tif")
    predict(scene, output=output, model=models[0], settings=settings())
    (tmp_path / "other").mkdir()
    other = scene_of(tmp_path / "other" / "scene.tif", 1)
    with pytest.raises(OutputError, match="the scene was another one"):
        predict(other, output=output, model=models[0], settings=settings())
    copy = shutil.copy2(scene, tmp_path / "other" / "scene.tif")
    assert predict(copy, output=output, model=models[0], settings=settings()) is None
    later = output.stat().st_mtime_ns + 10**9
    os.utime(scene, ns=(later, later))
    with pytest.raises(OutputError, match=r"scene\.tif was changed after .*map\.tif was made from it"):
        predict(scene, output=output, model=models[0], settings=settings())


def test_a_format_that_keeps_no_provenance_is_told(scene: Path, models: list[Path]) -> None:
    output = scene.with_name("map.shp")
    predict(scene, output=output, model=models[0], settings=settings())
    with pytest.raises(OutputError, match=r"map\.shp does not store what it was made from"):
        predict(scene, output=output, model=models[0], settings=settings())
    assert predict(scene, output=output, model=models[0], settings=settings(skip_existing=True)) is None


def test_a_map_that_lacks_an_output_is_made(scene: Path, models: list[Path]) -> None:
    raster, polygons = scene.with_name("map.tif"), scene.with_name("map.gpkg")
    predict(scene, output=raster, model=models[0], settings=settings())
    assert predict(scene, output=[raster, polygons], model=models[0], settings=settings()) is not None
    assert polygons.exists()


def test_of_many_scenes_the_finished_ones_are_passed_over_and_counted(models: list[Path], tmp_path: Path) -> None:
    scenes = [scene_of(tmp_path / f"{name}.tif", seed) for seed, name in enumerate("abcd")]
    words = [
        "-m",
        str(models[0]),
        "-o",
        str(tmp_path / "{stem}_map.tif"),
        "--window",
        "64",
        "--threads",
        "1",
        "--resume",
    ]
    assert CliRunner().invoke(app, ["predict", *map(str, scenes[:2]), *words]).exit_code == 0
    (tmp_path / "c_map.tif").write_bytes((tmp_path / "a_map.tif").read_bytes())
    answer = CliRunner().invoke(app, ["predict", *map(str, scenes), *words])
    assert answer.exit_code == 1
    assert "The maps of 2 scenes were finished already." in answer.stderr
    assert "c_map.tif exists, but was made from other inputs" in answer.stderr
    assert (tmp_path / "d_map.tif").exists()
    (tmp_path / "c_map.tif").unlink()
    answer = CliRunner().invoke(app, ["predict", *map(str, scenes), *words, "--json"])
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    assert answer.exit_code == 0
    assert [line.get("finished", False) for line in lines] == [True, True, False, True]
    assert lines[0] == {"scene": str(scenes[0]), "outputs": [str(tmp_path / "a_map.tif")], "finished": True}


def test_the_command_says_that_a_map_is_finished(scene: Path, models: list[Path]) -> None:
    output = scene.with_name("map.tif")
    words = [
        "predict",
        str(scene),
        "-m",
        str(models[0]),
        "-o",
        str(output),
        "--window",
        "64",
        "--threads",
        "1",
        "--resume",
    ]
    assert CliRunner().invoke(app, words).exit_code == 0
    answer = CliRunner().invoke(app, words)
    assert (answer.exit_code, answer.stderr) == (0, f"The map of {scene} is finished already: {output}\n")


def test_a_layer_of_many_scenes_is_finished_when_all_of_them_are_in_it(models: list[Path], tmp_path: Path) -> None:
    scenes = [scene_of(tmp_path / f"{name}.tif", seed) for seed, name in enumerate("abc")]
    output, failures = tmp_path / "all.gpkg", list[SatsegError]()
    finished: list[FinishedMap] = []

    def run(*named: Path) -> int:
        finished.clear()
        failures.clear()
        how = {"output": output, "model": models[0], "settings": settings()}
        found = predict_scenes(named, on_error=failures.append, on_finished=finished.append, **how)
        return len([*found])

    broken = scenes[1].read_bytes()
    scenes[1].write_bytes(broken[:100])
    assert (run(*scenes), len(failures)) == (2, 1)
    assert run(*scenes) == 2  # nothing of the second one has begun, but the layer is not what was asked for
    scenes[1].write_bytes(broken)
    assert (run(*scenes), len(failures), len(finished)) == (3, 0, 0)
    assert not work_folder(output).exists()
    assert (run(*scenes), [found.scene for found in finished]) == (0, [str(scene) for scene in scenes])
    with pytest.raises(OutputError, match="the scene was another one"):
        run(*scenes[:2])
