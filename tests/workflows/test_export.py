from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from exported_networks import small_checkpoint, untrained_checkpoint
from training_runs import run

from satseg.backend import list_architectures
from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.errors import NetworkError, OutputError
from satseg.exporting.settings import ExportSettings
from satseg.results import Size
from satseg.workflows.export import export

ALL = [entry.name for entry in list_architectures()]


@pytest.mark.parametrize(
    ("arch", "options"), [("erfnet", {}), ("unet", {"encoder": "mobilenetv3_small_050", "levels": 3})]
)
def test_a_network_becomes_onnx(arch: str, options: dict[str, Any], tmp_path: Path) -> None:
    found = export(untrained_checkpoint(tmp_path, arch, **options), output=tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").stat().st_size == found.bytes
    assert found.difference <= found.limit == 1e-4
    assert found.pixels == 8 * (64 * 64 + 97 * 130 + 128 * 128)
    assert (found.sizes, found.batches) == ((Size(64, 64), Size(97, 130), Size(128, 128)), (1, 3))
    assert (found.output, found.compared_on) == ("probabilities", "8 random images")


@pytest.mark.slow
@pytest.mark.parametrize("arch", ALL)
def test_every_network_becomes_onnx(arch: str, tmp_path: Path) -> None:
    found = export(untrained_checkpoint(tmp_path, arch), output=tmp_path / "net.onnx")
    assert found.difference <= 1e-4


def test_a_run_is_checked_on_its_val_tiles(bright_tiles: Path, tmp_path: Path) -> None:
    summary = run(bright_tiles, tmp_path / "run")
    found = export(summary.path, output=tmp_path / "net.safetensors", settings=ExportSettings(half=True))
    assert found.compared_on == f"4 val tiles of {bright_tiles}"
    assert found.model == summary.best
    assert 0 < found.difference <= found.limit == 0.05
    assert found.bytes < 0.6 * Path(summary.best).stat().st_size
    assert Checkpoint.load(tmp_path / "net.safetensors").card == Checkpoint.load(summary.best).card


def test_a_file_that_computes_something_else_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_zeros(path: Path, weights: dict[str, torch.Tensor], card: ModelCard) -> None:
        save_checkpoint(path, {name: torch.zeros_like(tensor) for name, tensor in weights.items()}, card)

    monkeypatch.setattr("satseg.exporting.half_checkpoint.save_checkpoint", write_zeros)
    path, arch = small_checkpoint(tmp_path)
    with pytest.raises(NetworkError, match=r"net\.safetensors is not written: its probabilities differ .* 0\.05, and"):
        export(path, output=tmp_path / "out" / "net.safetensors", arch=arch, settings=ExportSettings(half=True))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_does_not_run_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(images: object) -> object:
        raise RuntimeError("Guard failed: batch > 1")

    monkeypatch.setattr("satseg.exporting.half_checkpoint.open_half_checkpoint", lambda *_: refuse)
    path, arch = small_checkpoint(tmp_path)
    told = (
        r"net\.safetensors is not written: it does not run on pixels of shape \(1, 2, 64, 64\): Guard failed: batch > 1"
    )
    with pytest.raises(NetworkError, match=told):
        export(path, output=tmp_path / "out" / "net.safetensors", arch=arch, settings=ExportSettings(half=True))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_is_replaced_on_request_alone(tmp_path: Path) -> None:
    path, arch = small_checkpoint(tmp_path)
    half = ExportSettings(half=True)
    export(path, output=tmp_path / "net.safetensors", arch=arch, settings=half)
    before = (tmp_path / "net.safetensors").read_bytes()
    with pytest.raises(OutputError, match=r"net\.safetensors exists"):
        export(path, output=tmp_path / "net.safetensors", arch=arch, settings=half)
    export(path, output=tmp_path / "net.safetensors", arch=arch, settings=half.changed(overwrite=True))
    assert (tmp_path / "net.safetensors").read_bytes() == before
