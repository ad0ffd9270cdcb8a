"""What is checked before any scene is mapped, and how often a scene is opened for it.

Covers ``models`` and ``provenance``.
"""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from made_scenes import write_scene

from satseg.backend import create_model
from satseg.checkpoint import ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.errors import CheckpointError, UsageError
from satseg.prediction.settings import PredictionSettings
from satseg.raster.scene import Scene
from satseg.raster.source import SceneSource
from satseg.records import BandSpec, BandStatistics
from satseg.workflows.predict import dry_run_scenes, predict_scenes

SETTINGS = PredictionSettings(window=64, overlap=8, threads=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network for the bands ``red`` and ``green``."""
    torch.manual_seed(0)
    card = ModelCard(
        arch="espnet",
        classes=ClassTable.from_names(["background", "roof"]),
        bands=BandSpec(("red", "green"), "uint8", (1.0, 1.0), (0.0, 0.0)),
        statistics=BandStatistics(1, (128.0,) * 2, (70.0,) * 2, (0.0,) * 2, (255.0,) * 2),
        gsd=None,
        tile_size=64,
    )
    path = tmp_path_factory.mktemp("model") / "best.safetensors"
    save_checkpoint(path, create_model("espnet", in_channels=2, num_classes=2).state_dict(), card)
    return path


@pytest.fixture
def scenes(tmp_path: Path) -> list[Path]:
    """Two scenes of three bands, of which the network takes two, in another order."""
    values = np.random.default_rng(0).integers(1, 255, (3, 70, 80), dtype=np.uint8)
    paths = [write_scene(tmp_path / f"{name}.tif", values) for name in "ab"]
    for path in paths:
        with rasterio.open(path, "r+") as dataset:
            dataset.descriptions = ("blue", "green", "red")
    return paths


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each scene was opened, but for the threads that read its windows: a dataset belongs to a thread."""
    counts: Counter[str] = Counter()
    open_scene = SceneSource.open

    def count(self: SceneSource) -> Scene:
        counts[self.stem] += threading.current_thread() is threading.main_thread()
        return open_scene(self)

    monkeypatch.setattr(SceneSource, "open", count)
    return counts


@pytest.mark.parametrize(
    ("output", "times"),
    [
        ("{stem}_map.tif", 1),
        ("{stem}.gpkg", 1),
        ("all.gpkg", 2),  # before the first scene, since all of them need one CRS and space on the disk; and in turn
    ],
)
def test_a_scene_is_opened_once_in_its_turn(
    tmp_path: Path, model: Path, scenes: list[Path], opened: Counter[str], output: str, times: int
) -> None:
    maps = predict_scenes(scenes, output=tmp_path / output, model=model, settings=SETTINGS)
    assert len(list(maps)) == 2
    assert opened == {"a": times, "b": times}


def test_a_dry_run_opens_a_scene_once_more_for_its_probe(
    tmp_path: Path, model: Path, scenes: list[Path], opened: Counter[str]
) -> None:
    list(dry_run_scenes(scenes, output=tmp_path / "{stem}_map.tif", model=model, settings=SETTINGS))
    assert opened == {"a": 2, "b": 2}


@pytest.mark.parametrize("command", [predict_scenes, dry_run_scenes])
def test_wrong_arguments_are_refused_by_the_call_itself(
    tmp_path: Path, model: Path, scenes: list[Path], command
) -> None:
    out = tmp_path / "{stem}_map.tif"
    with pytest.raises(UsageError, match="There is no class 'sky'"):
        command(scenes, output=out, model=model, settings=PredictionSettings(threshold="sky=0.5"))
    (tmp_path / "other.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        command(scenes, output=out, model=tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="would both be written to"):
        command(scenes, output=tmp_path / "map.tif", model=model)
    with pytest.raises(UsageError, match="cannot go into one layer"):
        command(scenes, output=tmp_path / "all.gpkg", model=model, settings=PredictionSettings(skip_existing=True))


def test_threads_of_this_process_are_as_before(tmp_path: Path, model: Path, scenes: list[Path]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        list(predict_scenes(scenes, output=tmp_path / "{stem}_map.tif", model=model, settings=SETTINGS))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
