"""Arrow arrays made directly of their buffers: ``pyarrow.array`` loads pandas, to find out whether it is given any."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa


def arrow_numbers(values: np.ndarray, kind: pa.DataType, *, unknown: np.ndarray | None = None) -> pa.Array:
    """Return numbers as an Arrow array.

    Args:
        values: (N,), converted to the type.
        kind: A type of numbers whose size is whole bytes.
        unknown: (N,) bool, the values that become null; None if all are known.
    """
    data = pa.py_buffer(np.ascontiguousarray(values, dtype=kind.to_pandas_dtype()))
    known = None if unknown is None or not unknown.any() else _bits(~unknown)
    return pa.Array.from_buffers(kind, len(values), [known, data])


def arrow_flags(values: np.ndarray) -> pa.BooleanArray:
    """Return (N,) bool as an Arrow array."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def arrow_texts(texts: Iterable[str]) -> pa.StringArray:
    """Return texts as an Arrow array."""
    builder = pa.lib.StringBuilder()
    builder.append_values(list(texts))
    return builder.finish()


def _bits(values: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values.astype(bool), bitorder="little"))
