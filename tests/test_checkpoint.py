from __future__ import annotations

import json
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from satseg.backend import create_model
from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.errors import CheckpointError
from satseg.records import BandSpec, BandStatistics, Clipping

CARD = ModelCard(
    arch="erfnet",
    classes=ClassTable.from_names(["background", "wood"]),
    bands=BandSpec(("red", "nir"), "uint16", (0.1, 0.1), (0.0, 0.0)),
    statistics=BandStatistics(7, (1.0, 2.0), (3.0, 4.0), (0.0, 0.0), (9.0, 9.0)),
    gsd=(0.5, 0.5),
    tile_size=256,
    training={"steps": 3},
    metrics={"mean_iou": 0.5},
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "best.safetensors"
    torch.manual_seed(0)
    save_checkpoint(path, create_model("erfnet", in_channels=2, num_classes=2).state_dict(), CARD)
    return path


def test_a_checkpoint_may_have_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    for name in (b"b\xe2t.safetensors", b"f\xe2/best.safetensors"):
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        save_checkpoint(path, {"weight": torch.ones(2)}, CARD)
        assert Checkpoint.load(path).read_weights()["weight"].tolist() == [1, 1]


def test_a_checkpoint_gives_back_its_card_and_network(saved: Path) -> None:
    checkpoint = Checkpoint.load(saved)
    assert checkpoint.card == CARD
    torch.manual_seed(0)
    original = create_model("erfnet", in_channels=2, num_classes=2).eval()
    images = torch.rand(1, 2, 40, 40)
    with torch.no_grad():
        assert torch.equal(checkpoint.build_model()(images), original(images))


def test_equal_checkpoints_are_equal_bytes(saved: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "again.safetensors", Checkpoint.load(saved).read_weights(), CARD)
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()
    assert Checkpoint.load(tmp_path / "again.safetensors").digest == Checkpoint.load(saved).digest


def test_the_header_is_plain_json_without_dates(saved: Path) -> None:
    raw = saved.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    card = json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["satseg"])
    assert card["classes"]["classes"][1]["name"] == "wood"
    assert not [key for key in card if "date" in key or "time" in key or "host" in key]


def test_the_clipping_is_in_the_header_where_there_is_one_and_headers_without_it_are_as_they_were() -> None:
    clipping = Clipping((1.0,) * len(CARD.bands), (2.0,) * len(CARD.bands), 8.0)
    plain, clipped = json.loads(CARD.to_json()), json.loads(replace(CARD, clipping=clipping).to_json())
    assert (plain["normalisation"], "clipping" in plain) == ("mean-std", False)
    assert clipped["normalisation"] == "mean-std-clipped"  # which versions that clip nothing refuse
    assert [ModelCard.from_json(json.dumps(parts)).clipping for parts in (plain, clipped)] == [None, clipping]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        Checkpoint.load(tmp_path / "none.safetensors")


def test_what_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        Checkpoint.load(tmp_path / "a.safetensors")
    save_file({"w": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match="not written by satseg"):
        Checkpoint.load(tmp_path / "b.safetensors")


def test_a_cut_off_file_is_said(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(saved.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
        Checkpoint.load(path).build_model()


def test_weights_of_another_network_are_refused(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "mixed.safetensors"
    save_checkpoint(path, Checkpoint.load(saved).read_weights(), replace(CARD, arch="unet"))
    with pytest.raises(CheckpointError, match="do not match unet"):
        Checkpoint.load(path).build_model()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("red",), "scales": (0.1,), "offsets": (0.0,)}, r"it has 1 band, but the network was trained on 2"),
        ({"dtype": "uint8"}, r"its dtype is uint8, but the network was trained on uint16"),
        ({"names": ("nir", "red")}, r"its band 1 is 'nir', but the network expects 'red'"),
        ({"scales": (0.5, 0.5)}, r"has scale 0.5 and offset 0, but the training scenes had scale 0.1 and offset 0"),
    ],
)
def test_a_scene_that_does_not_fit_is_refused(saved: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.load(saved).check_fits(replace(CARD.bands, **change), "s.tif")


def test_bands_without_names_fit_any_name(saved: Path) -> None:
    Checkpoint.load(saved).check_fits(replace(CARD.bands, names=("band_1", "band_2")), "s.tif")


@pytest.mark.parametrize("change", [{"offsets": (-5.0, -5.0)}, {"scales": (0.5, 0.2), "dtype": "float32"}])
def test_stated_scales_fit_where_values_are_converted(saved: Path, change: dict[str, Any]) -> None:
    theirs = replace(CARD.bands, **change)
    Checkpoint.load(saved).check_fits(theirs, "s.tif", converted=True)
    with pytest.raises(CheckpointError):
        Checkpoint.load(saved).check_fits(theirs, "s.tif")


def test_a_scene_that_states_no_scale_is_refused_where_training_scenes_did(saved: Path) -> None:
    unstated = replace(CARD.bands, scales=(1.0, 1.0))
    with pytest.raises(CheckpointError, match=r"has no scale and offset, but the training scenes had scale 0.1"):
        Checkpoint.load(saved).check_fits(unstated, "s.tif", converted=True)


def test_bands_that_a_user_chose_may_have_other_names(saved: Path) -> None:
    theirs = replace(CARD.bands, names=("B04", "B08"))
    Checkpoint.load(saved).check_fits(theirs, "s.tif", by_name=False)
    with pytest.raises(CheckpointError, match="its band 1 is 'B04', but the network expects 'red'"):
        Checkpoint.load(saved).check_fits(theirs, "s.tif")


def test_a_newer_format_asks_for_an_update(saved: Path) -> None:
    newer = json.loads(CARD.to_json()) | {"format": 99}
    with pytest.raises(CheckpointError, match="format 99"):
        ModelCard.from_json(json.dumps(newer))


@pytest.fixture
def of_format_1(tmp_path: Path) -> Path:
    """A checkpoint as satseg wrote them before it aligned scores."""
    path = tmp_path / "former.safetensors"
    torch.manual_seed(0)
    model = create_model("deeplabv3", in_channels=2, num_classes=2, encoder="resnet18")
    card = replace(CARD, arch="deeplabv3", arch_options={"encoder": "resnet18"}, format=1)
    save_checkpoint(path, model.state_dict(), card)
    return path


def test_a_network_of_format_1_computes_what_it_did(of_format_1: Path) -> None:
    model = Checkpoint.load(of_format_1).build_model()
    images = torch.rand(1, 2, 64, 80)
    with torch.no_grad():
        scores = model.head(model.pyramid(model.encoder(images)[-1]))
        expected = torch.nn.functional.interpolate(scores, (64, 80), mode="bilinear", align_corners=True)
        assert torch.equal(model(images), expected)


def test_a_network_of_format_1_stays_one_when_it_is_saved_again(of_format_1: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.load(of_format_1)
    again = tmp_path / "again.safetensors"
    save_checkpoint(again, checkpoint.read_weights(), replace(checkpoint.card, division={"min_area": "4px"}))
    assert Checkpoint.load(again).card.format == 1


def test_a_garbled_header_is_said() -> None:
    parts = json.loads(CARD.to_json())
    del parts["statistics"]
    with pytest.raises(CheckpointError, match="statistics"):
        ModelCard.from_json(json.dumps(parts))


def test_a_checkpoint_of_an_own_file_runs_nothing_by_itself(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "own.safetensors", {}, replace(CARD, arch="net.py:tiny"))
    with pytest.raises(
        CheckpointError, match=r"needs the architecture net\.py:tiny, which is defined in a Python file"
    ) as caught:
        Checkpoint.load(tmp_path / "own.safetensors").build_model()
    assert "`arch='path/to/net.py:tiny'`" in caught.value.hint


def test_a_checkpoint_of_an_own_file_is_built_by_the_function_that_is_named(tmp_path: Path) -> None:
    def tiny(*, in_channels: int, num_classes: int) -> torch.nn.Module:
        return torch.nn.Conv2d(in_channels, num_classes, 1)

    weights = tiny(in_channels=2, num_classes=2).state_dict()
    save_checkpoint(tmp_path / "own.safetensors", weights, replace(CARD, arch="net.py:tiny"))
    model = Checkpoint.load(tmp_path / "own.safetensors").build_model(tiny)
    assert torch.equal(model.weight, weights["weight"])


def test_a_file_for_a_network_that_needs_none_is_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="contains erfnet, a built-in network"):
        Checkpoint.load(saved).build_model(lambda **options: torch.nn.Identity())


def test_weights_in_half_precision_are_computed_with_in_single(tmp_path: Path) -> None:
    half = Checkpoint.load("sample")
    stored = half.read_weights()
    assert {tensor.dtype for tensor in stored.values() if tensor.ndim > 1} == {torch.float16}
    model = half.build_model()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(torch.equal(tensor, stored[name].to(tensor.dtype)) for name, tensor in model.state_dict().items())
