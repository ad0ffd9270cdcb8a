"""Headers that somebody edited, damaged or made up: one sentence, and nothing is opened, fetched or run."""

from __future__ import annotations

import json
import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from satseg.backend import create_model
from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.errors import CheckpointError, SatsegError
from satseg.records import BandSpec, BandStatistics

CARD = ModelCard(
    arch="erfnet",
    classes=ClassTable.from_names(["background", "wood"]),
    bands=BandSpec(("red", "nir"), "uint16", (0.1, 0.1), (0.0, 0.0)),
    statistics=BandStatistics(7, (1.0, 2.0), (3.0, 4.0), (0.0, 0.0), (9.0, 9.0)),
    gsd=(0.5, 0.5),
    tile_size=256,
    training={"steps": 3, "augment": {"gain": 0.1}},
    metrics={"mean_iou": 0.5},
)


def edited(path: str, value: Any) -> str:
    """Return the header with one entry set; ``...`` takes it away."""
    parts = json.loads(CARD.to_json())
    *folders, name = path.split(".")
    place: Any = parts
    for folder in folders:
        place = place[int(folder) if isinstance(place, list) else folder]
    if value is ...:
        del place[name]
    else:
        place[int(name) if isinstance(place, list) else name] = value
    return json.dumps(parts)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("gsd", [-1, 0.5], r"gsd is \[-1, 0\.5\], not finite numbers above 0"),
        ("gsd", -1, "gsd is -1, not a list"),
        ("gsd", [0.5], r"gsd is \[0\.5\], not 2 numbers"),
        ("gsd", [float("nan"), 0.5], "gsd is .*, not finite numbers above 0"),
        ("gsd", [0, 0], "gsd is .*, not finite numbers above 0"),
        ("statistics.std", [1.0], r"statistics\.std is \[1\.0\], not 2 numbers"),
        ("statistics.std", [1.0, -2.0], r"statistics\.std is \[1\.0, -2\.0\], not finite numbers of 0 or more"),
        ("statistics.std", [1.0, float("nan")], r"statistics\.std is .*, not finite numbers"),
        ("statistics.mean", [1.0, float("inf")], r"statistics\.mean is .*, not finite numbers"),
        ("statistics.mean", [10**400, 1], r"statistics\.mean is .*, not finite numbers"),
        ("statistics.minimum", [10.0, 0.0], r"statistics\.minimum is \[10\.0, 0\.0\], above the maximum"),
        ("statistics.count", -1, r"statistics\.count is -1, not a whole number of 0 or more"),
        ("statistics", ..., "statistics is missing"),
        ("normalisation", "mean-std-clipped", "clipping is missing"),
        ("normalisation", "ranks", "normalisation is .ranks."),
        ("classes.background", 999, "The background is class 999, but ids end at 1"),
        ("classes.background", True, r"classes\.background is true, not a whole number"),
        ("classes.classes", [], "holds 1 to 255 classes, not 0"),
        ("classes.classes", "wood", r"classes\.classes is .wood., not a list"),
        ("classes.classes.1.id", 0, r"Class ids must be 0\.\.1 in order"),
        ("classes.classes.0.id", 1.0, r"classes\.classes\[0\]\.id is 1\.0, not a whole number"),
        ("classes.classes.1.name", "background", "The class table has the name 'background' twice"),
        ("classes.classes.1.name", 7, r"classes\.classes\[1\]\.name is 7, not a text"),
        ("classes.classes.1.name", "\ud800", r"classes\.classes\[1\]\.name is .*, not a text"),
        ("classes.classes.1.colour", "red", "The colour of class 'wood' is 'red', not #rrggbb"),
        ("classes.classes.1", None, r"classes\.classes\[1\] is null, not an object"),
        ("labels", [], r"labels is \[\], not an object"),
        ("labels", {"class_field": 5}, r"labels\.class_field is 5, not a text"),
        ("labels", {"class_field": "x" * 2000}, r"labels\.class_field is .*, not a text of 1000 characters at most"),
        ("labels", {"class_map": "no pair"}, "'no pair' is not a pair value=class"),
        ("labels", {"class_map": "1=a," * 50_000}, r"labels\.class_map is .*, not a text of 100000 characters at most"),
        ("labels", {"unlabelled": 1}, r"labels\.unlabelled is not a list of whole numbers"),
        ("labels", {"unlabelled": [True]}, r"labels\.unlabelled is not a list of whole numbers"),
        ("labels", {"unlabelled": [10**400]}, r"labels\.unlabelled is not a list of whole numbers"),
        ("labels", {"unlabelled": [1] * 2000}, r"labels\.unlabelled is not a list of whole numbers, 1000 at most"),
        ("labels", {"outside": "nowhere"}, r"labels\.outside is .nowhere., not one of ignore"),
        ("arch", 5, "arch is 5, not a text"),
        ("arch", "x" * 100_000, "arch is .*, not a text of 1000 characters at most"),
        ("arch", None, "arch is null, not a text"),
        ("arch_options", {"in_channels": 3}, r"arch_options\.in_channels is 3, which its other entries determine"),
        ("arch_options", {"objects": True}, r"arch_options\.objects is true, which its other entries determine"),
        ("object_outputs", "corners", "object_outputs is .corners., not one of edges, centres"),
        ("arch_options", {"num_classes": 9}, r"arch_options\.num_classes is 9, which"),
        ("arch_options", {"pretrained": True}, r"arch_options\.pretrained would download weights"),
        ("arch_options", {"encoder_weights": "/etc/passwd"}, r"arch_options\.encoder_weights would download weights"),
        (
            "arch_options",
            {"encoder": "hf-hub:a/b"},
            r"arch_options\.encoder is .hf-hub:a/b., which brings weights, but a checkpoint contains its own",
        ),
        ("arch_options", {"encoder": ["resnet18"]}, r"arch_options\.encoder is .*, not a plain value"),
        ("arch_options", [], r"arch_options is \[\], not an object"),
        ("bands.names", [], r"bands\.names is empty"),
        ("bands.names", ["red", 5], r"bands\.names is .*, not a list of texts"),
        ("bands.dtype", "complex64", r"bands\.dtype is .complex64., not one of uint8, "),
        ("bands.dtype", ["uint8"], r"bands\.dtype is .*, not one of"),
        ("bands.scales", [1], r"bands\.scales is \[1\], not 2 numbers"),
        ("bands.offsets", [0, float("inf")], r"bands\.offsets is .*, not finite numbers"),
        ("tile_size", 0, "tile_size is 0, not a whole number from 1 to 65536"),
        ("tile_size", 10**12, "tile_size is 1000000000000, not a whole number"),
        ("tile_size", "256", "tile_size is .256., not a whole number"),
        ("normalisation", "min-max", "normalisation is .min-max., not one of mean-std"),
        ("format", 99, "It has format 99; this version of satseg reads formats up to 1"),
        ("format", "1", "format is .1., not a whole number"),
        ("training", 5, "training is 5, not an object"),
        ("training", {"a": "\ud800"}, r"training\.a is .*, which cannot be printed"),
        ("metrics", {"mean_iou": "good"}, r"metrics\.mean_iou is .good., not a number"),
        ("version", ..., "version is missing"),
    ],
)
def test_an_entry_that_makes_no_sense_is_named_with_its_value(path: str, value: Any, said: str) -> None:
    with pytest.raises(CheckpointError, match=said) as caught:
        ModelCard.from_json(edited(path, value))
    assert len(caught.value.message) < 400
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("gsd", None),
        ("statistics.std", [0, 1]),  # a band that was constant in training
        ("metrics", {"iou": float("nan")}),  # of a class that the val tiles lack
        ("classes.background", None),
        ("news", {"of": "a later version"}),
    ],
)
def test_what_training_may_write_is_read(path: str, value: Any) -> None:
    card = ModelCard.from_json(edited(path, value))
    assert json.loads(card.to_json())["bands"] == json.loads(CARD.to_json())["bands"]


@pytest.mark.parametrize("text", ["", "null", "[]", "5", '"text"', "{", "[" * 100_000, '{"a":' * 100_000, "1" * 5000])
def test_what_is_no_header_at_all_is_said(text: str) -> None:
    with pytest.raises(CheckpointError, match="Its header is invalid"):
        ModelCard.from_json(text)


def test_a_refused_header_tells_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({}, path, metadata={"satseg": edited("gsd", [-1, 1])})
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be used\. Its header is invalid: gsd is"):
        Checkpoint.load(path)


class Opened(BaseException):
    """Something was opened or run that no header may open."""


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing open a file or a connection."""

    def refuse(*args: object, **options: object) -> None:
        raise Opened(args)

    with monkeypatch.context() as patch:
        for place, name in (("builtins", "open"), ("os", "open"), ("io", "open")):
            patch.setattr(f"{place}.{name}", refuse)
        patch.setattr(socket, "socket", refuse)
        yield


WEIRD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 255, 256, 999, 10**30, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "red", "\0", "\ud800", "../../etc/passwd", "http://localhost/x", "net.py:f", "hf-hub:timm/resnet18", "x" * 5000,
    [], [1], ["red", "nir"], [[[]]], {}, {"pretrained": True}, {"encoder_weights": "/dev/zero"}, {"in_channels": 9},
    {"encoder": "resnet18"}, {"a": {"b": [None]}},
]  # fmt: skip


def mutate(value: Any, random: random.Random) -> Any:
    """Return a JSON tree with one to three changes at random places."""
    for _ in range(random.randint(1, 3)):
        value = _mutate_once(value, random)
    return value


def _mutate_once(value: Any, random: random.Random) -> Any:
    if not isinstance(value, dict | list) or not value or random.random() < 0.15:
        return random.choice(WEIRD)
    key = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
    changed = value.copy()
    match random.randrange(6):
        case 0:
            del changed[key]
        case 1 if isinstance(changed, list):
            changed.insert(key, random.choice([*WEIRD, changed[key]]))
        case 1:
            changed[random.choice(["pretrained", "in_channels", "num_classes", "x", "encoder"])] = random.choice(WEIRD)
        case _:
            changed[key] = _mutate_once(changed[key], random)
    return changed


def test_thousands_of_mutated_headers_give_a_card_or_one_sentence_and_open_nothing(sealed: None) -> None:
    header, chance = json.loads(CARD.to_json()), random.Random(0)
    cards = 0
    for _ in range(5000):
        try:
            card = ModelCard.from_json(json.dumps(mutate(header, chance)))
        except CheckpointError as error:
            assert len(error.message) < 2000
            error.message.encode()
            continue
        cards += 1
        assert len(card.statistics.mean) == len(card.statistics.std) == len(card.bands)
        assert not card.arch_options.keys() & {"in_channels", "num_classes", "pretrained", "encoder_weights"}
        assert ModelCard.from_json(card.to_json()).to_json() == card.to_json()
    assert 200 < cards < 4800  # both ways are tried


def test_mutated_names_and_options_of_networks_build_one_or_give_one_sentence_and_open_nothing(
    request: pytest.FixtureRequest,
) -> None:
    for arch in ("erfnet", "unet", "segnet"):  # whose files are imported before nothing may be opened any more
        with torch.device("meta"):
            create_model(arch, in_channels=2, num_classes=2, **({"encoder": "resnet18"} if arch == "unet" else {}))
    request.getfixturevalue("sealed")
    chance = random.Random(1)
    options = ["encoder", "dropout", "output_stride", "bilinear", "multi_scale", "x", "in_channels", "pretrained"]
    built = 0
    for _ in range(150):
        given = {chance.choice(options): chance.choice([*WEIRD, "resnet18", 0.1, 8, 16])}
        arch = chance.choice(["erfnet", "unet", "segnet", *(x for x in WEIRD if isinstance(x, str))])
        header = json.dumps({**json.loads(CARD.to_json()), "arch": arch, "arch_options": given})
        try:
            card = ModelCard.from_json(header)
            with torch.device("meta"):
                Checkpoint(Path("nowhere.safetensors"), card).build_model()
        except SatsegError as error:
            error.message.encode()
            built += "nowhere.safetensors" in error.message
        except Opened as error:
            built += 1
            assert "nowhere.safetensors" in str(error)  # its own weights, at last
    assert 2 < built < 148  # both ways are tried


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "best.safetensors"
    save_checkpoint(path, create_model("erfnet", in_channels=2, num_classes=2).state_dict(), CARD)
    return path


def test_damaged_files_give_one_sentence(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    save_checkpoint(whole, {"w": torch.ones(4)}, CARD)
    data, chance, path = whole.read_bytes(), random.Random(2), tmp_path / "damaged.safetensors"
    refused = 0
    for number in range(400):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(damaged[: chance.randrange(len(data))] if number % 4 == 0 else damaged)
        try:
            Checkpoint.load(path).read_weights()
        except CheckpointError as error:
            refused += 1
            error.message.encode()
    assert 200 < refused < 400  # all that were cut short, and many others


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\xff" * 8, struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 10**9), b"PK\3\4 a zip, as .pth is"],
)
def test_what_is_no_safetensors_file_is_said_with_what_is_taken(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match="is not a safetensors file") as caught:
        Checkpoint.load(tmp_path / "x.safetensors")
    assert "best.safetensors" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w | {"encoder.0.conv.weight": w["encoder.0.conv.weight"][:1]}, r"is float32 \(1, .*, not float32"),
        (lambda w: {k: v for k, v in w.items() if k != "encoder.0.conv.weight"}, "encoder.0.conv.weight is missing"),
        (lambda w: w | {"more": torch.ones(1), "most": torch.ones(1)}, "more is unexpected, and 1 more"),
        (lambda w: {k: v.to(torch.int8) for k, v in w.items()}, "is int8 .*, not float32"),
        (
            lambda w: w | {"encoder.0.conv.weight": w["encoder.0.conv.weight"] * float("nan")},
            "encoder.0.conv.weight contains NaN",
        ),
    ],
)
def test_weights_that_do_not_fit_are_told_by_the_first_of_them(
    saved: Path, tmp_path: Path, change: Any, said: str
) -> None:
    path = tmp_path / "changed.safetensors"
    save_checkpoint(path, change(Checkpoint.load(saved).read_weights()), CARD)
    with pytest.raises(CheckpointError, match=said) as caught:
        Checkpoint.load(path).build_model()
    assert len(caught.value.message) < 400


def test_weights_of_half_precision_are_loaded(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    halved = {k: v.half() if v.is_floating_point() else v for k, v in Checkpoint.load(saved).read_weights().items()}
    save_checkpoint(path, halved, CARD)
    assert Checkpoint.load(path).build_model()(torch.zeros(1, 2, 32, 32)).dtype == torch.float32


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (replace(CARD, arch="erfnt"), r"There is no network named 'erfnt'"),
        (replace(CARD, arch_options={"width": 3}), "does not take the option 'width'"),
        (replace(CARD, arch="/tmp/evil.py:run"), "which is defined in a Python file"),
    ],
)
def test_a_network_that_is_not_there_is_told_with_the_file(card: ModelCard, said: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "odd.safetensors", {}, card)
    with pytest.raises(CheckpointError, match=rf"odd\.safetensors .*{said}"):
        Checkpoint.load(tmp_path / "odd.safetensors").build_model()
