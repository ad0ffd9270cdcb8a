"""Results of the library's functions: records with a one-line text, an HTML table, and a form for JSON."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

from satseg.errors import printable

_LINE = 100  # characters of a record in one line
_ROWS = 40  # rows of a table, and entries of a list
_COLUMNS = 12


class Size(NamedTuple):
    """Rows and columns, in the order of array shapes; texts and JSON name width and height.

    Args:
        height: Rows.
        width: Columns.
    """

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.width:,} x {self.height:,}"


class Result:
    """Base class of results: frozen dataclasses, which can be pickled and compared."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, the very ones that the command line prints as such."""
        found: dict[str, Any] = as_json(self)
        return found

    def __repr__(self) -> str:
        """Return the fields on one line, abbreviated; :meth:`to_dict` returns all of them."""
        parts: list[str] = []
        for name, value in _told(self):
            part = f"{name}={_brief(value)}"
            if not parts or len(", ".join([*parts, part])) < _LINE:
                parts.append(part)
        more = ["..."] if len(parts) < len(fields(cast(Any, self))) else []
        return f"{type(self).__name__}({', '.join([*parts, *more])})"

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        return f"<div><b>{type(self).__name__}</b>{_table_of(self)}</div>"


def as_json(value: Any) -> Any:
    """Convert records, tuples, arrays and paths to types that ``json`` can write; NaN and infinity become null.

    Names of files that are no UTF-8 are spelt out, see :func:`~satseg.errors.printable`.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Size):
        return {"width": value.width, "height": value.height}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if type(value).__module__ == "numpy":  # which nobody who returns none of its values should have to import
        return as_json(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path | str):
        return printable(str(value))
    if isinstance(value, Iterable) and not isinstance(value, str):  # an affine transform is neither list nor tuple
        return [as_json(item) for item in value]
    return value


def _told(record: Any) -> Iterable[tuple[str, Any]]:
    """Yield names and values of the fields that are not empty."""
    for entry in fields(record):
        value = getattr(record, entry.name)
        empty = isinstance(value, Mapping | list | tuple) and not value
        if not (value is None or empty or (isinstance(value, float) and math.isnan(value))):
            yield entry.name, value


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str | Path):
        return repr(printable(str(value)))
    if is_dataclass(value):
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        return f"{{{_first(f'{key!r}: {_brief(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{_first(map(_brief, value))}]"
    return repr(value)


def _first(entries: Iterable[str]) -> str:
    """Return the first entries, as many as fit on half a line."""
    text = ""
    for entry in entries:
        if text and len(text) + len(entry) > _LINE / 2:
            return f"{text}, ..."
        text += f", {entry}" if text else entry
    return text


def _cell(value: Any) -> str:
    """Return a value as HTML."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "&ndash;"
    if is_dataclass(value):
        return _table_of(value)
    if isinstance(value, Mapping):
        return _table([(html.escape(printable(str(key))), _cell(item)) for key, item in value.items()])
    if isinstance(value, list | tuple):
        return _cells(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return html.escape(printable(str(value)))


def _cells(values: list[Any] | tuple[Any, ...]) -> str:
    if values and all(map(is_dataclass, values)):
        told = {name for value in values for name, _ in _told(value)}
        names = [entry.name for entry in fields(values[0]) if entry.name in told][:_COLUMNS]
        return _table([[_cell(getattr(value, name)) for name in names] for value in values], names)
    if values and all(isinstance(value, list | tuple) for value in values):
        if max(len(value) for value in values) > _COLUMNS:
            return f"{len(values)} lists"
        return _table([[_cell(item) for item in value] for value in values])
    shown = ", ".join(map(_cell, values[:_ROWS]))
    return shown if len(values) <= _ROWS else f"{shown} and {len(values) - _ROWS:,} more"


def _table_of(record: Any) -> str:
    return _table([(html.escape(name), _cell(value)) for name, value in _told(record)])


def _table(rows: Iterable[Iterable[str]], names: Iterable[str] = ()) -> str:
    """Return rows of HTML as a table."""
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    more = f"<tr><td>and {len(lines) - _ROWS:,} more</td></tr>" if len(lines) > _ROWS else ""
    body = "".join(f"<tr>{line}</tr>" for line in lines[:_ROWS])
    return f"<table>{f'<tr>{head}</tr>' if head else ''}{body}{more}</table>"
