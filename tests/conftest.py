"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ranged_server import RangedServer


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real scenes and awkward files that are too many to ship with the package."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SATSEG_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"the test data folder {folder} is absent (set SATSEG_TEST_DATA)")
    return folder


@pytest.fixture
def ranged_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangedServer]:
    """A web server for the folder ``ranged_server.folder`` that records which ranges were read."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    with RangedServer(folder, tmp_path / "requests.jsonl") as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C reach the tests and their children, also where the shell started them in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _as_wide_as_it_takes() -> None:
    """Let tables be as wide as they are, whatever width the terminal has in which the tests were started."""
    os.environ.pop("COLUMNS", None)
