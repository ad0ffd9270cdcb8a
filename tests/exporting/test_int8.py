from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from exported_networks import pixels, reference_of, small_checkpoint, subject_of

from satseg.exporting.onnx_file import open_onnx, write_onnx
from satseg.exporting.subject import Subject


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    made = subject_of(*small_checkpoint(tmp_path_factory.mktemp("int8")), quantize=True)
    return replace(made, images=[pixels(made, 1, 64, 64)])


@pytest.fixture(scope="module")
def file(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "a.onnx"
    write_onnx(path, subject)
    return path


def test_layers_compute_in_int8_between_raw_pixels_and_probabilities(subject: Subject, file: Path) -> None:
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    weights = {part.name: part for part in model.graph.initializer if len(part.dims) == 4}
    last = next(part for part in weights.values() if part.dims[0] == 3)  # the head: probabilities have no steps
    assert weights.pop(last.name).data_type == onnx.TensorProto.FLOAT
    assert {part.data_type for part in weights.values()} == {onnx.TensorProto.INT8}
    # Seven bits: sums of products then fit into the 16 bits that older processors add them up in.
    assert max(np.abs(onnx.numpy_helper.to_array(part).astype(int)).max() for part in weights.values()) <= 64
    (given,), (found,) = model.graph.input, model.graph.output
    assert (given.type.tensor_type.elem_type, found.type.tensor_type.elem_type) == (
        onnx.TensorProto.UINT16,
        onnx.TensorProto.FLOAT,
    )
    notes = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert notes["satseg_export"]["settings"]["quantize"] is True
    assert sorted(notes) == ["satseg", "satseg_export"]


def test_probabilities_are_those_of_the_network_up_to_the_steps_of_int8(subject: Subject, file: Path) -> None:
    run = open_onnx(file, subject)
    for shape in ((1, 64, 64), (3, 65, 100)):
        images = pixels(subject, *shape)
        expected = reference_of(subject).probabilities(images, np.ones(shape, dtype=bool)).numpy()
        found = run(images)
        assert found.shape == expected.shape
        assert 0 < np.abs(found - expected).max() < 0.1


def test_images_are_read_one_at_a_time(subject: Subject, tmp_path: Path) -> None:
    held: list[weakref.ref[np.ndarray]] = []

    def images() -> Iterator[np.ndarray]:
        for _ in range(4):
            gc.collect()
            assert sum(reference() is not None for reference in held) <= 1
            image = pixels(subject, 1, 64, 64)
            held.append(weakref.ref(image))
            yield image
            del image

    write_onnx(tmp_path / "a.onnx", replace(subject, images=images()))
    assert len(held) == 4


def test_files_are_equal_in_every_process(subject: Subject, file: Path, tmp_path: Path) -> None:
    """Python draws the order of its sets anew in each process."""
    write_onnx(tmp_path / "again.onnx", subject)
    assert (tmp_path / "again.onnx").read_bytes() == file.read_bytes()
