"""Parquet tables, read without the threads of Arrow.

Those threads let go of Python's file objects when they please. If the process ends meanwhile, it aborts or never ends
(apache/arrow issues 34314 and 50482).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns.

    Args:
        path: File, by exactly its name; pyarrow alone might take it for a URI or a pattern.
        columns: Names of the columns; None reads all.

    Raises:
        OSError: The file cannot be read.
        pyarrow.ArrowException: It is no Parquet file, or damaged, or lacks one of the columns.
    """
    with path.open("rb") as file, pq.ParquetFile(file, pre_buffer=False) as table:
        return table.read(columns, use_threads=False)
