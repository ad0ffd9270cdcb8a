"""Read class maps from text, CSV files and dictionaries."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from satseg.errors import UsageError
from satseg.files.csv_table import read_csv
from satseg.labels.class_map import ClassMap

ClassMapSource = str | Path | ClassMap | Mapping[str, str] | Mapping[int, str] | Iterable[str | Path]
"""Text, a CSV file, a dictionary of classes by value, several of the first two, or a class map."""

_COLUMNS = ("value", "class")
_EXAMPLE = "The first line names the columns value, class and, optionally, colour; each value has a line."


def read_class_map(given: ClassMapSource | None) -> ClassMap | None:
    """Read a class map, which assigns classes to values.

    Args:
        given: Text as :meth:`ClassMap.parse` reads it; a CSV file with the columns value, class and, optionally,
            colour; a dictionary of classes by value. Several texts and files are merged. Text without ``=`` is the name
            of a file.

    Returns:
        The class map; None for None.

    Raises:
        UsageError: A file cannot be read, or a value has two classes.
    """
    if given is None or isinstance(given, ClassMap):
        return given
    if isinstance(given, Mapping):
        return ClassMap.of_pairs(_pair(value, name) for value, name in given.items())
    parts = [_read_file(part) if _is_file(part) else ClassMap.parse(str(part)) for part in _listed(given)]
    colours: dict[str, str] = {}
    for part in parts:
        for name, colour in part.colours.items():
            _add_colour(colours, name, colour, "`class_map`")
    return ClassMap.of_pairs((pair for part in parts for pair in part.names.items()), colours)


def class_map_files(given: ClassMapSource | None) -> list[str]:
    """Return the files from which a class map is read."""
    if not given or isinstance(given, ClassMap | Mapping):
        return []
    return [str(part) for part in _listed(given) if _is_file(part)]


def _listed(given: str | Path | Iterable[str | Path]) -> list[str | Path]:
    return [given] if isinstance(given, str | Path) else list(given)


def _is_file(part: str | Path) -> bool:
    if isinstance(part, Path) or (part.strip() and "=" not in part):
        return True
    return part.lower().endswith(".csv") and os.path.isfile(part)


def _pair(value: object, name: object) -> tuple[str, str]:
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    if not isinstance(name, str) or not name.strip() or not str(value).strip():
        raise UsageError(
            f"The class map assigns {name!r} to the value {value!r}, which is not a class name.",
            hint='Keys are values: {0: "background", 255: "building"}',
        )
    return str(value).strip(), name.strip()


def _read_file(path: str | Path) -> ClassMap:
    """Read a CSV file with the columns value, class and, optionally, colour."""
    try:
        table = read_csv(path, _COLUMNS)
    except OSError as error:
        cause = "it does not exist" if isinstance(error, FileNotFoundError) else error.strerror
        if str(path) == "-":
            raise UsageError(
                "`class_map='-'` works only with `satseg.info`, which writes a class map to edit.",
                hint="Write one with `satseg.info` and `class_map='-'`, edit it, and use `class_map='classes.csv'`.",
            ) from error
        raise UsageError(
            f"`class_map={str(path)!r}` is neither value=class nor a readable file: {cause}.",
            hint="For example: `class_map='residential=building,1=water'`, or `class_map='classes.csv'`",
        ) from error
    colours: dict[str, str] = {}
    pairs = []
    if not {"value", "class"}.issubset(table.columns):
        raise UsageError(f"The class map {path} lacks the columns value and class.", hint=_EXAMPLE)
    for line, cells in table.rows:
        value, name = (cells.get(column, "") for column in _COLUMNS)
        colour = cells.get("colour") or cells.get("color", "")
        if not (value and name):
            raise UsageError(f"Line {line} of {path} has no {f'class for {value!r}' if value else 'value'}.")
        if colour:
            _add_colour(colours, name, colour, f"line {line} of {path}")
        pairs.append((value, name))
    if not pairs:
        raise UsageError(f"The class map {path} is empty.", hint=_EXAMPLE)
    return ClassMap.of_pairs(pairs, colours)


def _add_colour(colours: dict[str, str], name: str, colour: str, where: str) -> None:
    if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise UsageError(f"The colour of the class {name!r} in {where} is {colour!r}, not #rrggbb.")
    if colours.setdefault(name, colour.lower()) != colour.lower():
        raise UsageError(f"The class {name!r} has two colours in {where}: {colours[name]} and {colour}.")
