"""Covers ``score_network``, ``tiles/scores``, ``cli/evaluate``, and ``evaluation/settings``."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
from made_scenes import write_map
from typer.testing import CliRunner

from satseg.backend import create_model
from satseg.checkpoint import Checkpoint, save_checkpoint
from satseg.classes import ClassTable
from satseg.cli import app as cli
from satseg.cli.app import app
from satseg.cli.console import ConsoleOutput
from satseg.cli.evaluate import report_tables
from satseg.errors import CheckpointError, LabelError, SceneError, TileError, UsageError
from satseg.evaluation.confusion import ConfusionMatrix, score
from satseg.evaluation.settings import EvaluateSettings
from satseg.inference.network import Network, has_global_context
from satseg.labels.label_files import open_labels
from satseg.prediction.settings import PredictionSettings
from satseg.raster.scene import Scene
from satseg.tiles.tileset import TileSet
from satseg.tiling.settings import TileSettings
from satseg.training.settings import TrainSettings
from satseg.workflows.evaluate import evaluate
from satseg.workflows.predict import predict
from satseg.workflows.tile import tile
from satseg.workflows.train import train


@pytest.fixture(scope="module")
def run(bright_tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps: good enough to be neither right nor wrong everywhere."""
    output = tmp_path_factory.mktemp("evaluated") / "run"
    train(bright_tiles, output=output, settings=TrainSettings(arch="erfnet", steps=12, batch_size=4, threads=1))
    return output


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def test_a_run_is_scored_on_its_own_tiles_though_others_lie_beside_it(
    run: Path, bright_tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(bright_tiles, tmp_path / "tiles")
    for image in (tmp_path / "tiles").rglob("*.tif"):
        image.unlink()  # scoring these would fail
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", "satseg")
    named = evaluate(run, [bright_tiles], settings=EvaluateSettings(threads=1, pixels_only=True))
    assert not caplog.messages
    for subject in (run, run / "best.safetensors"):
        assert evaluate(subject, settings=EvaluateSettings(threads=1, pixels_only=True)) == named
    assert caplog.messages.count(f"Scoring the tiles of the run: {bright_tiles}.") == 2


def test_a_run_whose_tiles_are_gone_is_not_scored_on_others(
    run: Path, bright_tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = Path(shutil.copytree(run, tmp_path / "moved"))
    settings = json.loads((moved / "settings.json").read_text())
    settings["circumstances"]["tile_set"] = str(tmp_path / "gone")
    (moved / "settings.json").write_text(json.dumps(settings))
    shutil.copytree(bright_tiles, tmp_path / "tiles")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TileError, match="gone, which do not exist any more"):
        evaluate(moved, settings=EvaluateSettings(threads=1))


def test_a_checkpoint_on_the_val_split_scores_as_it_did_in_training(run: Path, bright_tiles: Path) -> None:
    report = evaluate(run / "best.safetensors", [bright_tiles], settings=EvaluateSettings(split="val", threads=1))
    assert report.mean_iou == pytest.approx(
        Checkpoint.load(run / "best.safetensors").card.metrics["mean_iou"], abs=0.01
    )
    assert [entry.name for entry in report.classes] == list(TileSet.open(bright_tiles).classes.names)


def test_the_test_split_holds_all_of_its_labelled_pixels(run: Path, bright_tiles: Path) -> None:
    report = evaluate(run, [bright_tiles], settings=EvaluateSettings(threads=1))
    assert report.pixels == sum(sum(tile.pixels) for tile in TileSet.open(bright_tiles).tiles("test"))


def test_a_scene_scores_as_the_map_that_predict_makes_of_it(run: Path, bright_scene: Path, tmp_path: Path) -> None:
    labels, classes = bright_scene.parent / "labels.tif", tmp_path / "classes.tif"
    settings = PredictionSettings(window=128, overlap=16, threads=1)
    predict(bright_scene, model=run / "best.safetensors", output=[classes], settings=settings)
    by_map = evaluate(classes, labels=labels)
    by_network = evaluate(
        run, [bright_scene], labels=labels, settings=EvaluateSettings(window=128, overlap=16, threads=1)
    )
    assert by_map == by_network
    assert by_map.pixels == 256 * 384 - 40 * 40


@pytest.mark.parametrize("coarser", [1.0, 2.0])
def test_a_scene_scores_as_its_map_without_any_settings(
    run: Path, bright_scene: Path, tmp_path: Path, coarser: float
) -> None:
    """Pixel for pixel: labels are the map of a network with global context, whose windows are training tiles."""
    best = Checkpoint.load(run / "best.safetensors")
    torch.manual_seed(0)
    network = create_model("bisenet", in_channels=2, num_classes=2)
    assert has_global_context(network)
    assert best.card.gsd is not None
    gsd = (best.card.gsd[0] / coarser, best.card.gsd[1] / coarser)
    save_checkpoint(tmp_path / "m.safetensors", network.state_dict(), replace(best.card, arch="bisenet", gsd=gsd))
    summary = predict(bright_scene, model=tmp_path / "m.safetensors", output=tmp_path / "map.tif")
    assert summary is not None
    assert summary.plan.window[0] == best.card.tile_size / coarser
    report = evaluate(
        tmp_path / "m.safetensors",
        [bright_scene],
        labels=tmp_path / "map.tif",
        settings=EvaluateSettings(pixels_only=True),
    )
    assert report.global_accuracy == 1
    found = [summary.pixels[entry.name] for entry in best.card.classes]
    assert min(found) > 100
    assert np.array_equal(report.confusion, np.diag(found))


def test_a_scene_and_its_map_score_alike_where_neither_has_pixels(
    run: Path, bright_scene: Path, tmp_path: Path
) -> None:
    with Scene.open(bright_scene) as scene:
        _, valid = scene.read(rasterio.windows.Window(0, 0, 384, 256))
        place, crs = scene.info.transform, scene.info.crs
    bottom, right = (int(numbers.max()) + 1 for numbers in np.nonzero(~valid))
    box = shapely.box(*(place * (right - 10, bottom - 10)), *(place * (right + 10, bottom + 10)))
    geopandas.GeoDataFrame(geometry=[box], crs=crs).to_file(tmp_path / "roofs.gpkg")
    best = Checkpoint.load(run / "best.safetensors")
    card = replace(best.card, classes=ClassTable.from_names(["background", "roofs"]))
    model = tmp_path / "model.safetensors"
    save_checkpoint(model, best.read_weights(), card)
    settings = PredictionSettings(window=128, overlap=16, threads=1)
    predict(bright_scene, model=model, output=[tmp_path / "map.tif"], settings=settings)
    labels = tmp_path / "roofs.gpkg"
    by_map = evaluate(tmp_path / "map.tif", labels=labels)
    by_network = evaluate(
        model, [bright_scene], labels=labels, settings=EvaluateSettings(window=128, overlap=16, threads=1)
    )
    assert by_map == by_network
    assert (by_map.left_out, by_map.pixels) == (10 * 10, 256 * 384 - 40 * 40)


def test_a_class_raster_against_itself_is_right_everywhere(bright_scene: Path) -> None:
    labels = bright_scene.parent / "labels.tif"
    report = evaluate(labels, labels=labels)
    assert (report.global_accuracy, report.mean_iou, report.pixels) == (1, 1, 256 * 384)


def test_a_class_raster_against_polygons_is_counted_pixel_by_pixel(bright_scene: Path, tmp_path: Path) -> None:
    with Scene.open(bright_scene) as scene:
        transform, info = scene.info.transform, scene.info
    boxes = [shapely.box(*(transform * (x, y)), *(transform * (x + 30, y + 20))) for x, y in ((5, 9), (200, 100))]
    geopandas.GeoDataFrame(geometry=boxes, crs=info.crs).to_crs("EPSG:4326").to_file(tmp_path / "roofs.gpkg")
    ids = np.random.default_rng(0).integers(0, 2, (256, 384)).astype(np.uint8)
    ids[:10] = 255
    report = evaluate(write_map(tmp_path / "map.tif", bright_scene, ids), labels=tmp_path / "roofs.gpkg")
    source = open_labels(tmp_path / "roofs.gpkg")
    expected = ConfusionMatrix(2)
    expected.add(source.on(info).read(rasterio.windows.Window(0, 0, 384, 256)), ids)
    assert report.confusion == score(expected.counts, ["background", "roofs"]).confusion
    assert (report.classes[1].name, report.classes[1].label_objects) == ("roofs", 2)


def test_ids_with_gaps_are_compared_as_they_are(bright_scene: Path, tmp_path: Path) -> None:
    truth = np.where(read(bright_scene.parent / "labels.tif") == 1, 50, 10).astype(np.uint8)
    guess = np.where(truth == 50, 50, 20).astype(np.uint8)
    labels = write_map(tmp_path / "labels.tif", bright_scene, truth)
    report = evaluate(write_map(tmp_path / "map.tif", bright_scene, guess), labels=labels)
    assert [entry.name for entry in report.classes] == ["class 10", "class 20", "class 50"]
    assert [entry.iou for entry in report.classes] == [0, 0, 1]


def test_a_map_with_a_class_that_the_labels_do_not_know_is_refused(bright_scene: Path, tmp_path: Path) -> None:
    with Scene.open(bright_scene) as scene:
        corner = scene.info.transform * (5, 9)
    geopandas.GeoDataFrame(geometry=[shapely.Point(corner).buffer(50)], crs="EPSG:32645").to_file(
        tmp_path / "roofs.gpkg"
    )
    classes = write_map(tmp_path / "map.tif", bright_scene, np.full((256, 384), 7, dtype=np.uint8))
    with pytest.raises(LabelError, match=r"map.tif does not name its values, 7; the labels have background, roofs"):
        evaluate(classes, labels=tmp_path / "roofs.gpkg")


def test_tiles_with_other_classes_or_bands_are_refused(run: Path, bright_scene: Path, tmp_path: Path) -> None:
    three = np.arange(256 * 384).reshape(256, 384) % 3
    labels = write_map(tmp_path / "three.tif", bright_scene, three.astype(np.uint8))
    tile([bright_scene], labels=labels, output=tmp_path / "classes", settings=TileSettings(size=64, overlap=0))
    with pytest.raises(CheckpointError, match="knows the classes"):
        evaluate(run, [tmp_path / "classes"], settings=EvaluateSettings(threads=1))
    labels = bright_scene.parent / "labels.tif"
    one_band = write_map(tmp_path / "one.tif", bright_scene, three.astype(np.uint16))
    tile([one_band], labels=labels, output=tmp_path / "bands", settings=TileSettings(size=64, overlap=0))
    with pytest.raises(CheckpointError, match="1 band"):
        evaluate(run, [tmp_path / "bands"], settings=EvaluateSettings(threads=1))


def test_an_empty_split_is_named_with_the_counts_of_the_others(run: Path, bright_scene: Path, tmp_path: Path) -> None:
    labels = bright_scene.parent / "labels.tif"
    tile(
        [bright_scene],
        labels=labels,
        output=tmp_path / "tiles",
        settings=TileSettings(size=64, overlap=0, split=(0.8, 0.2, 0)),
    )
    with pytest.raises(TileError, match="split test") as caught:
        evaluate(run, [tmp_path / "tiles"], settings=EvaluateSettings(threads=1))
    hint = caught.value.hint or ""
    counts = {split: len(TileSet.open(tmp_path / "tiles").tiles(split)) for split in ("train", "val")}
    assert hint.startswith(f"Choose another `split`: train ({counts['train']} tiles), val ({counts['val']} ")


@pytest.mark.parametrize("more", [{}, {"data": ["scene.tif"], "labels": "labels.tif"}])
def test_a_class_raster_takes_labels_and_no_data(bright_scene: Path, more: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="not a checkpoint"):
        evaluate(bright_scene, **more)  # type: ignore[arg-type]


def test_scenes_are_required_with_labels(run: Path, bright_scene: Path) -> None:
    with pytest.raises(UsageError, match="no scene"):
        evaluate(run, labels=bright_scene.parent / "labels.tif", settings=EvaluateSettings(threads=1))


def test_a_scene_with_two_bands_is_no_class_raster(bright_scene: Path) -> None:
    with pytest.raises(SceneError, match="not a class raster"):
        evaluate(bright_scene, labels=bright_scene.parent / "labels.tif")


def test_the_command_prints_a_table_or_json(bright_scene: Path) -> None:
    labels = str(bright_scene.parent / "labels.tif")
    table = CliRunner().invoke(app, ["evaluate", labels, "--labels", labels])
    assert table.exit_code == 0
    assert "1.0000" in table.stdout
    answer = CliRunner().invoke(app, ["evaluate", labels, "--labels", labels, "--json"])
    assert json.loads(answer.stdout)["mean_iou"] == 1


def test_ranking_writes_the_scores_of_every_tile_into_the_index_and_keeps_what_users_wrote(
    run: Path, bright_tiles: Path, tmp_path: Path
) -> None:
    tiles = tmp_path / "tiles"
    shutil.copytree(bright_tiles, tiles)
    index = geopandas.read_parquet(tiles / "index.parquet")
    index["remark"] = [f"seen {i}" for i in range(len(index))]
    index.loc[3, "weight"] = 2.5
    index.to_parquet(tiles / "index.parquet")
    report = evaluate(run, [tiles], settings=EvaluateSettings(rank=True, worst=100, threads=1))
    ranked = geopandas.read_parquet(tiles / "index.parquet")
    assert ranked[index.columns].equals(index)
    assert ranked.crs == index.crs
    assert (ranked["ranked_by"] == Checkpoint.load(run / "best.safetensors").digest).all()
    test = ranked[ranked["split"] == "test"].set_index("tile")
    assert {place.name for place in report.worst} == set(test.index)
    for place in report.worst:
        row = test.loc[place.name]
        assert (row["mean_iou"], row["accuracy"], row["loss"]) == (place.mean_iou, place.accuracy, place.loss)
        assert tuple(row[[c for c in ranked if c.startswith("iou_")]]) == place.iou
    assert report == evaluate(run, [tiles], settings=EvaluateSettings(worst=100, threads=1))


def test_the_loss_of_a_tile_is_its_cross_entropy(run: Path, bright_tiles: Path) -> None:
    checkpoint = Checkpoint.load(run / "best.safetensors")
    network = Network.from_checkpoint(checkpoint, device=torch.device("cpu"), precision="32-true")
    (worst,) = evaluate(run, [bright_tiles], settings=EvaluateSettings(worst=1, precision="fp32", threads=1)).worst
    tile = next(t for t in TileSet.open(bright_tiles).tiles("test") if t.name == worst.name)
    bands, labels, valid = tile.read()
    probabilities = network.probabilities(bands[None], valid[None])
    target = torch.from_numpy(labels.astype(np.int64))[None]
    expected = torch.nn.functional.nll_loss(probabilities.log(), target, ignore_index=255)
    assert worst.loss == pytest.approx(expected.item(), rel=1e-4)


def test_ranking_needs_a_checkpoint_and_tiles(bright_scene: Path) -> None:
    labels = bright_scene.parent / "labels.tif"
    with pytest.raises(UsageError, match="`rank` scores tiles"):
        evaluate(labels, labels=labels, settings=EvaluateSettings(rank=True))


@dataclass(frozen=True)
class Done:
    """How a command line ended."""

    code: int
    stdout: str
    stderr: str


def run_command(words: Sequence[str]) -> Done:
    """Run a command line as ``main`` does."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.run(words, ConsoleOutput())
    return Done(code, out.getvalue(), err.getvalue())


def test_pixels_only_measures_neither_boundaries_nor_objects(run: Path, bright_tiles: Path, bright_scene: Path) -> None:
    labels = bright_scene.parent / "labels.tif"
    for report in (
        evaluate(run, [bright_tiles], settings=EvaluateSettings(pixels_only=True, threads=1)),
        evaluate(labels, labels=labels, settings=EvaluateSettings(pixels_only=True)),
    ):
        assert report.pixels
        assert math.isnan(report.boundary_f1)
        assert math.isnan(report.object_f1)
        assert "mean_iou" in report.intervals
        assert "boundary_f1" not in report.intervals


def test_tiles_of_one_block_are_resampled_together(run: Path, bright_tiles: Path) -> None:
    report = evaluate(run, [bright_tiles], settings=EvaluateSettings(split="train", threads=1))
    interval = report.intervals["mean_iou"]
    assert interval is not None
    assert interval[0] <= report.mean_iou <= interval[1]
    again = evaluate(run, [bright_tiles], settings=EvaluateSettings(split="train", seed=1, threads=1))
    assert again.mean_iou == report.mean_iou
    assert set(evaluate(run, [bright_tiles], settings=EvaluateSettings(threads=1)).intervals.values()) == {
        None
    }  # the test tiles are one block


def test_the_exit_code_tells_a_mean_iou_that_is_too_low(bright_scene: Path, tmp_path: Path) -> None:
    labels = bright_scene.parent / "labels.tif"
    wrong = write_map(tmp_path / "wrong.tif", bright_scene, 1 - read(labels))
    assert run_command(["evaluate", str(labels), "-l", str(labels), "--min-miou", "1", "--json"]).code == 0
    done = run_command(["evaluate", str(wrong), "-l", str(labels), "--min-miou", "0.7", "--json"])
    assert done.code == 1
    assert json.loads(done.stdout)["mean_iou"] == 0
    assert done.stderr == "error: The mean IoU is 0.0000; --min-miou requires at least 0.7.\n"


def test_the_table_shows_boundaries_objects_intervals_and_the_worst_places(bright_scene: Path, tmp_path: Path) -> None:
    labels = bright_scene.parent / "labels.tif"
    ids = read(labels)
    ids[:50] = 0
    wrong = str(write_map(tmp_path / "wrong.tif", bright_scene, ids))
    text = run_command(["evaluate", wrong, "-l", str(labels), "--worst", "2", "--block", "100"]).stdout
    for words in ("Cohen's kappa", "95 %", "Boundaries: tolerance 0.75%", "Objects: IoU over 0.5", "worst"):
        assert words in text
    assert f"{wrong} at row 0, column" in text


def test_the_table_shows_what_the_map_leaves_out(
    bright_scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = bright_scene.parent / "labels.tif"
    ids = read(labels)
    ids[:50] = 255
    partly = str(write_map(tmp_path / "partly.tif", bright_scene, ids))
    done = run_command(["evaluate", partly, "-l", str(labels), "--pixels-only", "--bootstrap", "0"])
    assert "labelled px that the map leaves out (missed)  19,200" in done.stdout
    assert "(left out)" in done.stdout
    assert "nodata at 19,200 labelled px" in caplog.text
    answer = run_command(["evaluate", partly, "-l", str(labels), "--json"])
    assert json.loads(answer.stdout)["left_out"] == 50 * 384


def test_intervals_from_few_blocks_come_with_a_warning(bright_scene: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = bright_scene.parent / "labels.tif"
    report = evaluate(labels, labels=labels, settings=EvaluateSettings(block=256))
    assert report.settings["units"] == 2
    assert "based on only 2 blocks" in caplog.text


def test_one_block_has_no_interval_and_a_dash_says_so(bright_scene: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = str(bright_scene.parent / "labels.tif")
    done = run_command(["evaluate", labels, "-l", labels, "--pixels-only"])
    assert re.search(r"^mean IoU +1\.0000 +– +–$", done.stdout, re.MULTILINE)
    assert "too narrow" not in caplog.text
    answer = run_command(["evaluate", labels, "-l", labels, "--json"])
    assert set(json.loads(answer.stdout)["intervals"].values()) == {None}


@pytest.mark.parametrize(
    "words",
    [
        ["--boundary-tolerance", "3parsecs"],
        ["--boundary-width", "-1px"],
        ["--block", "0"],
        ["--bootstrap", "-1"],
        ["--min-miou", "2"],
        ["--gsd", "1m"],
        ["--rank"],
        ["--class-map", "x"],
    ],
    ids=" ".join,
)
def test_wrong_values_are_wrong_usage(words: list[str], bright_scene: Path) -> None:
    labels = str(bright_scene.parent / "labels.tif")
    done = run_command(["evaluate", labels, "-l", labels, *words])
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_maps_are_compared_without_importing_torch() -> None:
    script = "import sys, satseg.workflows.evaluate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def many_classes(folder: Path, like: Path, number: int) -> tuple[Path, Path]:
    """Write labels and a map of that many classes with long names; the map calls a fifth of each by the next one."""
    names = [f"Permanent grassland with a normal yield, number {i}" for i in range(number)]
    truth = np.arange(256 * 384).reshape(256, 384) % number
    guess = np.where(np.arange(384) % 5 == 0, (truth + 1) % number, truth)
    paths = []
    for name, ids in (("truth", truth), ("guess", guess)):
        paths.append(write_map(folder / f"{name}.tif", like, ids.astype(np.uint8)))
        with rasterio.open(paths[-1], "r+") as dataset:
            dataset.update_tags(SATSEG_CLASSES=json.dumps(ClassTable.from_names(names).to_dict()))
    return paths[0], paths[1]


@pytest.mark.parametrize("width", [80, 100])
def test_of_many_classes_each_has_a_row_in_every_table(width: int, bright_scene: Path, tmp_path: Path) -> None:
    labels, guess = many_classes(tmp_path, bright_scene, 38)
    report = evaluate(guess, labels=labels, settings=EvaluateSettings(block=128, bootstrap=20))
    for table in report_tables(report):
        (part,) = table.parts(width)  # it does not go on below
        lines = list(part.body())
        assert max(map(len, [*part.heading(), *lines])) <= width
        assert len(lines) == len(table.rows)
    confusion = report_tables(report)[2]
    assert len(confusion.rows) == 38
    matrix = np.array(report.confusion)
    for number, (name, right, other, share) in enumerate(confusion.rows):
        assert name == report.classes[number].name
        assert right == f"{matrix[number, number] / matrix[number].sum():.1%}"
        assert other == report.classes[(number + 1) % 38].name
        assert share == f"{matrix[number, (number + 1) % 38] / matrix[number].sum():.1%}"


def test_json_holds_the_whole_confusion_of_many_classes(bright_scene: Path, tmp_path: Path) -> None:
    labels, guess = many_classes(tmp_path, bright_scene, 38)
    answer = json.loads(run_command(["evaluate", str(guess), "-l", str(labels), "--pixels-only", "--json"]).stdout)
    assert np.array(answer["confusion"]).shape == (38, 38)
    assert len(answer["classes"]) == 38


def test_few_classes_have_their_confusion_matrix(bright_scene: Path, tmp_path: Path) -> None:
    labels, guess = many_classes(tmp_path, bright_scene, 6)
    text = run_command(["evaluate", str(guess), "-l", str(labels), "--pixels-only"]).stdout
    assert "label \\ map, px" in text


def test_scenes_are_read_as_predict_reads_them_bands_by_name_or_by_choice(
    run: Path, bright_scene: Path, tmp_path: Path
) -> None:
    best = Checkpoint.load(run / "best.safetensors")
    card = replace(best.card, bands=replace(best.card.bands, names=("red", "nir")))
    save_checkpoint(tmp_path / "named.safetensors", best.read_weights(), card)
    with rasterio.open(bright_scene) as source:
        bands, profile = source.read(), source.profile
    for name, order, names in (
        ("as_trained", (0, 1), ("red", "nir")),
        ("turned", (1, 0), ("nir", "red")),
        ("more", (1, 1, 0), ("nir", "blue", "red")),
        ("unnamed", (1, 0), (None, None)),
    ):
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile | {"count": len(order)}) as target:
            target.write(bands[list(order)])
            target.descriptions = names
    labels, how = bright_scene.parent / "labels.tif", {"window": 128, "overlap": 16, "threads": 1, "bootstrap": 0}
    found = {
        name: evaluate(
            tmp_path / "named.safetensors",
            tmp_path / f"{name}.tif",
            labels=labels,
            settings=EvaluateSettings(**how, **more),
        )
        for name, more in (("as_trained", {}), ("turned", {}), ("more", {}), ("unnamed", {"bands": "2,1"}))
    }
    assert found["turned"] == found["more"] == found["unnamed"] == found["as_trained"]
    assert found["as_trained"].pixels == 256 * 384 - 40 * 40  # nodata of the scene is no class of the map
