"""What training chooses by itself: batches and compilation by device, normalisation by bands, weights by their IoU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from torch import nn
from training_runs import interrupt_after, run, weights

from satseg.checkpoint import Checkpoint
from satseg.tiling.settings import TileSettings
from satseg.training.recipe import Recipe
from satseg.training.schedule import Budget
from satseg.workflows import train as workflow
from satseg.workflows.tile import tile
from satseg.workflows.train_choices import batch_size_for, pays_to_compile

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("asked", "device", "tiles", "expected"),
    [
        (None, CPU, 100, 8),
        (None, CPU, 3, 8),
        (None, GPU, 100, 32),
        (None, GPU, 20, 16),
        ("auto", GPU, 100, 64),
        (5, GPU, 9, 5),
    ],
)
def test_batches_are_larger_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, asked: Any, device: torch.device, tiles: int, expected: int
) -> None:
    monkeypatch.setattr("satseg.training.batch_size.free_memory", lambda: 10**12)
    data: Any = SimpleNamespace(tile_set=SimpleNamespace(bands=("red",), tile_size=32), train=range(tiles))
    assert batch_size_for(Recipe(batch_size=asked), nn.Conv2d(1, 2, 3, padding=1), data, device) == expected


@pytest.mark.parametrize(
    ("device", "budget", "builder", "expected"),
    [
        (GPU, Budget(seconds=3600), "erfnet", True),
        (GPU, Budget(steps=20_000), "erfnet", True),
        (GPU, Budget(seconds=600), "erfnet", False),
        (GPU, Budget(steps=500), "erfnet", False),
        (CPU, Budget(seconds=3600), "erfnet", False),
        (GPU, Budget(seconds=3600), nn.Identity, False),
    ],
)
def test_long_runs_on_a_gpu_are_compiled(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, budget: Budget, builder: Any, expected: bool
) -> None:
    monkeypatch.setattr("satseg.workflows.train_choices.can_compile", lambda: True)
    assert pays_to_compile(device, budget, builder) == expected
    monkeypatch.setattr("satseg.workflows.train_choices.can_compile", lambda: False)
    assert not pays_to_compile(device, budget, builder)


def test_what_was_chosen_is_recorded(bright_tiles: Path, tmp_path: Path) -> None:
    run(bright_tiles, tmp_path / "run", steps=1, batch_size=None)
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert (settings["batch_size"], settings["compile"], settings["clip_values"]) == (8, False, 8.0)
    assert Checkpoint.load(tmp_path / "run").card.clipping is None  # its bands have no heavy tails


def test_the_kept_weights_are_named_in_summary_checkpoint_and_record(bright_tiles: Path, tmp_path: Path) -> None:
    summary = run(bright_tiles, tmp_path / "run", steps=40)
    card = Checkpoint.load(summary.best).card
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert summary.weights == card.training["weights"] == record["best_weights"]
    best = max(
        float(row[column])
        for row in _log(tmp_path / "run")
        for column in ("miou", "miou ema", "miou average")
        if row[column] != "nan"
    )
    assert summary.validation.mean_iou == pytest.approx(best, rel=1e-5)


def test_an_old_record_names_the_step(bright_tiles: Path, tmp_path: Path) -> None:
    step = run(bright_tiles, tmp_path / "run", steps=1, ema=0).weights
    path = tmp_path / "run" / "run.json"
    record = json.loads(path.read_text())
    del record["best_weights"]
    path.write_text(json.dumps(record))
    assert run(bright_tiles, tmp_path / "run", steps=1, ema=0, resume=True).weights == step == "step 1"


@pytest.fixture(scope="module")
def radar_tiles(bright_scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles of a lognormal float32 scene, with a few echoes a thousand times as strong."""
    folder = tmp_path_factory.mktemp("radar")
    rng = np.random.default_rng(0)
    with rasterio.open(bright_scene.parent / "labels.tif") as labels:
        profile = labels.profile | {"count": 1, "dtype": "float32", "nodata": None}
        bands = np.exp(rng.normal(np.log(3.0) * labels.read(), 0.3)).astype(np.float32)
    bands[rng.random(bands.shape) < 0.002] *= 1000
    with rasterio.open(folder / "scene.tif", "w", **profile) as dataset:
        dataset.write(bands)
    settings = TileSettings(size=64, overlap=0, block=128)
    tile([folder / "scene.tif"], labels=bright_scene.parent / "labels.tif", output=folder / "tiles", settings=settings)
    return folder / "tiles"


def test_bands_with_heavy_tails_are_clipped_and_the_run_resumes_to_the_bit(radar_tiles: Path, tmp_path: Path) -> None:
    run(radar_tiles, tmp_path / "run")
    clipping = Checkpoint.load(tmp_path / "run").card.clipping
    assert clipping is not None
    assert 0.9 < clipping.centre[0] < 2.0
    assert clipping.spread[0] < 2.0
    with pytest.raises(KeyboardInterrupt):
        run(radar_tiles, tmp_path / "again", progress=interrupt_after(4))
    run(radar_tiles, tmp_path / "again", resume=True)
    assert weights(tmp_path / "again") == weights(tmp_path / "run")


def test_a_run_of_an_earlier_version_goes_on_without_clipping(radar_tiles: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(radar_tiles, tmp_path / "run", clip_values=0.0, progress=interrupt_after(4))
    shutil.copytree(tmp_path / "run", tmp_path / "old")
    settings = json.loads((tmp_path / "old" / "settings.json").read_text())
    del settings["clip_values"]
    (tmp_path / "old" / "settings.json").write_text(json.dumps(settings))
    for name in ("run", "old"):
        workflow.train(output=tmp_path / name, settings=workflow.TrainSettings(resume=True))
    assert weights(tmp_path / "old") == weights(tmp_path / "run")
    assert Checkpoint.load(tmp_path / "old").card.normalisation == "mean-std"


def _log(folder: Path) -> list[dict[str, str]]:
    header, *rows = [line.split(",") for line in (folder / "log.csv").read_text().splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]
