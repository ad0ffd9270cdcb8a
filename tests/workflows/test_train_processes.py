"""Runs in processes of their own: on several devices, and killed again and again."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from satseg.checkpoint import Checkpoint

NETWORK = '''
from torch import nn

def small(*, in_channels: int, num_classes: int) -> nn.Module:
    """Build a small network: two convolutions with a norm between them.

    Paper: none
    Year: 2026
    Encoder: own
    Parameters: 1
    Output stride: 1
    """
    norm = [nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(nn.Conv2d(in_channels, 8, 3, padding=1), *norm, nn.Conv2d(8, num_classes, 1))
'''

ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "RANK", "WORLD_SIZE")}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("network") / "small.py"
    path.write_text(NETWORK)
    return f"{path}:small"


def command(tiles: Path, output: Path, *words: object) -> list[str]:
    always = ("--device", "cpu", "--precision", "fp32", "--no-pictures", "--quiet")
    return [sys.executable, "-m", "satseg", "train", str(tiles), "-o", str(output), *always, *map(str, words)]


def run(tiles: Path, output: Path, *words: object) -> str:
    done = subprocess.run(
        command(tiles, output, *words), env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def losses(output: Path) -> list[float]:
    with (output / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def files(output: Path) -> list[bytes]:
    return [(output / f"{name}.safetensors").read_bytes() for name in ("best", "last")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        ["--loss", "ce + dice", "--class-weights", "median"],
        ["--loss", "focal + jaccard + 0.5*lovasz + ohem + relaxed", "--ema", 0.9, "--augment", "strong"],
    ],
)
def test_two_processes_learn_as_one_with_twice_the_batch(
    bright_tiles: Path, network: str, tmp_path: Path, recipe: Sequence[object]
) -> None:
    # 16 tiles make a step and an epoch, so that every step is a row of the log.
    shared = ("--arch", network, "--steps", 20, "--freeze-norm", "--threads", 2, "--json", *recipe)
    run(bright_tiles, tmp_path / "one", "--batch-size", 16, *shared)
    answer = run(bright_tiles, tmp_path / "two", "--batch-size", 8, "--devices", 2, *shared)
    assert len(answer.splitlines()) == 1
    assert json.loads(answer)["steps"] == 20
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == 20
    assert one[-1] < 0.95 * one[0]
    assert two == pytest.approx(one, abs=1e-5)
    ours, theirs = (Checkpoint.load(tmp_path / name / "last.safetensors").read_weights() for name in ("one", "two"))
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-4


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_all_processes_and_names_the_tiles_of_all(
    bright_tiles: Path, network: str, tmp_path: Path
) -> None:
    words = ("--arch", network, "--steps", 9, "--batch-size", 2, "--devices", 2, "--lr", 1e30, "--clip", 0)
    line = command(bright_tiles, tmp_path / "run", *words)
    done = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode != 0
    found = [line for line in done.stderr.splitlines() if line.startswith("error: The loss is")]
    assert found
    assert all(line == found[0] for line in found)
    assert found[0].count("scene_") == 4


@pytest.mark.slow
def test_ctrl_c_stops_all_processes_after_the_same_step_and_they_go_on_as_if_nothing_had_happened(
    bright_tiles: Path, network: str, tmp_path: Path
) -> None:
    words = ("--arch", network, "--steps", 400, "--batch-size", 4, "--devices", 2, "--threads", 2, "--resume")
    run(bright_tiles, tmp_path / "unbroken", *words)
    line = command(bright_tiles, tmp_path / "broken", *words)
    with subprocess.Popen(line, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not (tmp_path / "broken" / "log.csv").exists():
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, talk = process.communicate(timeout=60)
    assert process.returncode == 130
    assert talk.count("--resume") == 1
    step = Checkpoint.load(tmp_path / "broken" / "last.safetensors").card.training["steps"]
    assert 0 < step < 400
    run(bright_tiles, tmp_path / "broken", *words)
    assert files(tmp_path / "broken") == files(tmp_path / "unbroken")


@pytest.mark.slow
def test_a_run_on_two_devices_goes_on_for_longer_on_two_without_being_told(
    bright_tiles: Path, network: str, tmp_path: Path
) -> None:
    words = ("--arch", network, "--batch-size", 4, "--threads", 2)
    run(bright_tiles, tmp_path / "run", *words, "--steps", 12, "--devices", 2)
    line = [
        "-m",
        "satseg",
        "train",
        "--resume",
        "-o",
        str(tmp_path / "run"),
        "--steps",
        "20",
        "--arch",
        network,
        "--json",
    ]
    done = subprocess.run(
        [sys.executable, *line], env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=True
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.count("Continuing") == 1
    assert json.loads(done.stdout)["steps"] == 20
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert (settings["devices"], settings["extended"][0]["step"]) == (2, 12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        ["--batch-size", 4],
        ["--batch-size", 2, "--accumulate", 2, "--ema", 0.95, "--schedule", "one-cycle", "--warm-up", 0.3,
         "--augment", "strong", "--balance", "--encoder-rate", 0.1, "--freeze-encoder", 3, "--optimizer", "sgd"],
    ],
)  # fmt: skip
def test_a_run_killed_ten_times_at_random_ends_with_the_bytes_of_an_unbroken_one(
    bright_tiles: Path, tmp_path: Path, recipe: Sequence[object]
) -> None:
    words = ("--arch", "erfnet", "--epochs", 24, "--threads", 1, "--resume", *recipe)
    begun = time.monotonic()
    run(bright_tiles, tmp_path / "unbroken", *words)
    training = json.loads((tmp_path / "unbroken" / "run.json").read_text())["seconds"]
    starting = time.monotonic() - begun - training
    line, chance, kills = command(bright_tiles, tmp_path / "broken", *words), random.Random(0), 0
    while kills < 10:
        with subprocess.Popen(line, env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(timeout=starting + chance.uniform(0, 0.25) * training)
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
        if (tmp_path / "broken" / "run.json").exists():
            shutil.rmtree(tmp_path / "broken")
    run(bright_tiles, tmp_path / "broken", *words)
    assert files(tmp_path / "broken") == files(tmp_path / "unbroken")
