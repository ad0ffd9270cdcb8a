"""ONNX files of other programs, built by hand: what the first band is, from 0 to 1, tells the class."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LIMITS = (0.3, 0.6)
"""Values of the first band at which the next class begins."""

DEEPNESS: Mapping[str, Any] = {
    "model_type": "Segmentor",
    "class_names": [{0: "water", 1: "wood", 2: "roofs"}],
    "resolution": 50,
    "tile_size": 64,
}
"""Metadata of a file with three classes, for pixels of half a metre."""

_SLOPE = 50.0  # of the scores
_NODES = {
    "softmax": [("Softmax", {"axis": 1})],
    "sigmoid": [("Sigmoid", {})],
    "argmax": [("ArgMax", {"axis": 1, "keepdims": 0})],
    "scores": [],
}


def write_onnx(
    path: Path,
    ending: str = "softmax",
    *,
    metadata: Mapping[str, Any] = DEEPNESS,
    shape: Sequence[int | str] = ("batch", 3, "height", "width"),
    lines: Sequence[tuple[float, float]] | None = None,
    dtype: int = TensorProto.FLOAT,
) -> Path:
    """Write a network of one convolution of 1 x 1 px.

    Args:
        path: File to write.
        ending: What follows the convolution: softmax, sigmoid, argmax, or scores for nothing.
        metadata: What stands beside it; text stays as it is, all else becomes JSON.
        shape: Of its input; names for sides that are free.
        lines: Slope and height at 0 of the score of each class over the first band; None tells three classes apart.
        dtype: Type of its input.
    """
    lines = lines or ((0.0, 0.0), (1.0, -LIMITS[0]), (2.0, -sum(LIMITS)))
    weights = np.zeros((len(lines), int(shape[1]), 1, 1), np.float32)
    weights[:, 0, 0, 0] = [_SLOPE * slope for slope, _ in lines]
    heights = np.array([_SLOPE * height for _, height in lines], np.float32)
    names = ["images", "scores", *(f"{ending}{i}" for i in range(len(_NODES[ending])))]
    nodes = [helper.make_node("Conv", ["images", "weights", "heights"], ["scores"])]
    nodes += [
        helper.make_node(kind, [before], [after], **options)
        for (kind, options), (before, after) in zip(_NODES[ending], pairwise(names[1:]), strict=True)
    ]
    classes = ending == "argmax"
    given = [shape[0], *([] if classes else [len(lines)]), *shape[2:]]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", dtype, shape)],
        [helper.make_tensor_value_info(names[-1], TensorProto.INT64 if classes else TensorProto.FLOAT, given)],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(heights, "heights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value if isinstance(value, str) else json.dumps(value))
    onnx.save(model, path)
    return path
