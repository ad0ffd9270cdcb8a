"""Networks as ONNX files, and how onnxruntime runs them."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from satseg.exporting.deepness import as_fed
from satseg.exporting.program import trace, untraceable
from satseg.exporting.subject import Subject
from satseg.version import __version__

OPSET = 18
"""Version of the operators, for runtimes since 2023."""
INPUT = "pixels"
IR_VERSION = 8
"""Version of the format, the one of these operators: runtimes of 2023 refuse files of a newer one."""
_AXES = ("batch", "height", "width")


def write_onnx(path: Path, subject: Subject) -> None:
    """Write a network as one ONNX file, with its metadata among the ``metadata_props``.

    Raises:
        CheckpointError: The network cannot be built.
        ArchitectureError: It cannot be exported.
    """
    program = trace(subject)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            made: Any = torch.onnx.export(
                program, (), input_names=[INPUT], output_names=[subject.output], opset_version=OPSET, verbose=False
            )
        except Exception as error:
            raise untraceable(subject, error) from error
    _describe(made.model, subject)
    if subject.settings.quantize:
        _save_quantized(path, made, subject)
    else:
        made.save(path, external_data=False)


def _save_quantized(path: Path, made: Any, subject: Subject) -> None:
    import onnx_ir

    from satseg.exporting.int8 import quantize

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        plain, quantized = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        made.save(plain, external_data=False)
        images = map(as_fed, subject.images) if subject.settings.deepness else subject.images
        quantize(plain, quantized, images, INPUT)
        model = onnx_ir.load(quantized)
        _describe(model, subject)
        onnx_ir.save(model, path)


def _describe(model: Any, subject: Subject) -> None:
    """Name axes, add metadata, and drop what the exporter says of this machine's files and modules."""
    import onnx_ir

    batch, height, width = _AXES
    fixed = model.graph.inputs[0].shape[2:]
    sides = [side if isinstance(side, int) else name for side, name in zip(fixed, (height, width), strict=True)]
    classes = [] if subject.settings.argmax else [len(subject.checkpoint.card.classes)]
    model.graph.inputs[0].shape = onnx_ir.Shape([batch, subject.channels, *sides])
    model.graph.outputs[0].shape = onnx_ir.Shape([batch, *classes, *sides])
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "satseg", __version__
    model.metadata_props.clear()
    model.metadata_props.update(subject.metadata(window=sides[0] if isinstance(sides[0], int) else None))


def open_onnx(path: Path, subject: Subject) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs an ONNX file in onnxruntime, on as many threads as torch takes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> np.ndarray:
        pixels = as_fed(images) if subject.settings.deepness else images
        found: np.ndarray = session.run([subject.output], {INPUT: pixels})[0]
        return found

    return run
