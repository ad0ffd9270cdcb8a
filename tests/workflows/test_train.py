"""Covers ``runs/scalars``, ``train_record`` and ``training_data``."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import geopandas
import pytest
import rasterio
import torch
from training_runs import STEPS, interrupt_after, run, weights
from typer.testing import CliRunner

from satseg.checkpoint import Checkpoint
from satseg.cli.app import app
from satseg.errors import ArchitectureError, OutputError, TileError, TrainingError, UsageError
from satseg.records import TrainingSummary
from satseg.runs.states import load_state, save_state
from satseg.tiles.tileset import INDEX, TileSet
from satseg.training.settings import TrainSettings
from satseg.workflows.train import train
from satseg.workflows.training_data import TrainingData


@pytest.fixture(scope="module")
def unbroken(bright_tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from start to end."""
    output = tmp_path_factory.mktemp("unbroken") / "run"
    run(bright_tiles, output)
    return output


def test_two_runs_with_one_seed_give_the_same_bytes(bright_tiles: Path, unbroken: Path, tmp_path: Path) -> None:
    run(bright_tiles, tmp_path / "again")
    assert weights(tmp_path / "again") == weights(unbroken)


def test_another_seed_gives_other_weights(bright_tiles: Path, unbroken: Path, tmp_path: Path) -> None:
    run(bright_tiles, tmp_path / "other", seed=1)
    assert weights(tmp_path / "other")["last"] != weights(unbroken)["last"]


@pytest.mark.parametrize("stops", [(4,), (6,), (1, 2, 8)])  # 6: the step that ends an epoch, and 9 the run
def test_an_interrupted_run_ends_with_the_bytes_of_an_unbroken_one(
    bright_tiles: Path, unbroken: Path, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    output = tmp_path / "broken"
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            run(bright_tiles, output, resume=True, progress=interrupt_after(stop))
        assert not (output / "run.json").exists()
    summary = run(bright_tiles, output, resume=True)
    assert weights(output) == weights(unbroken)
    timeless = [[row.rsplit(",", 2)[0] for row in (f / "log.csv").read_text().splitlines()] for f in (output, unbroken)]
    assert timeless[0] == timeless[1]
    assert summary.steps == STEPS


def test_a_run_killed_before_its_first_state_starts_anew(bright_tiles: Path, unbroken: Path, tmp_path: Path) -> None:
    shutil.copytree(unbroken, tmp_path / "killed")
    for name in ("best.safetensors", "last.safetensors", "log.csv", "run.json"):
        (tmp_path / "killed" / name).unlink()
    run(bright_tiles, tmp_path / "killed", resume=True)
    assert weights(tmp_path / "killed") == weights(unbroken)


FILES = {"best.safetensors", "last.safetensors", "log.csv", "run.json", "settings.json"}


def test_a_finished_run_is_complete_and_keeps_the_state_to_go_on_from(unbroken: Path) -> None:
    assert {path.name for path in unbroken.iterdir()} == {*FILES, f"state-{STEPS}.safetensors"}


@pytest.mark.parametrize(
    "ranks", [{"RANK": "1"}, {"LOCAL_RANK": "1", "WORLD_SIZE": "4"}, {"SLURM_PROCID": "2", "SLURM_NTASKS": "3"}]
)
def test_one_of_several_runs_that_a_launcher_packs_together_is_a_whole_run(
    bright_tiles: Path, tmp_path: Path, ranks: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in ranks.items():
        monkeypatch.setenv(name, value)
    words = ["train", str(bright_tiles), "--steps", "1", "--batch-size", "1", "--device", "cpu", "--json"]
    done = CliRunner().invoke(app, [*words, "--arch", "erfnet", "--no-pictures"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["path"] == "runs/erfnet-1"
    found = {path.name for path in (tmp_path / "runs" / "erfnet-1").iterdir()}
    assert found == {*FILES, "state-1.safetensors"}


GARBLED = [b"", b"[]", b"null", b"{", b'{"a": 1}', b"\xff\xfe\0", b"[" * 50_000, b'{"steps": "many", "arch": 5}']


@pytest.mark.parametrize("content", GARBLED)
@pytest.mark.parametrize("name", ["run.json", "settings.json"])
def test_a_record_that_was_edited_is_told_with_its_file(
    bright_tiles: Path, unbroken: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    shutil.copytree(unbroken, tmp_path / "edited")
    (tmp_path / "edited" / name).write_bytes(content)
    with pytest.raises(TrainingError, match=rf"edited.*{re.escape(name)}|edited was started with"):
        train(bright_tiles, output=tmp_path / "edited", settings=TrainSettings(resume=True, batch_size=3, threads=1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"step": -1}, r"loop\.step is -1, not a whole number"),
        ({"best_confusion": [[1, 2]]}, r"loop\.best_confusion is .*, not a square table"),
        ({"loss_sum": float("nan")}, r"loop\.loss_sum is NaN, not a finite number"),
        ({"seconds": None}, r"loop\.seconds is null"),
    ],
)
def test_a_state_that_was_edited_is_told_and_left_as_it_is(
    bright_tiles: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    output = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        run(bright_tiles, output, resume=True, progress=interrupt_after(2))
    (state,) = output.glob("state-*")
    tensors, values = load_state(state)
    save_state(state, tensors, {**values, "loop": {**values["loop"], **change}})
    before = {path: path.read_bytes() for path in output.iterdir()}
    with pytest.raises(TrainingError, match=said):
        run(bright_tiles, output, resume=True)
    save_state(state, {"optimizer.9.9.step": torch.zeros(1), "other.x": torch.zeros(1)}, values)
    with pytest.raises(TrainingError, match="cannot be resumed from"):
        run(bright_tiles, output, resume=True)
    before.pop(state)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_resuming_a_finished_run_gives_its_summary_again(bright_tiles: Path, unbroken: Path) -> None:
    before = weights(unbroken)
    summary = run(bright_tiles, unbroken, resume=True)
    assert (summary.steps, summary.path, summary.arch) == (STEPS, str(unbroken), "erfnet")
    assert summary.validation.mean_iou == Checkpoint.load(summary.best).card.metrics["mean_iou"]
    assert weights(unbroken) == before


def test_resuming_with_other_settings_is_refused(bright_tiles: Path, unbroken: Path) -> None:
    with pytest.raises(TrainingError, match="started with `batch_size=3`, not `batch_size=2`"):
        run(bright_tiles, unbroken, resume=True, batch_size=2)


def test_a_run_is_not_overwritten(bright_tiles: Path, unbroken: Path) -> None:
    with pytest.raises(OutputError, match="already contains a finished run"):
        run(bright_tiles, unbroken)


def test_the_checkpoint_carries_what_its_use_needs(bright_tiles: Path, unbroken: Path) -> None:
    card, tile_set = Checkpoint.load(unbroken / "last.safetensors").card, TileSet.open(bright_tiles)
    assert (card.classes, card.bands, card.statistics) == (tile_set.classes, tile_set.bands, tile_set.statistics)
    assert (card.arch, card.tile_size, card.gsd) == ("erfnet", 64, tile_set.gsd)
    assert (card.training["steps"], card.training["seed"], card.training["batch_size"]) == (STEPS, 0, 3)
    assert 0 <= card.metrics["mean_iou"] <= 1


def test_the_network_learns(bright_tiles: Path, tmp_path: Path) -> None:
    summary = run(bright_tiles, tmp_path / "run", steps=60, batch_size=8, device="cpu", precision="32-true")
    assert summary.validation.mean_iou > 0.9


def test_runs_are_numbered_where_no_output_is_given(
    bright_tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bright_tiles, tmp_path / "tiles")
    first, second = (
        train(settings=TrainSettings(arch="erfnet", steps=1, batch_size=2, threads=1, pictures=False)) for _ in range(2)
    )
    assert (first.path, second.path) == ("runs/erfnet-1", "runs/erfnet-2")
    assert (
        train(settings=TrainSettings(steps=1, batch_size=2, threads=1, resume=True, pictures=False)).path
        == "runs/erfnet-2"
    )


def test_the_caller_s_random_numbers_are_left_alone(bright_tiles: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(bright_tiles, tmp_path / "run", steps=1)
    assert torch.equal(torch.rand(3), expected)


def edited(tiles: Path, copy: Path, change: Any) -> Path:
    """Copy a tile set and edit its index, as a user may."""
    shutil.copytree(tiles, copy)
    index = geopandas.read_parquet(copy / INDEX)
    change(index)
    index.to_parquet(copy / INDEX)
    return copy


def rewrite(path: Path, change: Any) -> None:
    """Change the pixels of a raster in a way that leaves neither a trace in its name nor, where it can, in its size."""
    before = path.stat()
    with rasterio.open(path, "r+") as dataset:
        dataset.write(change(dataset.read()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def first_tile(folder: Path, kind: str) -> Path:
    index = geopandas.read_parquet(folder / INDEX)
    return folder / str(index[index["split"] == "train"][kind].iloc[0])


def swap_weights(folder: Path) -> None:
    index = geopandas.read_parquet(folder / INDEX)
    index.loc[index.index[index["split"] == "train"][0], "weight"] = 2.0
    index.to_parquet(folder / INDEX)


CHANGES = {
    "labels": lambda folder: rewrite(first_tile(folder, "labels"), lambda values: 1 - values),
    "image": lambda folder: rewrite(first_tile(folder, "image"), lambda values: values[:, ::-1]),
    "index": swap_weights,
    "bands": lambda folder: (folder / "tileset.json").write_text(
        (folder / "tileset.json").read_text().replace('"band_1"', '"red"')
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_in_a_tile_set_is_noticed(bright_tiles: Path, tmp_path: Path, change: str) -> None:
    before = TrainingData.open(bright_tiles, 0).digest()
    tiles = Path(shutil.copytree(bright_tiles, tmp_path / "tiles", copy_function=shutil.copy))  # with other dates
    assert TrainingData.open(tiles, 0).digest() == before
    CHANGES[change](tiles)
    assert TrainingData.open(tiles, 0).digest() != before


def test_a_run_is_not_resumed_with_tiles_that_changed(bright_tiles: Path, tmp_path: Path) -> None:
    tiles = Path(shutil.copytree(bright_tiles, tmp_path / "tiles"))
    with pytest.raises(KeyboardInterrupt):
        run(tiles, tmp_path / "run", progress=interrupt_after(1))
    CHANGES["labels"](tiles)
    with pytest.raises(TrainingError, match=r"The tiles of the run .* have changed since"):
        run(tiles, tmp_path / "run", resume=True)


EMPTY_VAL = {
    "no tile": lambda index: index.loc.__setitem__((index["split"] == "val", "split"), "test"),
    "no labelled pixel": lambda index: index.loc.__setitem__(
        (index["split"] == "val", [name for name in index if name.startswith("pixels_")]), 0
    ),
}


@pytest.mark.parametrize("what", EMPTY_VAL)
def test_nothing_starts_where_nothing_tells_which_weights_are_best(
    bright_tiles: Path, tmp_path: Path, what: str
) -> None:
    tiles = edited(bright_tiles, tmp_path / "tiles", EMPTY_VAL[what])
    with pytest.raises(TileError, match=f"The split val of .* has {what}, so that") as caught:
        run(tiles, tmp_path / "run", steps=1)
    assert "`val_split='train'`" in (caught.value.hint or "")
    assert not (tmp_path / "run").exists()


def test_train_tiles_are_scored_where_that_is_asked_for(
    bright_tiles: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiles = edited(bright_tiles, tmp_path / "tiles", EMPTY_VAL["no tile"])
    summary = run(tiles, tmp_path / "run", steps=1, val_split="train")
    assert "selected by the split train: their scores are optimistic" in caplog.text
    assert summary.validation.pixels == sum(sum(tile.pixels) for tile in TileSet.open(tiles).tiles("train"))
    assert run(tiles, tmp_path / "run", steps=1, val_split="train", resume=True) == summary
    with pytest.raises(UsageError, match="`val_split` is 'tran'"):
        run(tiles, tmp_path / "other", steps=1, val_split="tran")


def test_without_train_tiles_nothing_starts(bright_tiles: Path, tmp_path: Path) -> None:
    tiles = edited(bright_tiles, tmp_path / "tiles", lambda i: i.__setitem__("weight", 0.0))
    with pytest.raises(TileError, match="no tile to train on"):
        run(tiles, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_broken_tile_is_named(bright_tiles: Path, tmp_path: Path) -> None:
    shutil.copytree(bright_tiles, tmp_path / "tiles")
    image = TileSet.open(tmp_path / "tiles").tiles("train")[3].image
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(TileError, match=image.stem):
        run(tmp_path / "tiles", tmp_path / "run")


def test_tiles_of_a_scene_smaller_than_a_tile_train_too(tmp_path: Path, bright_scene: Path) -> None:
    from satseg.tiling.settings import TileSettings
    from satseg.workflows.tile import tile

    small = tmp_path / "small.tif"
    with rasterio.open(bright_scene) as source:
        profile = source.profile | {"width": 50, "height": 90}
        window = rasterio.windows.Window(100, 60, 50, 90)
        with rasterio.open(small, "w", **profile) as target:
            target.write(source.read(window=window))
            target.transform = source.window_transform(window)
    tile(
        [small],
        labels=bright_scene.parent / "labels.tif",
        output=tmp_path / "tiles",
        settings=TileSettings(size=64, overlap=0, split=(1, 0, 0)),
    )
    assert run(tmp_path / "tiles", tmp_path / "run", steps=2, val_split="train").steps == 2


def test_an_unknown_network_leaves_no_folder(bright_tiles: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError):
        run(bright_tiles, tmp_path / "run", arch="erfnett")
    with pytest.raises(ArchitectureError):
        run(bright_tiles, tmp_path / "run", arch_options={"depth": 3})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"lr": 0.0}, {"class_weights": "some"}, {"loss": "ce + dise"}, {"minutes": 1.0}, {"seed": -1}],
)
def test_wrong_numbers_are_refused(bright_tiles: Path, tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        run(bright_tiles, tmp_path / "run", **wrong)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rule", ["inverse", "median"])
def test_class_weights_change_the_loss(bright_tiles: Path, unbroken: Path, tmp_path: Path, rule: str) -> None:
    run(bright_tiles, tmp_path / "run", class_weights=rule)
    assert weights(tmp_path / "run")["last"] != weights(unbroken)["last"]


def test_libraries_say_nothing_of_their_own(
    bright_tiles: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(bright_tiles, tmp_path / "run", steps=1, precision="bf16-mixed")
    assert capfd.readouterr() == ("", "")


def test_the_command_prints_its_summary_as_json(bright_tiles: Path, tmp_path: Path) -> None:
    words = [
        "train",
        str(bright_tiles),
        "-o",
        str(tmp_path / "run"),
        "--steps",
        "1",
        "--batch-size",
        "2",
        "--json",
        "--no-pictures",
    ]
    answer = CliRunner().invoke(app, [*words, "--threads", "1"])
    summary = json.loads(answer.stdout)
    assert (summary["steps"], summary["path"]) == (1, str(tmp_path / "run"))
    assert set(summary) == {field.name for field in fields(TrainingSummary)}


def test_a_run_goes_on_with_the_budget_it_was_started_with(bright_tiles: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(bright_tiles, tmp_path / "run", progress=interrupt_after(2))
    assert run(bright_tiles, tmp_path / "run", resume=True, steps=None).steps == STEPS


def test_ctrl_c_keeps_the_state_and_resume_goes_on(bright_tiles: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "satseg", "train", str(bright_tiles), "-o", str(tmp_path / "run")]
    command += ["--no-pictures", "--batch-size", "2", "--threads", "1", "--epochs", "40"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "run" / "log.csv").exists():
            assert process.poll() is None
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        _, talk = process.communicate(timeout=60)
    assert process.returncode == 130
    assert str(tmp_path / "run") in talk
    assert "--resume" in talk
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["budget"]["steps"] == 320
    assert len(list((tmp_path / "run").glob("state-*.safetensors"))) == 1


def test_the_run_record_tells_what_was_asked_for_and_how_it_ended(bright_tiles: Path, tmp_path: Path) -> None:
    run(bright_tiles, tmp_path / "run", loss="focal", ema=0.9, patience=7)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    settings = record["settings"]
    assert (settings["loss"], settings["ema"], settings["patience"], settings["lr"]) == ("focal", 0.9, 7, 0.00184)
    assert (settings["budget"], settings["devices"]) == ({"steps": STEPS, "seconds": None}, 1)
    assert (record["steps"], record["ended_by"], record["train_tiles"], record["val_tiles"]) == (STEPS, "budget", 16, 4)
    assert record["best_miou"] == Checkpoint.load(tmp_path / "run").card.metrics["mean_iou"]
    assert record["best_step"] == Checkpoint.load(tmp_path / "run").card.training["steps"]


def test_a_run_of_all_choices_is_resumed_to_the_bit(bright_tiles: Path, tmp_path: Path) -> None:
    choices: dict[str, Any] = {
        "ema": 0.95,
        "accumulate": 2,
        "batch_size": 2,
        "augment": "strong",
        "balance": True,
        "schedule": "one-cycle",
        "encoder_rate": 0.1,
        "freeze_encoder": 1.5,
        "optimizer": "sgd",
        "loss": "ce + 0.5*lovasz",
    }
    run(bright_tiles, tmp_path / "unbroken", **choices)
    for stop in (3, 7):
        with pytest.raises(KeyboardInterrupt):
            run(bright_tiles, tmp_path / "broken", resume=True, progress=interrupt_after(stop), **choices)
    run(bright_tiles, tmp_path / "broken", resume=True, **choices)
    assert weights(tmp_path / "broken") == weights(tmp_path / "unbroken")


def test_a_batch_size_that_is_left_open_is_chosen_once(bright_tiles: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(bright_tiles, tmp_path / "run", batch_size="auto", steps=2, progress=interrupt_after(1))
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["batch_size"] == 16  # as many as there are tiles
    assert settings["lr"] == 0.00424  # 0.003 for 8
    assert run(bright_tiles, tmp_path / "run", batch_size="auto", steps=2, resume=True).epochs == 2


def test_unknown_choices_are_refused(bright_tiles: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no argument 'learning_rate'"):
        run(bright_tiles, tmp_path / "run", learning_rate=0.1)


def test_the_table_has_a_line_for_every_validation(bright_tiles: Path, tmp_path: Path) -> None:
    words = ["train", str(bright_tiles), "-o", str(tmp_path / "run"), "--steps", "4", "--batch-size", "8"]
    answer = CliRunner().invoke(app, [*words, "--threads", "1", "--no-pictures"])
    lines = [line.split() for line in answer.stderr.splitlines()]
    assert ["epoch", "step", "loss", "mIoU", "rate", "time", "left"] in lines
    rows = [line for line in lines if len(line) >= 7 and line[1] in ("2", "4") and line[0] in ("1.0", "2.0")]
    assert [(row[0], row[1], row[6]) for row in rows][-1][:2] == ("2.0", "4")
    assert rows[0][-1] == "best"


@pytest.mark.parametrize("text", ["0", "-3", "many", "2.5"])
def test_a_wrong_batch_size_is_wrong_usage(bright_tiles: Path, tmp_path: Path, text: str) -> None:
    answer = CliRunner().invoke(app, ["train", str(bright_tiles), "-o", str(tmp_path / "run"), "--batch-size", text])
    assert isinstance(answer.exception, UsageError)
    assert text in answer.exception.message


def test_without_tensorboard_the_user_is_told_how_to_get_it(
    bright_tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("satseg.runs.scalars.find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        run(bright_tiles, tmp_path / "run", tensorboard=True)
    assert "satseg-cli[tensorboard]" in str(caught.value.hint)
    assert not (tmp_path / "run").exists()


def test_tensorboard_reads_what_the_log_says(bright_tiles: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(KeyboardInterrupt):
        run(bright_tiles, tmp_path / "run", batch_size=8, tensorboard=True, progress=interrupt_after(5))
    run(bright_tiles, tmp_path / "run", batch_size=8, tensorboard=True, resume=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    rows = [line.split(",") for line in (tmp_path / "run" / "log.csv").read_text().splitlines()]
    assert [event.step for event in events.Scalars("loss")] == [int(row[0]) for row in rows[1:]]
    assert [event.value for event in events.Scalars("miou")] == pytest.approx([float(row[4]) for row in rows[1:]], 1e-5)


@pytest.mark.slow
def test_a_compiled_network_learns_alike_and_its_checkpoint_is_an_ordinary_one(
    bright_tiles: Path, unbroken: Path, tmp_path: Path
) -> None:
    run(bright_tiles, tmp_path / "run", compile=True)
    paths = (unbroken, tmp_path / "run")
    plain, compiled = (Checkpoint.load(path / "last.safetensors").read_weights() for path in paths)
    assert set(plain) == set(compiled)
    rows = [(path / "log.csv").read_text().splitlines()[1].split(",") for path in paths]
    assert float(rows[1][2]) == pytest.approx(float(rows[0][2]), rel=1e-2)
