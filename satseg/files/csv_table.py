"""Read tables from CSV files as spreadsheets and people write them."""

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
    """A table of texts.

    Args:
        columns: Column names, stripped and in lower case.
        rows: Line number of each row, from 1, and its cells by column, stripped.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]


def read_csv(path: str | Path, wanted: Collection[str]) -> CsvTable:
    """Read a CSV file in UTF-8 or UTF-16, delimited by semicolons, commas or tabs.

    Args:
        path: The file.
        wanted: Columns by which the delimiter is recognised; the table may lack them.

    Raises:
        UsageError: It is not a CSV file in such an encoding, a row has more cells than there are columns, or a wanted
            column occurs twice.
        OSError: It cannot be read.
    """
    text = _decoded(path)
    first, _, rest = text.partition("\n")
    noted = first.strip().lower().startswith("sep=")  # written by spreadsheets
    text = rest if noted else text
    headers = _headers(path, text)
    delimiter = max(headers, key=lambda one: (len(set(wanted).intersection(headers[one])), len(headers[one])))
    columns = headers[delimiter]
    twice = [name for name in wanted if columns.count(name) > 1]
    if twice:
        raise UsageError(f"{path} has several columns named {twice[0]}.", hint="Rename all but one of them.")
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
    """Return the column names by possible delimiter; for quoted names only the right one can be parsed."""
    headers: dict[str, tuple[str, ...]] = {}
    for delimiter in _DELIMITERS:
        try:
            headers[delimiter] = tuple(name.strip().lower() for name in next(_reader(text, delimiter), []))
        except csv.Error as error:
            cause = error
    if not headers:
        raise UsageError(f"Line 1 of {path} is not valid CSV: {cause}.") from cause
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
                    hint=f"Put values that contain {delimiter!r} in double quotes.",
                )
            if any(cell.strip() for cell in row):
                yield line, dict(zip(columns, map(str.strip, row), strict=False))
    except csv.Error as error:
        raise UsageError(f"Line {reader.line_num + skipped} of {path} is not valid CSV: {error}.") from error
