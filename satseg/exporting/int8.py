"""Networks in 8-bit integers: static quantisation by onnxruntime, with ranges measured on images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

IMAGES = 64
"""Most images that ranges are measured on."""

_IN_FLOAT = {"BatchNormalization", "InstanceNormalization", "LayerNormalization"}  # there are no int8 kernels of them
_LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def quantize(source: Path, target: Path, images: Iterable[np.ndarray], name: str) -> None:
    """Write an ONNX file whose layers compute in int8; what goes in and comes out stays as it is.

    The last layer and what follows stay in float32, so that probabilities do not come in steps.

    Args:
        source: ONNX file in float32.
        target: File to write.
        images: Batches (N, C, H, W) as the file takes them, read one at a time: of each, the extremes of every layer
            are kept.
        name: Name of the input.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        prepared = Path(folder) / "prepared.onnx"
        # Norms become part of the convolutions before them. Sizes of images are open: nothing is known of them.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            _Reader(images, name),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted({*QDQRegistry, *QLinearOpsRegistry} - _IN_FLOAT),
            nodes_to_exclude=_last_nodes(prepared),
            calibrate_method=CalibrationMethod.MinMax,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,  # else the widest channel of a layer decides on the steps of all: loses 0.02 of mean IoU
            reduce_range=True,  # 7 bits: sums then fit into the 16 bits in which processors without VNNI add them up
        )


def _last_nodes(path: Path) -> list[str]:
    """Return the names of the nodes between the last layers of a network, which are among them, and its output."""
    import onnx

    graph = onnx.load(path).graph
    makers = {value: node for node in graph.node for value in node.output}
    found: dict[str, None] = {}  # in order
    values = [entry.name for entry in graph.output]
    while values:
        node = makers.get(values.pop())
        if node is None or node.name in found:
            continue
        found[node.name] = None
        if node.op_type not in _LAYERS:
            values += node.input
    return list(found)


class _Reader:
    """Hand images to onnxruntime, which asks for one after the other."""

    def __init__(self, images: Iterable[np.ndarray], name: str) -> None:
        self._images: Iterator[np.ndarray] = iter(images)
        self._name = name

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next inputs, None after the last ones."""
        images = next(self._images, None)
        return None if images is None else {self._name: images}
