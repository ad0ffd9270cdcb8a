"""Which network trains where none is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_runs import run

from satseg.backend import create_model
from satseg.backend.weight_packages import PackagedWeights
from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.errors import CheckpointError
from satseg.tiles.tileset import TileSet
from satseg.training.settings import TrainSettings
from satseg.workflows import network_choice
from satseg.workflows.network_choice import choose_network

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def earlier(tmp_path: Path, bright_tiles: Path) -> Path:
    """A checkpoint of a U-Net with options."""
    tile_set, options = TileSet.open(bright_tiles), {"encoder": "test_efficientnet", "levels": 4}
    parts = (tile_set.classes, tile_set.bands, tile_set.statistics, tile_set.gsd, tile_set.tile_size)
    weights = create_model("unet", in_channels=len(tile_set.bands), num_classes=len(tile_set.classes), **options)
    path = tmp_path / "earlier.safetensors"
    save_checkpoint(path, weights.state_dict(), ModelCard("unet", *parts, arch_options=options))
    return path


def installed(monkeypatch: pytest.MonkeyPatch, *encoders: str) -> None:
    """Pretend that packages with the weights of these encoders, and no others, are installed."""

    def packaged(encoder: str) -> PackagedWeights | None:
        there = PackagedWeights(encoder, f"{encoder}-package", "1", Path("a.pth"), "ImageNet-1k", "Apache-2.0")
        return there if encoder in encoders else None

    monkeypatch.setattr(network_choice, "packaged_weights", packaged)


@pytest.mark.parametrize(
    ("device", "there", "encoder"),
    [
        (CPU, ("lite0", "lite2"), "lite0"),
        (GPU, ("lite0", "lite2"), "lite2"),
        (GPU, ("lite0",), "lite0"),
    ],
)
def test_a_pretrained_encoder_that_suits_the_device_is_taken(
    device: torch.device,
    there: tuple[str, ...],
    encoder: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    installed(monkeypatch, *(f"tf_efficientnet_{name}" for name in there))
    with caplog.at_level("INFO", "satseg"):
        chosen = choose_network(TrainSettings(steps=3), device)
    name = f"tf_efficientnet_{encoder}"
    options = {"encoder": name, "pretrained": True}
    assert (chosen.arch, chosen.network_options, chosen.steps) == ("unet", options, 3)
    assert len(caplog.messages) == 1
    assert f"unet on {name}" in caplog.messages[0]
    assert "ImageNet-1k" in caplog.messages[0]


@pytest.mark.parametrize("device", [CPU, GPU])
def test_without_packaged_weights_it_is_erfnet_and_the_extra_is_named(
    device: torch.device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    installed(monkeypatch)
    with caplog.at_level("INFO", "satseg"):
        chosen = choose_network(TrainSettings(), device)
    assert (chosen.arch, chosen.network_options) == ("erfnet", {})
    assert len(caplog.messages) == 1
    assert "satseg-cli[encoders]" in caplog.messages[0]


def test_a_named_network_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    installed(monkeypatch, "tf_efficientnet_lite0")
    given = TrainSettings(arch="erfnet", steps=3)
    assert choose_network(given, CPU) is given
    assert not caplog.messages


def test_options_of_an_encoder_are_those_of_a_unet(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "tf_efficientnet_lite0")
    chosen = choose_network(TrainSettings(encoder="resnet18", arch_options={"levels": 4}), CPU)
    assert (chosen.arch, chosen.network_options) == ("unet", {"encoder": "resnet18", "levels": 4})


def test_pretrained_weights_are_those_of_an_encoder_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    chosen = choose_network(TrainSettings(pretrained=True), CPU)
    assert (chosen.arch, chosen.network_options) == ("unet", {"encoder": "tf_efficientnet_lite0", "pretrained": True})


def test_a_checkpoint_to_start_from_brings_its_network_and_options(earlier: Path) -> None:
    chosen = choose_network(TrainSettings(init_from=earlier, arch_options={"dropout": 0.2}), CPU)
    options = {"encoder": "test_efficientnet", "levels": 4, "dropout": 0.2}
    assert (chosen.arch, chosen.network_options) == ("unet", options)
    assert choose_network(TrainSettings(arch="enet", init_from=earlier), CPU).network_options == {}


def test_a_custom_network_to_start_from_has_to_be_named(earlier: Path) -> None:
    checkpoint = Checkpoint.load(earlier)
    save_checkpoint(earlier, checkpoint.read_weights(), replace(checkpoint.card, arch="own.py:net"))
    with pytest.raises(CheckpointError, match=r"contains own\.py:net, a custom architecture") as caught:
        choose_network(TrainSettings(init_from=earlier), CPU)
    assert "`arch='path/to/own.py:net'`" in str(caught.value.hint)


def test_runs_store_the_chosen_network_and_go_on_with_it(
    bright_tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begun = run(bright_tiles, None, steps=1, arch="auto", encoder="test_efficientnet")
    assert begun.path == "runs/unet-1"
    assert json.loads((Path(begun.path) / "settings.json").read_text())["arch"] == "unet"
    assert Checkpoint.load(begun.best).card.arch_options == {"encoder": "test_efficientnet"}
    installed(monkeypatch, "tf_efficientnet_lite0")
    assert run(bright_tiles, None, steps=2, arch="auto", resume=True).steps == 2
