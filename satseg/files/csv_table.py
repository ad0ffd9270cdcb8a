"""Tables in CSV files as people and spreadsheets write them."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from satseg.errors import UsageError

_DELIMITERS = ";,\t"
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True)
class CsvTable:
    """A table, all of it as text.

    Args:
        columns: Names of the columns, without blanks around them and in lower case.
        rows: Number of the line of each row, from 1, and its cells by column, without blanks around them.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]


def read_csv(path: str | Path, wanted: Collection[str]) -> CsvTable:
    """Read a CSV file in UTF-8 or UTF-16, with semicolons, commas or tabs between its cells.

    Args:
        path: The file.
        wanted: Columns that show what stands between the cells. The table may lack them all the same.

    Raises:
        UsageError: It is no CSV file in such an encoding, a row has more cells than there are columns, or one of those
            wanted is there twice.
        OSError: It cannot be read.
    """
    text = _decoded(path)
    first, _, rest = text.partition("\n")
    noted = first.strip().lower().startswith("sep=")  # by spreadsheets, for themselves
    text = rest if noted else text
    headers = _headers(path, text)
    delimiter = max(headers, key=lambda one: (len(set(wanted).intersection(headers[one])), len(headers[one])))
    columns = headers[delimiter]
    twice = [name for name in wanted if columns.count(name) > 1]
    if twice:
        raise UsageError(f"{path} has several columns {twice[0]}.", hint="Rename all but one of them.")
    return CsvTable(columns, tuple(_rows(path, text, columns, delimiter, int(noted))))


def _decoded(path: str | Path) -> str:
    data = Path(path).read_bytes()
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not in UTF-8.", hint="Save it as CSV in UTF-8.") from error


def _reader(text: str, delimiter: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)


def _headers(path: str | Path, text: str) -> dict[str, tuple[str, ...]]:
    """Return the names of the columns by what may stand between them: quoted names bear no other than the right one."""
    headers: dict[str, tuple[str, ...]] = {}
    for delimiter in _DELIMITERS:
        try:
            headers[delimiter] = tuple(name.strip().lower() for name in next(_reader(text, delimiter), []))
        except csv.Error as error:
            cause = error
    if not headers:
        raise UsageError(f"Line 1 of {path} is no CSV: {cause}.") from cause
    return headers


def _rows(
    path: str | Path, text: str, columns: tuple[str, ...], delimiter: str, skipped: int
) -> Iterator[tuple[int, dict[str, str]]]:
    reader = _reader(text, delimiter)
    try:
        next(reader, None)
        for row in reader:
            line = reader.line_num + skipped
            if any(cell.strip() for cell in row[len(columns) :]):
                raise UsageError(
                    f"Line {line} of {path} has {len(row)} cells, but there are {len(columns)} columns.",
                    hint=f"Put a value that holds {delimiter!r} in double quotes.",
                )
            if any(cell.strip() for cell in row):
                yield line, dict(zip(columns, map(str.strip, row), strict=False))
    except csv.Error as error:
        raise UsageError(f"Line {reader.line_num + skipped} of {path} is no CSV: {error}.") from error
