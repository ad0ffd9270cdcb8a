"""Scenes that are mapped by other processes have the files that this one alone would write."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from satseg.backend import create_model, run_custom_file
from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.files.atomic_write import work_folder
from satseg.inference.distributed import SentNetwork
from satseg.inference.views import Views
from satseg.prediction.settings import PredictionSettings
from satseg.records import BandSpec, BandStatistics

TABLE = ClassTable.from_names(["background", "bright"])
OWN_FILE = """
from torch import nn

def halves(*, in_channels, num_classes):
    return nn.Conv2d(in_channels, num_classes, 3, padding=1)
"""


def write_scene(path: Path, height: int, width: int, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    values = np.kron(rng.integers(0, 255, (height // 10 + 1, width // 10 + 1)), np.ones((10, 10)))
    profile = {"driver": "GTiff", "crs": "EPSG:32645", "transform": Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)}
    with rasterio.open(path, "w", count=1, height=height, width=width, dtype="uint8", **profile) as dataset:
        dataset.write(values[:height, :width].astype(np.uint8), 1)
    return path


def write_checkpoint(path: Path, arch: str = "erfnet", own: str | None = None) -> Path:
    torch.manual_seed(0)
    model = create_model(run_custom_file(own) if own else arch, in_channels=1, num_classes=2)
    statistics = BandStatistics(100, (120.0,), (60.0,), (0.0,), (255.0,))
    card = ModelCard(arch, TABLE, BandSpec(("band_1",), "uint8", (1.0,), (0.0,)), statistics, (0.5, 0.5), 64)
    save_checkpoint(path, model.state_dict(), card)
    return path


def test_a_network_arrives_as_it_was_sent(tmp_path: Path) -> None:
    """Checkpoints of two networks, one from a file that no other machine has."""
    (tmp_path / "own.py").write_text(OWN_FILE)
    arch = f"{tmp_path / 'own.py'}:halves"
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    write_checkpoint(files[0])
    write_checkpoint(files[1], "own.py:halves", arch)
    checkpoints = [Checkpoint.load(path) for path in files]
    sent = pickle.dumps(SentNetwork.pack(checkpoints, arch, views=Views("flips", (1.0,)), compile=False, objects=False))
    for path in [*files, tmp_path / "own.py"]:
        path.rename(path.with_name(f"moved-{path.name}"))
    arrived = pickle.loads(sent)(torch.device("cpu"), "32-true")
    models = [create_model("erfnet", in_channels=1, num_classes=2)]
    models.append(create_model(run_custom_file(f"{tmp_path / 'moved-own.py'}:halves"), in_channels=1, num_classes=2))
    for model, path, member in zip(models, files, arrived.members, strict=True):
        weights = Checkpoint.load(path.with_name(f"moved-{path.name}")).read_weights()
        model.load_state_dict(weights)
        assert all(torch.equal(value, weights[name]) for name, value in member.model.state_dict().items())
    assert len(arrived.views.orientations) == 4


def test_one_device_here_takes_no_other_process() -> None:
    assert not PredictionSettings().spreads
    assert not PredictionSettings(devices=1).spreads


def test_where_a_map_is_made_is_not_part_of_it() -> None:
    spread = PredictionSettings(engine="ray", devices=8)
    assert spread.words() == PredictionSettings().words()
    assert spread.deciding() == PredictionSettings().deciding()


def predict(folder: Path, scenes: list[Path], *options: str) -> subprocess.Popen[str]:
    """Start ``satseg predict`` in a folder and a process group of its own.

    The names of the network and of the outputs are relative: outputs store the command.
    """
    words = [sys.executable, "-m", "satseg", "predict", *scenes, "-m", "model.safetensors", *options]
    words += ["-o", "{stem}.tif", "-o", "{stem}.gpkg", "--confidence", "{stem}-sure.tif"]
    words += ["--window", "64", "--batch-size", "3", "--precision", "fp32", "--threads", "2", "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["SATSEG_TEST_FOLDER"] = str(folder)  # processes that it starts are known by that
    return subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=folder,
        env=environment,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "model.safetensors"}


@pytest.mark.slow
def test_two_workers_write_the_files_of_one_process_also_after_ctrl_c(tmp_path: Path) -> None:
    scenes = [write_scene(tmp_path / "one.tif", 500, 300), write_scene(tmp_path / "two.tif", 1500, 300, seed=1)]
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        write_checkpoint(folder / "model.safetensors")
    alone = predict(here, scenes)
    output, talk = alone.communicate(timeout=200)
    assert alone.returncode == 0, talk
    spread = predict(there, scenes, "--devices", "2")
    wait_for_rows(work_folder(there / "two.tif"), spread)
    os.killpg(spread.pid, signal.SIGINT)
    _, talk = spread.communicate(timeout=60)
    assert spread.returncode == 130
    assert "Traceback" not in talk
    assert not processes_of(there)
    resumed = predict(there, scenes, "--devices", "2", "--resume")
    summary, talk = resumed.communicate(timeout=200)
    assert resumed.returncode == 0, talk
    assert contents(there) == contents(here)
    finished, mapped = map(json.loads, summary.splitlines())
    assert finished["finished"]
    assert mapped["pixels"] == json.loads(output.splitlines()[1])["pixels"]


def wait_for_rows(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a map has begun to grow."""
    journal = folder / "rows.log"
    until = time.monotonic() + 150
    while time.monotonic() < until and process.poll() is None:
        if journal.exists() and journal.read_text().strip():
            return
        time.sleep(0.05)
    raise AssertionError(f"it ended with {process.poll()}: {process.communicate(timeout=1)[1]}")


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of the processes that were started for a folder and are still there."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"SATSEG_TEST_FOLDER={folder}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue  # it has just ended
    return found
