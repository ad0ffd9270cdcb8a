"""Run the command line in this process or in one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from satseg.cli.app import main


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
