"""Networks in 8-bit integers: static quantisation by onnxruntime, with ranges measured on images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

IMAGES = 64
"""Most images that ranges are measured on."""

_IN_FLOAT = ("LayerNormalization", "InstanceNormalization")  # quantised, they lose as much and are no faster


def quantize(source: Path, target: Path, images: Iterable[np.ndarray], name: str) -> None:
    """Write an ONNX file whose layers compute in int8; what goes in and comes out stays as it is.

    Args:
        source: ONNX file in float32.
        target: File to write.
        images: Batches (N, C, H, W) as the file takes them, read one at a time: of each, the extremes of every layer
            are kept.
        name: Name of the input.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
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
            op_types_to_quantize=[kind for kind in _kinds(prepared) if kind not in _IN_FLOAT],
            calibrate_method=CalibrationMethod.MinMax,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,  # else the widest channel of a layer decides on the steps of all: loses 0.02 of mean IoU
            reduce_range=True,  # 7 bits: sums then fit into the 16 bits in which processors without VNNI add them up
        )


def _kinds(path: Path) -> list[str]:
    """Return the kinds of nodes in a file, sorted."""
    import onnx

    return sorted({node.op_type for node in onnx.load(path).graph.node})


class _Reader:
    """Hand images to onnxruntime, which asks for one after the other."""

    def __init__(self, images: Iterable[np.ndarray], name: str) -> None:
        self._images: Iterator[np.ndarray] = iter(images)
        self._name = name

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next inputs, None after the last ones."""
        images = next(self._images, None)
        return None if images is None else {self._name: images}
