"""Arrow arrays from buffers equal those that pyarrow makes, nulls included."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from satseg.files.arrow import arrow_flags, arrow_numbers, arrow_texts


@pytest.mark.parametrize("kind", [pa.int32(), pa.int64(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_numbers(kind: pa.DataType, count: int) -> None:
    values = np.random.default_rng(count).integers(-1000, 1000, count)
    unknown = values > 500
    dtype = kind.to_pandas_dtype()
    assert arrow_numbers(values, kind).equals(pa.array(values.astype(dtype), kind))
    made = arrow_numbers(values, kind, unknown=unknown)
    made.validate(full=True)
    assert made.equals(pa.array(values.astype(dtype), kind, mask=unknown))


def test_numbers_of_a_column_that_is_not_contiguous() -> None:
    table = np.arange(12.0).reshape(4, 3)
    assert arrow_numbers(table[:, 1], pa.float64()).to_pylist() == [1, 4, 7, 10]


@pytest.mark.parametrize("count", [0, 1, 8, 13])
def test_flags(count: int) -> None:
    values = np.random.default_rng(count).random(count) > 0.5
    assert arrow_flags(values).equals(pa.array(values))


def test_texts() -> None:
    texts = ["", "roof", "Dächer", "屋根"]
    assert arrow_texts(texts).equals(pa.array(texts))
    assert arrow_texts([]).equals(pa.array([], pa.string()))
