"""Networks from a file of the user, and encoders that start from weights, on the way from training to a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import rasterio
import timm
import torch

from satseg.checkpoint import Checkpoint
from satseg.errors import ArchitectureError, CheckpointError
from satseg.evaluation.settings import EvaluateSettings
from satseg.prediction.settings import PredictionSettings
from satseg.training.settings import TrainSettings
from satseg.workflows.evaluate import evaluate
from satseg.workflows.predict import predict
from satseg.workflows.train import train

FEW: dict[str, Any] = {"steps": 1, "batch_size": 4, "threads": 1, "device": "cpu", "precision": "fp32"}
ONE_THREAD = PredictionSettings(threads=1)
NET = """
from pathlib import Path
from torch import nn
Path(__file__).with_name("ran").touch()

def tiny(*, in_channels, num_classes):
    return nn.Conv2d(in_channels, num_classes, 3, padding=1)
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def test_an_own_network_goes_from_training_to_a_map(
    net: Path, bright_scene: Path, bright_tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arch = f"{net}:tiny"
    best = train(bright_tiles, settings=TrainSettings(arch=arch, **FEW)).best
    assert best == "runs/tiny-1/best.safetensors"
    assert Checkpoint.load(best).card.arch == "net.py:tiny"
    predict(bright_scene, model=best, arch=arch, output="map.tif", settings=ONE_THREAD)
    assert rasterio.open("map.tif").shape == (256, 384)
    assert 0 <= evaluate(best, [bright_tiles], settings=EvaluateSettings(arch=arch, threads=1)).mean_iou <= 1


def test_a_checkpoint_does_not_run_the_file_it_names(
    net: Path, bright_scene: Path, bright_tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = train(bright_tiles, output=tmp_path / "run", settings=TrainSettings(arch=f"{net}:tiny", **FEW)).best
    net.with_name("ran").unlink()
    monkeypatch.chdir(tmp_path)  # where the file lies under the very name that the checkpoint has
    with pytest.raises(CheckpointError, match=r"net\.py:tiny, which is defined in a Python file"):
        predict(bright_scene, model=best, output=tmp_path / "map.tif", settings=ONE_THREAD)
    assert not net.with_name("ran").exists()


def test_an_encoder_starts_from_a_file_that_its_checkpoint_does_not_need(bright_tiles: Path, tmp_path: Path) -> None:
    weights = tmp_path / "encoder.pth"
    torch.save(timm.create_model("resnet10t").state_dict(), weights)
    run = train(
        bright_tiles,
        output=tmp_path / "run",
        settings=TrainSettings(arch="bisenet", encoder="resnet10t", encoder_weights=weights, **FEW),
    )
    weights.unlink()
    checkpoint = Checkpoint.load(run.best)
    assert checkpoint.card.arch_options == {"encoder": "resnet10t"}
    assert checkpoint.build_model()(torch.zeros(1, 2, 32, 32)).shape == (1, 2, 32, 32)


def test_a_network_with_its_own_encoder_takes_no_other(bright_tiles: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match="erfnet does not take the option 'encoder'") as caught:
        train(bright_tiles, output=tmp_path / "run", settings=TrainSettings(arch="erfnet", encoder="resnet18", **FEW))
    assert "brings its own encoder" in caught.value.hint
    assert not (tmp_path / "run").exists()
