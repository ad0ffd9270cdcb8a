from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto
from onnx_files import DEEPNESS, write_onnx

from satseg.checkpoint import ModelCard
from satseg.errors import CheckpointError
from satseg.exported.deepness import card_of, is_for_deepness
from satseg.exported.graph import Graph

SINGLE = ((1.0, -0.5),)


def card(folder: Path, ending: str = "softmax", *, more: dict[str, Any] | None = None, **options: Any) -> ModelCard:
    metadata = {key: value for key, value in (DEEPNESS | (more or {})).items() if value is not None}
    return card_of(Graph.read(write_onnx(folder / "net.onnx", ending, metadata=metadata, **options)))


def test_metadata_become_a_card(tmp_path: Path) -> None:
    found = card(tmp_path, more={"standardization_mean": [0.5, 0.4, 0.2], "standardization_std": [0.25, 0.5, 1]})
    assert found.classes.names == ("water", "wood", "roofs")
    assert (found.gsd, found.tile_size) == ((0.5, 0.5), 64)
    assert found.bands.names == ("band_1", "band_2", "band_3")
    assert found.bands.dtype == "uint8"
    assert found.statistics.mean == (127.5, 102.0, 51.0)  # the plugin divides by 255 first
    assert found.statistics.std == (63.75, 127.5, 255.0)


def test_without_standardisation_values_are_divided_by_255(tmp_path: Path) -> None:
    found = card(tmp_path).statistics
    assert (found.mean, found.std) == ((0.0,) * 3, (255.0,) * 3)


@pytest.mark.parametrize(
    "names",
    [
        {"class_names": {0: "sea", 1: "land", 2: "ice"}},
        {"class_names": "{0: 'sea', 1: 'land', 2: 'ice'}"},  # not JSON, and read by the plugin
        {"class_names": None, "names": '{"2": "ice", "0": "sea", "1": "land"}'},
    ],
)
def test_class_names_are_read_in_all_spellings(names: dict[str, Any], tmp_path: Path) -> None:
    assert card(tmp_path, more=names).classes.names == ("sea", "land", "ice")


def test_a_single_plane_is_the_second_of_two_classes(tmp_path: Path) -> None:
    found = card(tmp_path, "sigmoid", more={"class_names": {0: "roofs"}}, lines=SINGLE).classes
    assert (found.names, found.background) == (("background", "roofs"), 0)


def test_classes_without_names_are_numbered(tmp_path: Path) -> None:
    assert card(tmp_path, more={"class_names": None}).classes.names == ("class_0", "class_1", "class_2")


def test_what_is_not_said_stays_open(tmp_path: Path) -> None:
    found = card(tmp_path, more={"resolution": None, "tile_size": None})
    assert (found.gsd, found.tile_size) == (None, 512)


def test_the_graph_says_more_of_sizes_than_metadata(tmp_path: Path) -> None:
    assert card(tmp_path, shape=(1, 3, 96, 96)).tile_size == 96


@pytest.mark.parametrize(
    ("more", "options", "message"),
    [
        ({"model_type": "Detector"}, {}, 'it is a "Detector"; maps are made by a Segmentor'),
        ({"class_names": {0: "a", 1: "b"}}, {}, "name 2 classes, but its graph gives 3"),
        ({"class_names": {1: "a", 2: "b", 3: "c"}}, {}, r"number the classes \[1, 2, 3\], not from 0 on"),
        ({"class_names": "roofs"}, {}, 'are "roofs", not names by the number of each class'),
        ({"resolution": -5}, {}, "resolution is -5, not a number above 0"),
        ({"standardization_mean": [0.5], "standardization_std": [1]}, {}, "not one number for each of 3 bands"),
        ({"standardization_mean": [0, 0, 0], "standardization_std": [1, 0, 1]}, {}, "not above 0"),
        ({}, {"shape": (1, 3, 64, 96)}, "images of 64 x 96 px; only square ones"),
        ({"tile_size": 8}, {}, "images of 8 px a side; sizes range from 32 to 4096"),
        ({}, {"dtype": TensorProto.UINT8}, "takes uint8 with 4 axes, not float32 images"),
    ],
)
def test_what_contradicts_itself_is_refused(
    more: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        card(tmp_path, more=more, **options)


def test_other_files_are_not_for_deepness(tmp_path: Path) -> None:
    assert not is_for_deepness(Graph.read(write_onnx(tmp_path / "net.onnx", metadata={"author": "somebody"})))
