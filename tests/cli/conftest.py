"""Run the command line in this process or in one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from satseg import create_model
from satseg.checkpoint import ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.cli.app import main
from satseg.records import BandSpec, BandStatistics


@dataclass(frozen=True)
class Outcome:
    """How a command line ended."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def satseg(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run ``satseg`` with some words in this process."""

    def run(*words: object) -> Outcome:
        with pytest.raises(SystemExit) as leaving:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return Outcome(leaving.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def satseg_process() -> Callable[..., Outcome]:
    """Run ``satseg`` with some words in a process of its own."""

    def run(*words: object, **options: object) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "satseg", *map(str, words)], capture_output=True, text=True, timeout=120, **options
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that fits the sample and has learnt nothing."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    card = ModelCard(
        arch="erfnet",
        classes=ClassTable.from_names(["background", "buildings"]),
        bands=BandSpec(("red", "green", "blue"), "uint8", (1.0,) * 3, (0.0,) * 3),
        statistics=BandStatistics(1, (110.0,) * 3, (45.0,) * 3, (0.0,) * 3, (255.0,) * 3),
        gsd=(0.132, 0.132),
        tile_size=256,
        training={"steps": 7, "augmentation": {"gain": 0.1}},
        metrics={"mean_iou": 0.25},
    )
    save_checkpoint(path, create_model("erfnet", in_channels=3, num_classes=2).state_dict(), card)
    return path
