"""Tensors of an ONNX file, read without the package onnx: the graph beside them is not looked at.

The file is a message of protocol buffers, whose encoding is a row of fields: a number and a type in one integer, then
the value, which for messages, texts and bytes follows its length (protobuf.dev/programming-guides/encoding). Tensors
are messages in the graph, which is a message in the model (onnx/onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_GRAPH = 7  # of ModelProto
_INITIALIZER = 5  # of GraphProto
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9  # of TensorProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DTYPES = {1: "<f4", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}  # of TensorProto.DataType

_Value = int | memoryview


def read_onnx_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read the initial values of an ONNX model, by name; nothing in the file is run.

    Args:
        path: A ``.onnx`` file that holds its tensors itself, as raw little-endian bytes.

    Raises:
        ValueError: It is none, or has tensors of other types or in other places.
        OSError: It cannot be read.
    """
    content = memoryview(Path(path).read_bytes())
    found = [_tensor(message) for graph in _all(content, _GRAPH) for message in _all(graph, _INITIALIZER)]
    tensors = dict(found)
    if not tensors or len(tensors) < len(found):
        raise ValueError("It holds no tensors, or several of one name.")
    return tensors


def _tensor(message: memoryview) -> tuple[str, Tensor]:
    """Return the name and the values of a tensor."""
    fields = list(_fields(message))
    shape = [size for number, value in fields if number == _DIMS for size in _integers(value)]
    single = dict(fields)
    dtype, name, raw = (single.get(number) for number in (_DATA_TYPE, _NAME, _RAW_DATA))
    if dtype not in _DTYPES or not isinstance(name, memoryview) or not isinstance(raw, memoryview):
        raise ValueError("It holds a tensor of another type, or whose values are elsewhere.")
    values = np.frombuffer(raw, _DTYPES[dtype]).reshape(shape)  # refuses another number of bytes
    return bytes(name).decode(), torch.from_numpy(values.copy())


def _integers(value: _Value) -> Iterator[int]:
    """Yield one integer, or those that are packed into bytes."""
    if isinstance(value, int):
        yield value
        return
    place = 0
    while place < len(value):
        number, place = _varint(value, place)
        yield number


def _all(message: memoryview, number: int) -> Iterator[memoryview]:
    """Yield the messages in a field that may be repeated."""
    return (value for found, value in _fields(message) if found == number and isinstance(value, memoryview))


def _fields(message: memoryview) -> Iterator[tuple[int, _Value]]:
    """Yield number and value of each field of a message, those of fixed size as bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        if key & 7 == _VARINT:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(key & 7)
        if key & 7 == _BYTES:
            size, place = _varint(message, place)
        if size is None or place + size > len(message):
            raise ValueError("It is no message of protocol buffers, or is cut off.")
        yield key >> 3, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Return an integer and the place behind it: seven bits per byte, lowest first, the eighth if more follow."""
    value = 0
    for shift, byte in enumerate(message[place : place + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, place + shift + 1
    raise ValueError("It is no message of protocol buffers, or is cut off.")
