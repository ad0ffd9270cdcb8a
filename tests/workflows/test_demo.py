"""The demo: real commands on real scenes, with a few steps of training."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import geopandas
import pytest
import rasterio
import typer
from PIL import Image
from rasterio.windows import Window

from satseg.checkpoint import Checkpoint
from satseg.cli.app import app, run
from satseg.cli.console import ConsoleOutput
from satseg.errors import ArchitectureError, OutputError, UsageError
from satseg.evaluation.settings import EvaluateSettings
from satseg.records import EvaluationReport, ProgressEvent
from satseg.sample import CREDIT, Sample, copy_sample, sample
from satseg.workflows.demo import DemoSummary, demo
from satseg.workflows.evaluate import evaluate

HELD_OUT = (256, 512)
STEPS = ["predict", "evaluate", "tile", "train", "predict", "evaluate"]
TRAIN, PREDICT = STEPS.index("train"), len(STEPS) - 2


def copy_crops(folder: Path) -> Sample:
    """Stand in for ``copy_sample``: the same scenes, cut to their corners, so that each step takes a second."""
    copied = copy_sample(folder)
    for scene, (height, width) in (
        (copied.labelled, (1024, 768)),
        (copied.held_out, HELD_OUT),
        (copied.unlabelled, (256, 256)),
    ):
        with rasterio.open(scene) as dataset:
            pixels, profile = dataset.read(window=Window(0, 0, width, height)), dataset.profile
        with rasterio.open(scene, "w", **{**profile, "width": width, "height": height}) as dataset:
            dataset.write(pixels)
    return copied


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoSummary, list[str], list[ProgressEvent]]:
    said: list[str] = []
    events: list[ProgressEvent] = []
    folder = tmp_path_factory.mktemp("demo") / "my demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("satseg.workflows.demo.copy_sample", copy_crops)
        return demo(folder, steps=2, threads=1, announce=said.append, progress=events.append), said, events


def test_every_command_is_announced_before_it_runs(done) -> None:
    summary, said, _ = done
    assert said == [step.command for step in summary.steps]
    assert [step.name for step in summary.steps] == STEPS
    assert all(step.seconds > 0 for step in summary.steps)


def test_commands_are_ones_that_satseg_takes(done) -> None:
    for line in done[1]:
        program, name, *words = shlex.split(line)
        assert program == "satseg"
        assert typer.main.get_command(app).commands[name].make_context(name, words).params


def test_evaluate_typed_as_announced_gives_the_same_report(done) -> None:
    summary, said, _ = done
    _, _, ids, _, labels, option = shlex.split(said[-1])
    assert option == "--objects"
    assert evaluate(ids, labels=labels, settings=EvaluateSettings(objects=True)) == summary.evaluation


def test_predict_typed_as_announced_gives_the_same_bytes(done) -> None:
    summary, said, _ = done
    maps = [Path(summary.path) / "maps" / name for name in ("town_held_out.tif", "town_unlabelled.tif")]
    before = [path.read_bytes() for path in maps]
    # into the same files, whose names are in their provenance
    assert run(shlex.split(said[PREDICT])[1:], ConsoleOutput()) == 0
    assert [path.read_bytes() for path in maps] == before


def test_the_network_has_been_trained_by_what_was_announced(done) -> None:
    summary, said, _ = done
    assert "--steps 2" in said[TRAIN]
    assert said[TRAIN].endswith("--threads 1")
    assert summary.training.steps == 2
    trained, shipped = (Checkpoint.load(name).card for name in (summary.training.best, "sample"))
    assert (trained.arch, trained.arch_options) == (shipped.arch, shipped.arch_options)
    assert Path(summary.training.path).name == f"{shipped.arch}-1"


def test_the_first_map_is_that_of_the_network_of_the_package(done) -> None:
    first = Path(done[0].path) / "first" / "town_held_out.tif"
    with rasterio.open(first) as dataset:
        assert Checkpoint.load("sample").digest in dataset.tags()["SATSEG_MODEL"]
    labels, settings = sample(Path(done[0].path) / "scenes").labels, EvaluateSettings(objects=True)
    assert evaluate(first, labels=labels, settings=settings) == done[0].first


def test_what_the_network_had_learnt_before_is_said(done) -> None:
    steps = Checkpoint.load("sample").card.training["steps"]
    assert f"had learnt from town.tif for {steps:,} steps" in done[0].learnt
    assert "ImageNet" in done[0].learnt


def test_the_project_shows_files_beside_it_in_their_crs(done) -> None:
    summary, _, _ = done
    project = ElementTree.parse(summary.project).getroot()
    layers = project.findall("projectlayers/maplayer")
    listed = [entry.get("id") for entry in project.iter("layer-tree-layer")]
    assert listed == [layer.findtext("id") for layer in layers]
    sources = [layer.findtext("datasource").partition("|")[0] for layer in layers]
    assert all(source.startswith("./") and (Path(summary.path) / source).is_file() for source in sources)
    assert {Path(source).name for source in sources} >= {"town.tif", "town_unlabelled.tif", "town_unlabelled.gpkg"}
    assert {entry.text for entry in project.iter("authid")} == {"EPSG:3857"}
    groups = project.findall("layer-tree-group/layer-tree-group")
    assert [group.get("name") for group in groups] == ["town_unlabelled", "town_held_out"]
    assert [entry.get("name") for entry in groups[0]] == ["Polygons", "Objects", "Scene"]


def test_files_exist_and_are_as_large_as_stated(done) -> None:
    summary, _, _ = done
    assert {Path(path).name for path in summary.files} == {
        "best.safetensors",
        "town_held_out.tif",
        "town_held_out.gpkg",
        "town_unlabelled.tif",
        "town_unlabelled.gpkg",
        "preview.png",
        "demo.qgs",
    }
    assert all(Path(path).stat().st_size == size for path, size in summary.files.items())


def test_the_held_out_scene_is_scored_pixel_by_pixel(done) -> None:
    assert done[0].evaluation.pixels == HELD_OUT[0] * HELD_OUT[1]


def test_the_preview_is_a_light_picture(done) -> None:
    summary, _, _ = done
    with Image.open(summary.preview) as picture:
        assert picture.width > 1.5 * picture.height
    assert Path(summary.preview).stat().st_size < 1_000_000


def test_maps_holds_nothing_else(done) -> None:
    names = {path.name for path in (Path(done[0].path) / "maps").iterdir()}
    assert names == {
        f"town_{name}.{suffix}" for name in ("held_out", "unlabelled") for suffix in ("tif", "gpkg", "qml")
    }


def test_polygons_can_be_read(done, tmp_path: Path) -> None:
    polygons = shutil.copy(Path(done[0].path) / "maps" / "town_unlabelled.gpkg", tmp_path)
    assert geopandas.read_file(polygons, layer=0).crs.to_epsg() == 3857


def test_the_makers_of_the_sample_are_named(done) -> None:
    summary, _, _ = done
    assert summary.credit == CREDIT
    assert (Path(summary.path) / "scenes" / "ATTRIBUTION.md").is_file()


def test_every_long_command_tells_its_progress(done) -> None:
    assert len({event.task for event in done[2]}) >= 3


@pytest.mark.slow
def test_the_whole_demo_as_a_command(tmp_path: Path) -> None:
    words = ["-m", "satseg", "demo", "-o", "demo", "--minutes", "0.1", "--json"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)["evaluation"]
    assert report["pixels"] == 2048 * 1024
    assert [line.split()[2] for line in done.stderr.splitlines() if line.startswith("$ satseg")] == STEPS


@pytest.mark.slow
def test_the_demo_finds_buildings_of_a_scene_it_has_not_seen(tmp_path: Path) -> None:
    summary = demo(tmp_path / "demo", steps=20)
    for report in (summary.first, summary.evaluation):
        assert building_iou(report) > 0.67
        assert report.object_f1 > 0.5


def building_iou(report: EvaluationReport) -> float:
    return next(entry.iou for entry in report.classes if entry.name == "buildings")


def test_another_network_begins_on_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("satseg.workflows.demo.copy_sample", copy_crops)
    summary = demo(tmp_path / "demo", arch="erfnet", steps=1, threads=1)
    assert "--arch erfnet --steps 1" in summary.steps[TRAIN].command
    assert summary.training.arch == "erfnet"
    assert summary.learnt.startswith("The network erfnet started from random weights, and learnt from town.tif.")


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="is not empty") as refused:
        demo(tmp_path)
    assert "overwrite" not in refused.value.hint
    with pytest.raises(
        OutputError, match=r"was not written by the demo and cannot be replaced: it contains letter\.txt"
    ):
        demo(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("dear")
    with pytest.raises(OutputError, match="is a file"):
        demo(tmp_path / "demo")


def test_the_folder_of_an_earlier_demo_can_be_used_again(done) -> None:
    folder = Path(done[0].path)
    with pytest.raises(OutputError) as refused:
        demo(folder)
    assert "`overwrite=True`" in refused.value.hint


@pytest.mark.parametrize(("arguments", "error"), [({"minutes": 0}, UsageError), ({"arch": "erfnt"}, ArchitectureError)])
def test_nonsense_is_refused_before_anything_is_written(arguments: dict, error: type, tmp_path: Path) -> None:
    with pytest.raises(error):
        demo(tmp_path / "demo", **arguments)
    assert not (tmp_path / "demo").exists()


def test_a_demo_that_runs_again_replaces_maps_and_keeps_runs(done, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands last: it replaces what the other tests look at."""
    monkeypatch.setattr("satseg.workflows.demo.copy_sample", copy_crops)
    first, folder = done[0].training.best, Path(done[0].path)
    digest = Checkpoint.load(first).digest
    again = demo(folder, steps=1, threads=1, overwrite=True)
    assert "--overwrite" in again.steps[STEPS.index("tile")].command
    assert Path(again.training.path).name == "unet-2"
    assert Checkpoint.load(first).digest == digest
    with rasterio.open(folder / "maps" / "town_held_out.tif") as dataset:
        assert Checkpoint.load(again.training.best).digest in dataset.tags()["SATSEG_MODEL"]
