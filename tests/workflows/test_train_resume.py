"""Runs that go on: by their name alone, to another end, and on the machine as it is by then."""

from __future__ import annotations

import csv
import errno
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from training_runs import STEPS, interrupt_after, run, weights
from typer.testing import CliRunner

from satseg.checkpoint import Checkpoint, save_checkpoint
from satseg.cli.app import app
from satseg.errors import OutputError, TileError, TrainingError, UsageError
from satseg.records import ProgressEvent
from satseg.tiles.tileset import TileSet
from satseg.training.averages import needed_lead
from satseg.training.rates import peak_rate
from satseg.training.schedule import learning_rate
from satseg.training.settings import TrainSettings
from satseg.workflows.train import train

LONGER = 14
RATE = peak_rate("erfnet", "adamw", samples=3)  # the samples of a step in these runs


@pytest.fixture(scope="module", autouse=True)
def small_network() -> Iterator[None]:
    """Train two layers under whatever name, since what is tested here has nothing to do with networks."""

    def create(name: object, *, in_channels: int, num_classes: int, **options: Any) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(in_channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, num_classes, 1)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("satseg.workflows.train.create_model", create)
        yield


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder to work in, a new one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(bright_tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is finished; to be copied."""
    output = tmp_path_factory.mktemp("finished") / "run"
    run(bright_tiles, output)
    return output


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A machine of two cores; returns a function that sets how many of them are free."""

    def set_free(count: int) -> None:
        monkeypatch.setattr("satseg.backend.cores.free_cores", lambda: float(count))

    monkeypatch.setattr("satseg.backend.cores.available_cores", lambda: 2)
    monkeypatch.setattr("satseg.workflows.train.available_cores", lambda: 2)
    set_free(2)
    return set_free


def threads_of(tiles: Path, output: Path, **settings: Any) -> set[int]:
    """Train, and return the numbers of threads that steps were made with."""
    seen: set[int] = set()

    def progress(event: ProgressEvent) -> None:
        if event.task == "Training":
            seen.add(torch.get_num_threads())

    run(tiles, output, threads=settings.pop("threads", None), progress=progress, **settings)
    return seen


def test_a_resumed_run_keeps_the_threads_it_began_with_whatever_the_load(
    bright_tiles: Path, here: Path, load: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    load(1)
    assert threads_of(bright_tiles, here / "run", steps=2) == {1}
    load(2)
    with caplog.at_level(logging.INFO, "satseg"):
        assert threads_of(bright_tiles, here / "run", steps=4, resume=True) == {1}
    assert "The run goes on with 1 of 2 cores, as it began. `threads=2` takes all." in caplog.messages
    assert threads_of(bright_tiles, here / "run", steps=6, resume=True, threads=2) == {2}


def test_a_run_of_format_1_goes_on_with_the_network_that_it_began_with(bright_tiles: Path, here: Path) -> None:
    run(bright_tiles, here / "run", steps=2)
    last = Checkpoint.load(here / "run" / "last.safetensors")
    save_checkpoint(last.path, last.read_weights(), replace(last.card, format=1))
    run(bright_tiles, here / "run", steps=4, resume=True)
    assert Checkpoint.load(last.path).card.format == 1


def test_a_run_that_began_with_all_cores_is_resumed_with_all_under_load(
    bright_tiles: Path, here: Path, load: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    assert threads_of(bright_tiles, here / "run", steps=2) == {2}
    load(0)
    with caplog.at_level(logging.INFO, "satseg"):
        assert threads_of(bright_tiles, here / "run", steps=4, resume=True) == {2}
    assert not [message for message in caplog.messages if "cores" in message]


def test_a_run_of_an_earlier_version_took_all_cores_and_still_does(
    bright_tiles: Path, here: Path, load: Callable[[int], None]
) -> None:
    run(bright_tiles, here / "run", steps=2, threads=None)
    stored = json.loads((here / "run" / "settings.json").read_text())
    assert stored.pop("threads") == 2
    (here / "run" / "settings.json").write_text(json.dumps(stored))
    load(1)
    assert threads_of(bright_tiles, here / "run", steps=4, resume=True) == {2}


def test_given_threads_are_taken_whatever_the_load(
    bright_tiles: Path, here: Path, load: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(0)
    monkeypatch.delattr("satseg.backend.cores.free_cores")  # and nothing is measured
    assert threads_of(bright_tiles, here / "run", steps=1, threads=2) == {2}


def broken(tiles: Path, output: Path | None, after: int, **more: Any) -> str:
    """Start a run, interrupt it, and return what it says then."""
    with pytest.raises(KeyboardInterrupt) as caught:
        run(tiles, output, progress=interrupt_after(after), **more)  # type: ignore[arg-type]
    return str(caught.value)


def settings(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "settings.json").read_text())  # type: ignore[no-any-return]


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_goes_on_without_options_with_its_own(bright_tiles: Path, here: Path) -> None:
    choices = {"ema": 0.9, "augment": "strong", "optimizer": "sgd", "loss": "focal", "patience": 5, "seed": 3}
    run(bright_tiles, here / "unbroken", **choices)
    for again in (
        lambda: train(settings=TrainSettings(resume=True)),
        lambda: train("runs/erfnet-1", settings=TrainSettings(resume=True)),
    ):
        shutil.rmtree(here / "runs", ignore_errors=True)
        assert broken(bright_tiles, None, 4, **choices).endswith(
            " Resume with: `satseg.train('runs/erfnet-1', settings=satseg.TrainSettings(resume=True))`"
        )
        assert again().path == "runs/erfnet-1"
        assert weights(here / "runs" / "erfnet-1") == weights(here / "unbroken")


def test_the_command_goes_on_without_options_and_says_with_what(
    bright_tiles: Path, here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken(bright_tiles, None, 4)
    caplog.set_level(logging.INFO, "satseg")
    caplog.clear()
    assert CliRunner().invoke(app, ["train", "--resume"]).exit_code == 0
    assert caplog.messages == [f"Resuming runs/erfnet-1 after step 4 of {STEPS}, on the tiles in {bright_tiles}"]
    assert not list((here / "runs" / "erfnet-1").glob("*.png"))  # it was started without pictures
    caplog.clear()
    answer = CliRunner().invoke(app, ["train", "--resume", "--json"])
    assert caplog.messages == ["The run runs/erfnet-1 is already finished."]
    assert (json.loads(answer.stdout)["steps"], json.loads(answer.stdout)["finished_before"]) == (STEPS, True)


def test_options_that_are_typed_are_compared_also_where_they_are_the_defaults(bright_tiles: Path, here: Path) -> None:
    broken(bright_tiles, None, 1, ema=0.5)
    answer = CliRunner().invoke(app, ["train", "--resume", "--ema", "0"])
    assert isinstance(answer.exception, TrainingError)
    assert answer.exception.message == "The run runs/erfnet-1 was started with `ema=0.5`, not `ema=0.0`."


def test_an_interruption_tells_the_line_that_goes_on(bright_tiles: Path, here: Path) -> None:
    away = broken(bright_tiles, here / "my runs" / "x", 2)
    assert away.startswith(f"Interrupted after step 2 of {STEPS}. Resume with: `satseg.train('{here}/my runs/x', ")
    assert broken(bright_tiles, Path("runs/a"), 2).endswith(
        "`satseg.train('runs/a', settings=satseg.TrainSettings(resume=True))`"
    )
    assert train(settings=TrainSettings(resume=True)).path == "runs/a"


def test_the_newest_unfinished_run_goes_on_unless_a_network_or_tiles_are_named(bright_tiles: Path, here: Path) -> None:
    other = copy(bright_tiles, here / "other")
    broken(bright_tiles, Path("runs/one"), 1, steps=2)
    broken(bright_tiles, Path("runs/unet"), 1, steps=2, arch="enet")
    broken(other, Path("runs/two"), 1, steps=2)
    assert train(bright_tiles, settings=TrainSettings(arch="erfnet", resume=True)).path == "runs/one"
    assert train(settings=TrainSettings(resume=True, arch="enet")).path == "runs/unet"
    assert train(settings=TrainSettings(resume=True)).path == "runs/two"
    assert train(settings=TrainSettings(resume=True)).path == "runs/two"  # the newest of all; it is finished


def test_options_that_differ_from_those_of_the_run_are_refused_with_both_values(
    bright_tiles: Path, finished: Path, here: Path
) -> None:
    def refused(**asked: Any) -> str:
        with pytest.raises(TrainingError) as caught:
            train(output=finished, settings=TrainSettings(resume=True, **asked))
        return caught.value.message

    was = f"The run {finished} was started with "
    assert refused(lr=0.1) == f"{was}`lr={RATE:g}`, not `lr=0.1`."
    assert refused(seed=1, ema=0.5) == f"{was}`ema='auto'`, not `ema=0.5`, and `seed=0`, not `seed=1`."
    assert refused(augment="none") == f"{was}`augment='light'`, not `augment='none'`."
    assert refused(encoder="resnet18") == f"{was}no `encoder`, not `encoder='resnet18'`."
    assert refused(arch="unet") == f"{was}`arch='erfnet'`, not `arch='unet'`."
    assert refused(balance=True) == f"{was}no `balance`, not `balance=True`."
    for options in ({"lr": 0.1}, {"augment": {"noise": 0.5}}, {"arch_options": {"a": {"b": None}}}):
        assert not set("{}[]") & set(refused(**options))
    assert train(output=finished, settings=TrainSettings(resume=True, lr=RATE, batch_size=3)).steps == STEPS


def test_an_extended_run_is_interrupted_without_a_trace(bright_tiles: Path, finished: Path, here: Path) -> None:
    unbroken, again = copy(finished, here / "unbroken"), copy(finished, here / "again")
    assert train(output=unbroken, settings=TrainSettings(resume=True, steps=LONGER)).steps == LONGER
    with pytest.raises(KeyboardInterrupt):
        train(output=again, settings=TrainSettings(resume=True, steps=LONGER), progress=interrupt_after(11))
    assert not (again / "run.json").exists()
    assert train(output=again, settings=TrainSettings(resume=True)).steps == LONGER
    assert weights(again) == weights(unbroken)
    rates = [[row["lr"] for row in log(folder)] for folder in (unbroken, again)]
    assert rates[0] == rates[1]


def test_an_extended_run_goes_on_with_its_log_and_at_the_rates_of_the_new_length(
    bright_tiles: Path, finished: Path, here: Path
) -> None:
    output = copy(finished, here / "run")
    before = log(output)
    train(output=output, settings=TrainSettings(resume=True, steps=LONGER, pictures=True))
    rows = log(output)
    assert rows[: len(before)] == before
    assert (rows[-1]["step"], float(rows[-1]["lr"])) == (
        str(LONGER),
        pytest.approx(learning_rate(RATE, (LONGER - 1) / LONGER), rel=1e-5),
    )
    record = json.loads((output / "run.json").read_text())
    assert record["settings"]["extended"] == [
        {"step": STEPS, "budget": {"steps": STEPS, "seconds": None}, "patience": 0}
    ]
    assert record["settings"]["budget"] == {"steps": LONGER, "seconds": None}
    averages = [float(row[f"miou {name}"]) for row in rows for name in ("ema", "average")]
    lead = needed_lead(len(TileSet.open(bright_tiles).tiles("val")))
    merits = [*(float(row["miou"]) - lead for row in rows), *averages]
    handicap = lead if record["best_weights"].startswith("step") else 0
    assert record["best_miou"] - handicap == pytest.approx(np.nanmax(merits), rel=1e-5)
    assert {"curves.png", "tiles.png"} <= {path.name for path in output.iterdir()}


def test_an_unfinished_run_can_be_shortened(bright_tiles: Path, here: Path) -> None:
    broken(bright_tiles, here / "run", 5)
    summary = train(output=here / "run", settings=TrainSettings(resume=True, steps=3))
    assert summary.steps == 5
    assert Checkpoint.load(summary.best).card.training["steps"] == 5
    assert train(output=here / "run", settings=TrainSettings(resume=True)).steps == 5


def test_a_run_by_steps_goes_on_by_the_clock_and_back(bright_tiles: Path, finished: Path, here: Path) -> None:
    output = copy(finished, here / "run")
    assert train(output=output, settings=TrainSettings(resume=True, minutes=0.05)).steps > STEPS
    with pytest.raises(
        TrainingError, match=r"is finished after step \d+, 0\.\d of 0\.05 minutes; a total of 0\.001 minutes"
    ):
        train(output=output, settings=TrainSettings(resume=True, minutes=0.001))
    steps = int(log(output)[-1]["step"])
    assert train(output=output, settings=TrainSettings(resume=True, steps=steps + 1)).steps == steps + 1


def test_a_finished_run_is_not_extended_by_less_than_it_has_had(finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.iterdir()}
    with pytest.raises(
        TrainingError, match=rf"is finished after step {STEPS} of {STEPS}; a total of 5 steps would not"
    ):
        train(output=finished, settings=TrainSettings(resume=True, steps=5))
    assert {path: path.read_bytes() for path in finished.iterdir()} == before


def test_patience_begins_anew_where_a_run_is_extended(bright_tiles: Path, here: Path) -> None:
    choices = {"lr": 1e-9, "freeze_norm": True, "patience": 2, "steps": 60, "batch_size": 8}  # it learns nothing
    assert run(bright_tiles, here / "run", **choices).steps < 20
    stopped = int(log(here / "run")[-1]["step"])
    assert train(output=here / "run", settings=TrainSettings(resume=True)).steps == stopped
    validations = len(log(here / "run"))
    assert stopped < train(output=here / "run", settings=TrainSettings(resume=True, steps=80)).steps < 80
    assert len(log(here / "run")) == validations + 2
    assert train(output=here / "run", settings=TrainSettings(resume=True, patience=0)).steps == 80


def test_averages_go_on_where_a_run_is_extended(bright_tiles: Path, here: Path) -> None:
    run(bright_tiles, here / "run", ema=0.9)
    copy(here / "run", here / "again")
    train(output=here / "run", settings=TrainSettings(resume=True, steps=LONGER))
    with pytest.raises(KeyboardInterrupt):
        train(output=here / "again", settings=TrainSettings(resume=True, steps=LONGER), progress=interrupt_after(10))
    train(output=here / "again", settings=TrainSettings(resume=True))
    assert weights(here / "run") == weights(here / "again")


def test_a_kill_while_a_run_is_extended_leaves_one_that_is_finished_again(
    bright_tiles: Path, finished: Path, here: Path
) -> None:
    output = copy(finished, here / "run")
    (output / "run.json").unlink()  # the kill came before the new settings had their name
    assert train(output=output, settings=TrainSettings(resume=True)).steps == STEPS
    assert weights(output) == weights(finished)
    assert log(output) == log(finished)


def test_a_full_disk_leaves_the_best_checkpoint_as_it_was(
    bright_tiles: Path, finished: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = copy(finished, here / "run")

    def full(tensors: Any, path: Any, **more: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("safetensors.torch.save_file", full)
        with pytest.raises(OutputError, match="No space left"):
            train(output=output, settings=TrainSettings(resume=True, steps=LONGER))
    assert weights(output) == weights(finished)
    assert train(output=output, settings=TrainSettings(resume=True, steps=LONGER)).steps == LONGER


def test_tiles_that_have_moved_are_asked_for(bright_tiles: Path, here: Path) -> None:
    tiles = copy(bright_tiles, here / "tiles")
    broken(tiles, None, 1, steps=2)
    tiles.rename(here / "moved")
    with pytest.raises(TileError, match=f"The tiles of the run runs/erfnet-1 are no longer at {tiles}") as caught:
        train(settings=TrainSettings(resume=True))
    assert caught.value.hint == (
        "Name their new folder: "
        "`satseg.train('TILES', output='runs/erfnet-1', settings=satseg.TrainSettings(resume=True))`"
    )
    assert train("moved", settings=TrainSettings(resume=True)).steps == 2


def test_a_finished_run_needs_its_tiles_no_more(bright_tiles: Path, here: Path) -> None:
    tiles = copy(bright_tiles, here / "tiles")
    run(tiles, Path("runs/x"), steps=1)
    shutil.rmtree(tiles)
    assert train(settings=TrainSettings(resume=True)).steps == 1


def test_other_tiles_are_refused(bright_tiles: Path, here: Path) -> None:
    tiles = copy(bright_tiles, here / "tiles")
    (tiles / "tileset.json").write_text((tiles / "tileset.json").read_text().replace('"band_1"', '"red"'))
    broken(bright_tiles, here / "run", 1)
    with pytest.raises(TrainingError, match=r"was started on the tiles in .*; those in .*tiles are different"):
        train(tiles, output=here / "run", settings=TrainSettings(resume=True))


def test_a_network_from_a_file_has_to_be_named_again(bright_tiles: Path, here: Path) -> None:
    (here / "net.py").write_text(
        "from torch import nn\n\n\ndef tiny(*, in_channels, num_classes):\n"
        "    return nn.Conv2d(in_channels, num_classes, 3, padding=1)\n"
    )
    line = broken(bright_tiles, None, 1, steps=2, arch="net.py:tiny")
    assert line.endswith("satseg.TrainSettings(resume=True, arch='net.py:tiny'))`")
    with pytest.raises(UsageError, match=r"trains net\.py:tiny, a custom architecture") as caught:
        train(settings=TrainSettings(resume=True))
    assert "`arch='path/to/net.py:tiny'`" in str(caught.value.hint)
    assert train(settings=TrainSettings(resume=True, arch="net.py:tiny")).steps == 2


def test_where_there_is_neither_a_run_nor_tiles_both_are_said_to_be_missing(here: Path) -> None:
    for asked, said in (
        ({}, "no run to resume below runs/, and no tile set tiles to start one with"),
        ({"tiles": "runs/typo"}, "no run to resume below runs/, and no tile set runs/typo to start"),
        ({"output": "runs/typo"}, "no run to resume at runs/typo, and no tile set tiles"),
    ):
        with pytest.raises(TileError, match=said) as caught:
            train(settings=TrainSettings(resume=True), **asked)  # type: ignore[arg-type]
        assert "satseg.train('RUN', settings=satseg.TrainSettings(resume=True))" in str(caught.value.hint)
    assert not list(here.iterdir())


def test_a_run_in_place_of_tiles_is_known_for_one(finished: Path, here: Path) -> None:
    with pytest.raises(TileError, match="is not a tile set") as caught:
        train(finished)
    assert caught.value.hint == "It is a training run; continue it: `satseg.train` with `resume=True`."


def test_two_runs_cannot_be_resumed_at_once(finished: Path, here: Path) -> None:
    with pytest.raises(UsageError, match="Two runs are named"):
        train(finished, output=here / "other", settings=TrainSettings(resume=True))


def test_a_finished_run_in_the_way_is_not_to_be_continued(finished: Path, bright_tiles: Path) -> None:
    with pytest.raises(OutputError, match="already contains a finished run") as caught:
        run(bright_tiles, finished)
    assert "Continue" not in str(caught.value.hint)
