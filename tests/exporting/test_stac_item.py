from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from exported_networks import small_checkpoint, subject_of
from pystac.errors import STACValidationError
from stac_schemas import check_item

from satseg.classes import ClassTable
from satseg.errors import OutputError
from satseg.exporting.settings import ExportSettings
from satseg.exporting.stac_item import item_path, make_item, require_own_item, write_item
from satseg.exporting.subject import Subject
from satseg.exporting.training_ground import Ground
from satseg.raster.bands import Normaliser
from satseg.records import Clipping

GROUND = Ground(shapely.MultiPolygon([shapely.box(10.0, 50.0, 10.5, 50.25)]), (date(2019, 5, 1), date(2021, 9, 30)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return small_checkpoint(
        tmp_path_factory.mktemp("stac"), training={"loss": "ce + dice", "steps": 9}, metrics={"mean_iou": 0.7}
    )


def item_of(file: Path, subject: Subject, ground: Ground = GROUND) -> dict[str, Any]:
    file.write_bytes(b"a network")
    return make_item(file, subject, ground)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("roofs.onnx", {}),
        ("roofs.onnx", {"argmax": True}),
        ("roofs.onnx", {"deepness": True}),
        ("roofs.pt2", {}),
        ("roofs.safetensors", {"half": True}),
    ],
)
@pytest.mark.parametrize("ground", [GROUND, Ground()])
def test_items_are_valid(
    name: str, settings: dict[str, Any], ground: Ground, made: tuple[Path, str], tmp_path: Path
) -> None:
    check_item(item_of(tmp_path / name, subject_of(*made, **settings), ground))


def test_the_validation_finds_what_is_missing(made: tuple[Path, str], tmp_path: Path) -> None:
    for broken in ("mlm:output", "mlm:architecture", "bands"):
        item = item_of(tmp_path / "roofs.onnx", subject_of(*made))
        del item["properties"][broken]
        with pytest.raises(STACValidationError):
            check_item(item)


def test_names_that_catalogues_do_not_take_are_made_plain(tmp_path: Path) -> None:
    subject = subject_of(
        *small_checkpoint(tmp_path, classes=ClassTable.from_names(["Gewässer", "森", "roofs & sheds"]))
    )
    item = item_of(tmp_path / "2024 Dächer!.onnx", subject)
    check_item(item)
    (output,) = item["properties"]["mlm:output"]
    assert [one["name"] for one in output["classification:classes"]] == ["Gew-sser", "class-1", "roofs-sheds"]
    assert [one["description"] for one in output["classification:classes"]] == ["Gewässer", "森", "roofs & sheds"]
    assert item["assets"]["model"]["href"] == "./2024 Dächer!.onnx"


def test_an_item_says_what_goes_in_and_comes_out(made: tuple[Path, str], tmp_path: Path) -> None:
    properties = item_of(tmp_path / "roofs.onnx", subject_of(*made))["properties"]
    (given,), (found,) = properties["mlm:input"], properties["mlm:output"]
    assert given["bands"] == [band["name"] for band in properties["bands"]] == ["red", "nir"]
    assert given["input"]["shape"] == [-1, 2, -1, -1]
    assert given["input"]["data_type"] == "uint16"
    assert (given["value_scaling"], given["resize_type"]) == (None, None)
    assert found["result"] == {
        "shape": [-1, 3, -1, -1],
        "dim_order": ["batch", "class", "height", "width"],
        "data_type": "float32",
    }
    assert [(one["value"], one["name"]) for one in found["classification:classes"]] == [
        (0, "water"),
        (1, "wood"),
        (2, "roofs"),
    ]
    assert properties["mlm:total_parameters"] == 8 * 2 * 9 + 8 + 8 * 3 + 3  # without the auxiliary head
    assert properties["mlm:hyperparameters"] == {"loss": "ce + dice", "steps": 9, "metrics": {"mean_iou": 0.7}}
    assert (properties["mlm:accelerator"], properties["mlm:framework"]) == (None, "ONNX")


def test_files_for_deepness_are_described_with_their_tiles(made: tuple[Path, str], tmp_path: Path) -> None:
    properties = item_of(tmp_path / "roofs.onnx", subject_of(*made, deepness=True))["properties"]
    assert properties["mlm:input"][0]["input"]["shape"] == [-1, 2, 512, 512]
    assert properties["mlm:input"][0]["input"]["data_type"] == "float32"
    assert properties["mlm:output"][0]["result"]["shape"] == [-1, 3, 512, 512]


def test_the_checksum_is_a_multihash_of_the_file(made: tuple[Path, str], tmp_path: Path) -> None:
    asset = item_of(tmp_path / "roofs.onnx", subject_of(*made))["assets"]["model"]
    checksum = bytes.fromhex(asset["file:checksum"])
    assert checksum == bytes([0x12, 32]) + hashlib.sha256(b"a network").digest()
    assert asset["file:size"] == 9


def test_ground_and_dates_are_those_of_the_training(made: tuple[Path, str], tmp_path: Path) -> None:
    item = item_of(tmp_path / "roofs.onnx", subject_of(*made))
    assert shapely.geometry.shape(item["geometry"]).equals(GROUND.outline)
    assert item["bbox"] == [10.0, 50.0, 10.5, 50.25]
    assert item["properties"]["datetime"] is None
    assert item["properties"]["start_datetime"] == "2019-05-01T00:00:00Z"
    assert item["properties"]["end_datetime"] == "2021-09-30T23:59:59Z"
    assert item["properties"]["satseg:unknown"] == []


def test_what_is_not_known_is_said(made: tuple[Path, str], tmp_path: Path) -> None:
    item = item_of(tmp_path / "roofs.onnx", subject_of(*made), Ground())
    assert item["geometry"] is None
    assert "bbox" not in item
    assert item["properties"]["satseg:unknown"] == ["footprint", "dates"]


@pytest.mark.parametrize("clipping", [None, Clipping((100.0, 80.0), (40.0, 0.0), 2.0)])
def test_scaling_of_checkpoints_is_the_normalisation(clipping: Clipping | None, tmp_path: Path) -> None:
    path, arch = small_checkpoint(tmp_path, clipping=clipping)
    subject = subject_of(path, arch, half=True)
    scaling = item_of(tmp_path / "roofs.safetensors", subject)["properties"]["mlm:input"][0]["value_scaling"]
    raw = np.random.default_rng(0).integers(0, 256, (1, 2, 5, 5)).astype(np.float32)
    card = subject.checkpoint.card
    expected = Normaliser(card.statistics, torch.device("cpu"), card.clipping)(torch.from_numpy(raw)).numpy()
    for band, rule in enumerate(scaling):
        data = raw[:, band]
        found = (
            (data - rule["mean"]) / rule["stddev"]
            if rule["type"] == "z-score"
            else eval(rule["expression"], {"clip": np.clip, "data": data})
        )
        assert np.allclose(found, expected[:, band], atol=1e-6)


def test_equal_networks_give_equal_bytes(made: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "roofs.onnx").write_bytes(b"a network")
    for name in ("a.json", "b.json"):
        write_item(tmp_path / name, tmp_path / "roofs.onnx", subject_of(*made), GROUND)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert str(tmp_path) not in (tmp_path / "a.json").read_text()


def test_an_item_of_another_file_is_kept(made: tuple[Path, str], tmp_path: Path) -> None:
    file = tmp_path / "roofs.onnx"
    require_own_item(file)  # there is none
    item_of(file, subject_of(*made))
    write_item(item_path(file), file, subject_of(*made), GROUND)
    require_own_item(file)
    for text in ('{"my": "notes"}', item_path(file).read_text().replace('"roofs.onnx"', '"roofs.pt2"')):
        item_path(file).write_text(text)
        with pytest.raises(OutputError, match=r"roofs\.json exists, and does not describe roofs\.onnx"):
            require_own_item(file)


def test_dates_are_no_part_of_the_file(made: tuple[Path, str]) -> None:
    with_dates = subject_of(*made, dates="2019-05-01")
    assert with_dates.metadata() == subject_of(*made).metadata()
    assert "dates" not in json.loads(with_dates.metadata()["satseg_export"])["settings"]
    assert ExportSettings(dates="2019-05-01").dates == "2019-05-01"
