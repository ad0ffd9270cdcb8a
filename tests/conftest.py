"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
import subprocess
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from ranged_server import RangedServer
from warm_satseg import warm_satseg

from satseg.files.mmap_arrays import mmap_array
from satseg.tiling.settings import TileSettings
from satseg.workflows.tile import tile


@pytest.fixture(scope="session")
def real_files() -> Path:
    """Folder of real rasters and vector files that break careless readers; its README says whose they are."""
    return Path(__file__).with_name("data")


@pytest.fixture
def ranged_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangedServer]:
    """A web server for the folder ``ranged_server.folder`` that records which ranges were read."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    with RangedServer(folder, tmp_path / "requests.jsonl") as server:
        yield server


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., None]]:
    """Run a shell script in a folder; its ``satseg`` has all imported already, and trains for a few steps only."""
    with warm_satseg(tmp_path_factory.mktemp("warm")) as programs:

        def run(script: str, folder: Path, **environment: str) -> None:
            path = os.pathsep.join([str(programs), os.environ["PATH"]])
            done = subprocess.run(
                ["bash", "-euxo", "pipefail", "-c", script],
                cwd=folder,
                env={**os.environ, "PATH": path, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert done.returncode == 0, done.stderr[-4000:]

        yield run


@pytest.fixture
def held_bytes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return a function that tells how many bytes arrays hold now that spill stores have made since the test began."""
    made: list[weakref.ref[np.ndarray]] = []

    def make(*args: Any) -> np.ndarray:
        array = mmap_array(*args)
        made.append(weakref.ref(array))
        return array

    monkeypatch.setattr("satseg.files.spill.mmap_array", make)
    return lambda: sum(array.nbytes for reference in made if (array := reference()) is not None)


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C reach the tests and their children, also where the shell started them in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _idle() -> Iterator[None]:
    """Let training take all cores, whatever else the machine does: weights depend on their number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("satseg.backend.cores.free_cores", lambda: float(os.cpu_count() or 1))
        yield


@pytest.fixture(scope="session", autouse=True)
def _as_wide_as_it_takes() -> None:
    """Let tables be as wide as they are, whatever width the terminal has in which the tests were started."""
    os.environ.pop("COLUMNS", None)


@pytest.fixture(scope="session")
def bright_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of 256 x 384 px, two bands of uint16 with nodata 0; ``labels.tif`` beside it marks the bright squares."""
    folder = tmp_path_factory.mktemp("bright")
    rng = np.random.default_rng(0)
    labels = np.kron(rng.random((16, 24)) < 0.4, np.ones((16, 16))).astype(np.uint8)
    noise = rng.integers(1, 300, (2, 256, 384))
    bands = (noise + labels * np.array([900, 500])[:, None, None]).astype(np.uint16)
    bands[:, :40, :40] = 0
    profile = {"driver": "GTiff", "height": 256, "width": 384, "crs": "EPSG:32645"}
    profile["transform"] = Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)
    with rasterio.open(folder / "scene.tif", "w", count=2, dtype="uint16", nodata=0, **profile) as dataset:
        dataset.write(bands)
    with rasterio.open(folder / "labels.tif", "w", count=1, dtype="uint8", nodata=255, **profile) as dataset:
        dataset.write(labels, 1)
    return folder / "scene.tif"


@pytest.fixture(scope="session")
def bright_tiles(bright_scene: Path) -> Path:
    """The scene in tiles of 64 px: 16 train tiles, 4 val tiles, 4 test tiles."""
    folder = bright_scene.parent / "tiles"
    tile(
        [bright_scene],
        labels=bright_scene.parent / "labels.tif",
        output=folder,
        settings=TileSettings(size=64, overlap=0, block=128),
    )
    return folder
