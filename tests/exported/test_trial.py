from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from onnx_files import DEEPNESS, write_onnx

from satseg.errors import CheckpointError
from satseg.exported.deepness import card_of, window_of
from satseg.exported.graph import Graph
from satseg.exported.model import Gives
from satseg.exported.sessions import Sessions
from satseg.exported.trial import what_comes_out

TWO = {**DEEPNESS, "class_names": {0: "background", 1: "roofs"}}


def gives(path: Path) -> Gives:
    graph = Graph.read(path)
    return what_comes_out(graph, Sessions(graph), card_of(graph), window_of(graph))


@pytest.mark.parametrize(
    ("ending", "options", "expected"),
    [
        ("softmax", {}, Gives.PROBABILITIES),
        ("scores", {}, Gives.SCORES),
        ("sigmoid", {"lines": [(1.0, -0.5)], "metadata": TWO}, Gives.PROBABILITY),
        ("scores", {"lines": [(1.0, -0.5)], "metadata": TWO}, Gives.SCORE),
        ("argmax", {}, Gives.CLASSES),
        ("softmax", {"shape": (1, 3, 64, 64)}, Gives.PROBABILITIES),
    ],
)
def test_values_tell_what_they_are(ending: str, options: dict[str, Any], expected: Gives, tmp_path: Path) -> None:
    assert gives(write_onnx(tmp_path / "net.onnx", ending, **options)) is expected


def test_what_is_no_map_is_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(write_onnx(tmp_path / "net.onnx"))
    model.graph.node.append(helper.make_node("GlobalAveragePool", ["softmax0"], ["means"]))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("means", TensorProto.FLOAT, ("n", 3, 1, 1)))
    onnx.save(model, tmp_path / "means.onnx")
    with pytest.raises(CheckpointError, match=r"means\.onnx gives \(2, 3, 1, 1\) for images \(2, 3, 64, 64\)"):
        gives(tmp_path / "means.onnx")
