from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from onnx_files import write_onnx

from satseg.errors import CheckpointError, UsageError
from satseg.exported.graph import Graph, Port


def test_a_graph_says_what_it_takes_and_gives(tmp_path: Path) -> None:
    found = Graph.read(write_onnx(tmp_path / "net.onnx", "argmax", shape=("n", 3, 64, 64), metadata={"a": "b"}))
    assert found.input == Port("images", "float32", (None, 3, 64, 64))
    assert found.output == Port("argmax0", "int64", (None, 64, 64))
    assert found.metadata == {"a": "b"}


def test_weights_among_the_inputs_do_not_count(tmp_path: Path) -> None:
    model = onnx.load(write_onnx(tmp_path / "net.onnx"))
    model.graph.input.append(helper.make_tensor_value_info("weights", TensorProto.FLOAT, (3, 3, 1, 1)))
    onnx.save(model, tmp_path / "old.onnx")
    assert Graph.read(tmp_path / "old.onnx").input.name == "images"


def test_several_outputs_are_refused(tmp_path: Path) -> None:
    model = onnx.load(write_onnx(tmp_path / "net.onnx"))
    model.graph.output.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "two.onnx")
    with pytest.raises(CheckpointError, match=r"two\.onnx has 2 outputs \(softmax0, scores\); .* have one"):
        Graph.read(tmp_path / "two.onnx")


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x0a" + b"\xff" * 99])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"net\.onnx is not an ONNX file: "):
        Graph.read(tmp_path / "net.onnx")


def test_missing_packages_are_named_with_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_onnx(tmp_path / "net.onnx")
    monkeypatch.setattr("satseg.exported.graph.find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(UsageError, match=r"ONNX files need onnxruntime, which is not installed") as caught:
        Graph.read(path)
    assert caught.value.hint is not None
    assert "pip install 'satseg-cli[export]'" in caught.value.hint


def test_a_graph_takes_another_type_of_pixels(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    nodes = [
        helper.make_node("Cast", ["pixels"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Abs", ["real"], ["o"]),
    ]
    shape = ("n", 1, "h", "w")
    ports = [helper.make_tensor_value_info(n, t, shape) for n, t in (("pixels", 2), ("o", 1))]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", ports[:1], ports[1:]), ir_version=10), path)
    assert Graph.read(path).input.dtype == "uint8"
    changed = onnx.load_from_string(Graph.read(path).taking("float64"))
    assert changed.graph.input[0].type.tensor_type.elem_type == TensorProto.DOUBLE
