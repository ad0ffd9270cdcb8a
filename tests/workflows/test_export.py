from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import shapely
import torch
from exported_networks import small_checkpoint
from stac_schemas import check_item
from training_runs import run

from satseg.backend import create_model, list_architectures
from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.errors import NetworkError, OutputError
from satseg.exporting.settings import ExportSettings
from satseg.exporting.training_ground import training_outline
from satseg.records import BandSpec, BandStatistics
from satseg.results import Size
from satseg.runs import Run
from satseg.tiles.tileset import TileSet
from satseg.workflows.export import export

_WARM_UP = 20  # batches: running statistics are then nine tenths those of the images
ALL = {entry.name: entry for entry in list_architectures()}


def untrained(folder: Path, arch: str, **options: Any) -> Path:
    """Write a checkpoint with random weights, whose norms have seen images."""
    card = ModelCard(
        arch=arch,
        arch_options=options,
        classes=ClassTable.from_names(["water", "wood", "roofs"]),
        bands=BandSpec(("red", "green", "blue"), "uint8", (1.0,) * 3, (0.0,) * 3),
        statistics=BandStatistics(9, (110.0,) * 3, (45.0,) * 3, (0.0,) * 3, (255.0,) * 3),
        gsd=(0.5, 0.5),
        tile_size=96,
    )
    torch.manual_seed(0)
    model = create_model(arch, in_channels=3, num_classes=3, **options)
    # Norms that have seen no image let some networks grow their features to thousands, and rounding with them.
    with torch.no_grad():
        for _ in range(_WARM_UP):
            model((torch.rand(2, 3, 128, 128) * 255 - 110) / 45)  # as the check draws and normalises them
    path = folder / f"{arch}.safetensors"
    save_checkpoint(path, model.state_dict(), card)
    return path


@pytest.mark.parametrize(
    ("arch", "options"), [("erfnet", {}), ("unet", {"encoder": "mobilenetv3_small_050", "levels": 3})]
)
def test_a_network_becomes_onnx(arch: str, options: dict[str, Any], tmp_path: Path) -> None:
    found = export(untrained(tmp_path, arch, **options), output=tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").stat().st_size == found.bytes
    assert found.difference <= found.limit == 1e-4
    assert found.pixels == 8 * (64 * 64 + 97 * 130 + 128 * 128)
    assert (found.sizes, found.batches) == ((Size(64, 64), Size(97, 130), Size(128, 128)), (1, 3))
    assert (found.output, found.compared_on) == ("probabilities", "8 random images")


@pytest.mark.slow
@pytest.mark.parametrize("arch", ALL)
def test_every_network_becomes_onnx(arch: str, tmp_path: Path) -> None:
    found = export(untrained(tmp_path, arch), output=tmp_path / "net.onnx")
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
