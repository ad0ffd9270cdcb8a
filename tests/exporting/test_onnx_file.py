"""Covers ``subject``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from exported_networks import pixels, reference_of, small_checkpoint, subject_of

from satseg.checkpoint import ModelCard
from satseg.exporting.onnx_file import open_onnx, write_onnx


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return small_checkpoint(tmp_path_factory.mktemp("onnx"))


def test_a_file_gives_the_probabilities_of_predict_for_any_batch_and_size(
    made: tuple[Path, str], tmp_path: Path
) -> None:
    subject = subject_of(*made)
    write_onnx(tmp_path / "a.onnx", subject)
    run, reference = open_onnx(tmp_path / "a.onnx", subject), reference_of(subject)
    for shape in ((1, 64, 64), (3, 65, 100), (2, 300, 128)):
        images = pixels(subject, *shape)
        expected = reference.probabilities(images, np.ones(shape, dtype=bool)).numpy()
        assert np.abs(run(images) - expected).max() < 1e-5


def test_a_file_says_all_that_is_needed_to_use_it_and_nothing_of_this_machine(
    made: tuple[Path, str], tmp_path: Path
) -> None:
    subject = subject_of(*made)
    write_onnx(tmp_path / "a.onnx", subject)
    model = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(model, full_check=True)
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert ModelCard.from_json(notes["satseg"]) == subject.checkpoint.card
    told = json.loads(notes["satseg_export"])
    assert told["output"] == "probabilities"
    assert told["checkpoint"] == f"model.safetensors sha256:{subject.checkpoint.digest}"
    (given,), (found,) = model.graph.input, model.graph.output
    axes = [[axis.dim_param or axis.dim_value for axis in part.type.tensor_type.shape.dim] for part in (given, found)]
    assert axes == [["batch", 2, "height", "width"], ["batch", 3, "height", "width"]]
    assert (given.name, given.type.tensor_type.elem_type) == ("pixels", onnx.TensorProto.UINT16)
    content = (tmp_path / "a.onnx").read_bytes()
    assert b"site-packages" not in content
    assert str(tmp_path.parent).encode() not in content
    write_onnx(tmp_path / "again.onnx", subject)
    assert (tmp_path / "again.onnx").read_bytes() == content


def test_half_precision_stays_inside(made: tuple[Path, str], tmp_path: Path) -> None:
    subject = subject_of(*made, half=True, argmax=True, nodata=7)
    write_onnx(tmp_path / "a.onnx", subject)
    weights = [part for part in onnx.load(tmp_path / "a.onnx").graph.initializer if len(part.dims) == 4]
    assert {part.data_type for part in weights} == {onnx.TensorProto.FLOAT16}
    images = pixels(subject, 1, 64, 80)
    valid = (images != 7).all(axis=1)
    expected = reference_of(subject).probabilities(images, valid).numpy().argmax(axis=1)
    found = open_onnx(tmp_path / "a.onnx", subject)(images)
    assert (found.dtype, found.shape) == (np.uint8, (1, 64, 80))
    assert np.array_equal(found == 255, ~valid)
    assert (found != expected)[valid].mean() < 0.01
