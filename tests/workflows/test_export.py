from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from exported_networks import small_checkpoint, untrained_checkpoint
from stac_schemas import check_item
from training_runs import run

from satseg.backend import find_architecture, list_architectures
from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.errors import NetworkError, OutputError, SatsegError, TileError
from satseg.evaluation.settings import EvaluateSettings
from satseg.exporting.settings import ExportSettings
from satseg.exporting.training_ground import training_outline
from satseg.exporting.val_tiles import ValTiles
from satseg.inference.network import Network
from satseg.results import Size
from satseg.runs import Run
from satseg.tiles.tileset import TileSet
from satseg.workflows.evaluate import evaluate
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
def test_every_network_becomes_onnx_unless_the_catalogue_says_why_not(arch: str, tmp_path: Path) -> None:
    path = untrained_checkpoint(tmp_path, arch)
    if find_architecture(arch).exportable:
        assert export(path, output=tmp_path / "net.onnx").difference <= 1e-4
    else:
        with pytest.raises(SatsegError):
            export(path, output=tmp_path / "net.onnx")


def test_a_run_is_checked_on_its_val_tiles(bright_tiles: Path, tmp_path: Path) -> None:
    summary = run(bright_tiles, tmp_path / "run")
    found = export(summary.path, output=tmp_path / "net.safetensors", settings=ExportSettings(half=True))
    assert found.compared_on == f"4 val tiles of {bright_tiles}"
    assert found.model == summary.best
    assert 0 < found.difference <= found.limit == 0.05
    assert found.bytes < 0.6 * Path(summary.best).stat().st_size
    assert Checkpoint.load(tmp_path / "net.safetensors").card == Checkpoint.load(summary.best).card


def trained_small(tiles: Path, folder: Path) -> tuple[Path, str]:
    """Train the small network on tiles; return its run, and what ``arch`` has to say."""
    folder.mkdir()
    arch = small_checkpoint(folder)[1]
    run(tiles, folder / "run", arch=arch, steps=40)
    return folder / "run", arch


def test_an_int8_file_is_scored_on_val_tiles(bright_tiles: Path, tmp_path: Path) -> None:
    path, arch = trained_small(bright_tiles, tmp_path / "made")
    quantize = ExportSettings(quantize=True, max_loss=0.05)
    found = export(path, output=tmp_path / "net.onnx", arch=arch, settings=quantize)
    lost = found.quantization
    assert lost is not None
    assert lost.pixels == 4 * 64 * 64
    assert 0.5 < lost.float_mean_iou < 1
    assert lost.loss == lost.float_mean_iou - lost.mean_iou <= 0.05
    assert 0 < lost.differing < 0.05
    assert (found.limit, found.compared_on) == (None, f"4 val tiles of {bright_tiles}")
    assert evaluate(path, [bright_tiles], settings=EvaluateSettings(split="val", arch=arch)).mean_iou == pytest.approx(
        lost.float_mean_iou, abs=1e-3
    )


def test_an_int8_file_that_scores_worse_does_not_appear(
    bright_tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranges that were measured on black images fit no others."""
    path, arch = trained_small(bright_tiles, tmp_path / "made")
    read = ValTiles.images
    monkeypatch.setattr(ValTiles, "images", lambda self, most: (image * 0 for image in read(self, most)))
    told = r"net\.onnx is not written: in int8, the network loses 0\.\d{4} of mean IoU \(0.* to 0.*\) on 4 val .*0\.01"
    with pytest.raises(NetworkError, match=told):
        export(path, output=tmp_path / "out" / "net.onnx", arch=arch, settings=ExportSettings(quantize=True))
    assert list((tmp_path / "out").iterdir()) == []


def test_an_int8_file_needs_tiles(tmp_path: Path) -> None:
    path, arch = small_checkpoint(tmp_path)
    with pytest.raises(TileError, match="An int8 network needs labelled val tiles"):
        export(path, output=tmp_path / "out" / "net.onnx", arch=arch, settings=ExportSettings(quantize=True))
    assert not (tmp_path / "out").exists()


def test_rounding_of_torch_does_not_refuse_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch is off by 3e-4 in float32, as it may be in a deep network."""
    path, arch = small_checkpoint(tmp_path)
    made = Network.probabilities

    def rounded(self: Network, images: np.ndarray, valid: np.ndarray) -> torch.Tensor:
        found = made(self, images, valid)
        single = next(self.members[0].model.parameters()).dtype == torch.float32
        return found + 3e-4 * (-1) ** torch.arange(len(self.classes))[:, None, None] if single else found

    monkeypatch.setattr(Network, "probabilities", rounded)
    found = export(path, output=tmp_path / "net.pt2", arch=arch)
    assert found.precision == "float64"
    assert found.difference < 1e-5


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


def test_an_item_describes_the_file_and_the_ground_of_its_training(bright_tiles: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    Run.start(folder, {"circumstances": {"tile_set": str(bright_tiles)}})
    path, arch = small_checkpoint(tmp_path)
    path = path.rename(folder / "best.safetensors")
    settings = ExportSettings(half=True, dates="2020-06-01")
    found = export(path, output=tmp_path / "net.safetensors", arch=arch, settings=settings)
    assert (found.item, found.unknown) == (str(tmp_path / "net.json"), ())
    item = json.loads((tmp_path / "net.json").read_text(encoding="utf-8"))
    check_item(item)
    outline = training_outline(TileSet.open(bright_tiles))
    assert outline is not None
    assert shapely.geometry.shape(item["geometry"]).equals(outline)
    assert item["assets"]["model"]["file:size"] == found.bytes
    digest = hashlib.sha256((tmp_path / "net.safetensors").read_bytes()).hexdigest()
    assert item["assets"]["model"]["file:checksum"] == "1220" + digest


def test_a_file_and_its_item_are_replaced_together(tmp_path: Path) -> None:
    path, arch = small_checkpoint(tmp_path)
    half = ExportSettings(half=True)
    assert export(path, output=tmp_path / "net.safetensors", arch=arch, settings=half).unknown == ("footprint", "dates")
    before = (tmp_path / "net.json").read_bytes()
    replaced = half.changed(overwrite=True)
    export(path, output=tmp_path / "net.safetensors", arch=arch, settings=replaced)
    assert (tmp_path / "net.json").read_bytes() == before
    found = export(path, output=tmp_path / "net.safetensors", arch=arch, settings=replaced.changed(stac=False))
    assert found.item is None
    assert not (tmp_path / "net.json").exists()  # it described the file that is gone
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.safetensors", "net.py", "net.safetensors"]


def test_a_file_of_the_name_of_the_item_is_kept(tmp_path: Path) -> None:
    path, arch = small_checkpoint(tmp_path)
    (tmp_path / "net.json").write_text('{"my": "notes"}')
    half = ExportSettings(half=True, overwrite=True)
    with pytest.raises(OutputError, match=r"net\.json exists, and does not describe net\.safetensors"):
        export(path, output=tmp_path / "net.safetensors", arch=arch, settings=half)
    assert not (tmp_path / "net.safetensors").exists()
    export(path, output=tmp_path / "net.safetensors", arch=arch, settings=half.changed(stac=False))
    assert (tmp_path / "net.json").read_text() == '{"my": "notes"}'


def test_a_file_for_deepness_is_checked_on_its_tiles(tmp_path: Path) -> None:
    path, arch = small_checkpoint(tmp_path)
    found = export(path, output=tmp_path / "net.onnx", arch=arch, settings=ExportSettings(deepness=True))
    assert found.sizes == (Size(512, 512),)
    assert found.difference <= found.limit == 1e-4
