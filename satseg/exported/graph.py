"""What an ONNX file says of itself: what goes in, what comes out, and its metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from satseg.errors import CheckpointError, UsageError, one_line

PACKAGES = ("onnx", "onnxruntime")
EXTRA = "satseg-cli[export]"


@dataclass(frozen=True)
class Port:
    """An array that goes into a graph or comes out of it.

    Args:
        name: Its name.
        dtype: Its type, as numpy spells it; of one that numpy does not have, as ONNX does.
        shape: Sides; None where any will do.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Graph:
    """The graph of an ONNX file with one input and one output.

    Args:
        path: The file.
        input: What goes in.
        output: What comes out.
        metadata: Its ``metadata_props``.
    """

    path: Path
    input: Port
    output: Port
    metadata: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> Graph:
        """Read the graph of a file.

        Raises:
            CheckpointError: It is no ONNX file, or has several inputs or outputs.
            UsageError: A package is missing.
        """
        graph = (model := _load(path)).graph
        weights = {tensor.name for tensor in graph.initializer}  # old files list them among their inputs
        given = _only((value for value in graph.input if value.name not in weights), path, "input")
        return cls(path, given, _only(graph.output, path, "output"), {p.key: p.value for p in model.metadata_props})

    def taking(self, dtype: str) -> bytes:
        """Return the file for pixels of a real type that holds all values of its own, such as float32 for uint8.

        Graphs of satseg first convert their pixels to real numbers: they compute the same with those given at once,
        and values between whole numbers are not rounded.
        """
        import onnx

        model = _load(self.path)
        model.graph.input[0].type.tensor_type.elem_type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        del model.graph.value_info[:]  # notes of the types in between, which are found again
        found: bytes = model.SerializeToString()
        return found


def require_packages() -> None:
    """Refuse ONNX files where what reads and runs them is not installed.

    Raises:
        UsageError: It is not.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        verb = "is" if len(missing) == 1 else "are"
        raise UsageError(
            f"ONNX files need {' and '.join(missing)}, which {verb} not installed.",
            hint=f"Install what runs them: pip install '{EXTRA}'",
        )


def _load(path: Path) -> Any:
    require_packages()
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # of protobuf, whose types differ between versions
        raise CheckpointError(f"{path} is not an ONNX file: {one_line(error)}.") from error
    if not model.graph.node:
        raise CheckpointError(f"{path} is not an ONNX file: it holds no network.")
    return model


def _only(values: Iterable[Any], path: Path, what: str) -> Port:
    listed = list(values)
    if len(listed) != 1:
        raise CheckpointError(
            f"{path} has {len(listed)} {what}s ({', '.join(value.name for value in listed)}); networks that make maps "
            "have one."
        )
    (value,) = listed
    tensor = value.type.tensor_type
    sides = (side.dim_value if side.HasField("dim_value") else None for side in tensor.shape.dim)
    return Port(value.name, _dtype(tensor.elem_type), tuple(side if side and side > 0 else None for side in sides))


def _dtype(number: int) -> str:
    import onnx

    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(number))
    except (KeyError, ValueError, TypeError):
        return str(onnx.TensorProto.DataType.Name(number)).lower()
