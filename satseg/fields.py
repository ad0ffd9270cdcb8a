"""Read JSON that others may have written, entry by entry; errors give the name and the value of the entry."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any

_DEEPEST = 16  # levels of what is only handed on
_SHOWN = 60  # characters of a value in a message
_TYPED = 120


class FieldError(ValueError):
    """An entry is missing or invalid."""


def parse_json(text: str | bytes) -> Any:
    """Read JSON.

    Raises:
        FieldError: It is none, or is nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise FieldError("it is nested too deeply to be read") from None
    except ValueError as error:  # of its syntax, of bytes that are no UTF-8, of numbers with thousands of digits
        raise FieldError(f"it is not valid JSON: {error}") from None


class Fields:
    """The entries of a JSON object.

    Args:
        value: What was read.
        name: What to call it in messages.

    Raises:
        FieldError: It is no object.
    """

    def __init__(self, value: Any, name: str = "") -> None:
        if not isinstance(value, Mapping):
            raise FieldError(f"{name or 'it'} is {shown(value)}, not an object with entries")
        self._entries = value
        self._name = name

    def value(self, name: str) -> Any:
        """Return an entry of any type."""
        if name not in self._entries:
            raise FieldError(f"{self._full(name)} is missing")
        return self._entries[name]

    def entries(self) -> dict[str, Any]:
        """Return all entries, of any type."""
        return dict(self._entries)

    def holds(self, name: str) -> bool:
        """Tell whether an entry exists and is not null."""
        return self._entries.get(name) is not None

    def part(self, name: str) -> Fields:
        """Return an entry that is an object."""
        return Fields(self.value(name), self._full(name))

    def parts(self, name: str) -> list[Fields]:
        """Return an entry that is a list of objects."""
        full = self._full(name)
        return [Fields(entry, f"{full}[{number}]") for number, entry in enumerate(self._list(name))]

    def text(self, name: str, *, longest: int = 10_000) -> str:
        """Return a text that can be printed and written, without NUL and lone surrogates."""
        value = self.value(name)
        if not isinstance(value, str) or not _is_writable(value):
            raise self._wrong(name, value, "a text")
        if len(value) > longest:
            raise self._wrong(name, value, f"a text of {longest} characters at most")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        values = self._list(name)
        if not all(isinstance(value, str) and _is_writable(value) for value in values):
            raise self._wrong(name, values, "a list of texts")
        return tuple(values)

    def choice(self, name: str, among: Collection[str]) -> str:
        """Return one of some texts."""
        value = self.value(name)
        if not isinstance(value, str) or value not in among:
            raise self._wrong(name, value, f"one of {', '.join(among)}")
        return value

    def flag(self, name: str) -> bool:
        """Return an entry that is true or false."""
        value = self.value(name)
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def whole(self, name: str, *, least: int = 0, most: int | None = None) -> int:
        """Return a whole number within limits."""
        value = self.value(name)
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or value < least
            or (most is not None and value > most)
        ):
            limits = f"of {least} or more" if most is None else f"from {least} to {most}"
            raise self._wrong(name, value, f"a whole number {limits}")
        return value

    def number(self, name: str, *, least: float = -math.inf) -> float:
        """Return a finite number."""
        value = self.value(name)
        if not _is_finite(value) or value < least:
            raise self._wrong(name, value, "a finite number" + (f" of {least:g} or more" if least > -math.inf else ""))
        return float(value)

    def numbers(
        self, name: str, count: int, *, least: float = -math.inf, above: float = -math.inf
    ) -> tuple[float, ...]:
        """Return a list of ``count`` finite numbers, each at least ``least`` and larger than ``above``."""
        values = self._list(name)
        if len(values) != count:
            raise self._wrong(name, values, f"{count} numbers")
        if not all(_is_finite(value) and value >= least and value > above for value in values):
            limit = f" of {least:g} or more" if least > -math.inf else f" above {above:g}" if above > -math.inf else ""
            raise self._wrong(name, values, f"finite numbers{limit}")
        return tuple(map(float, values))

    def counts(self, name: str) -> tuple[tuple[int, ...], ...]:
        """Return a square table of counts."""
        rows = self._list(name)
        if not all(isinstance(row, list | tuple) and len(row) == len(rows) for row in rows):
            raise self._wrong(name, rows, "a square table")
        if not all(
            isinstance(count, int) and not isinstance(count, bool) and count >= 0 for row in rows for count in row
        ):
            raise self._wrong(name, rows, "a table of counts")
        return tuple(map(tuple, rows))

    def scores(self, name: str) -> dict[str, float]:
        """Return numbers by name; null becomes NaN."""
        values = self.plain(name)
        for key, value in values.items():
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not (_is_finite(value) or value != value)
            ):
                raise FieldError(f"{self._full(name)}.{key} is {shown(value)}, not a number")
        return {key: float(value) for key, value in values.items()}

    def plain(self, name: str) -> dict[str, Any]:
        """Return an object of any JSON values, unless it is nested too deeply or cannot be printed."""
        value = self.value(name)
        if not isinstance(value, Mapping):
            raise self._wrong(name, value, "an object with entries")
        _check_plain(value, self._full(name), _DEEPEST)
        return dict(value)

    def _list(self, name: str) -> list[Any]:
        value = self.value(name)
        if not isinstance(value, list | tuple):
            raise self._wrong(name, value, "a list")
        return list(value)

    def _full(self, name: str) -> str:
        return f"{self._name}.{name}" if self._name else name

    def _wrong(self, name: str, value: Any, wanted: str) -> FieldError:
        return FieldError(f"{self._full(name)} is {shown(value)}, not {wanted}")


def typed(value: Any) -> str:
    """Return a value for a message without quotes, braces and nulls, cut short."""
    if isinstance(value, Mapping):
        text = ", ".join(f"{name} {typed(entry)}" for name, entry in value.items()) or "none"
    elif isinstance(value, list | tuple):
        text = ", ".join(map(typed, value)) or "none"
    elif isinstance(value, float):
        text = f"{value:g}"
    elif value is None:
        text = "none"
    else:
        text = ("off", "on")[value] if isinstance(value, bool) else str(value)
    return text if len(text) <= _TYPED else f"{text[: _TYPED - 3]}..."


def shown(value: Any) -> str:
    """Return a value for a message: on one line, cut short."""
    try:
        text = "null" if value is None else json.dumps(value)
    except (TypeError, ValueError, RecursionError):  # of no JSON, of numbers with thousands of digits
        text = type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _is_writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _check_plain(value: Any, name: str, depth: int) -> None:
    if depth == 0:
        raise FieldError(f"{name} is nested too deeply")
    if isinstance(value, str) and not _is_writable(value):
        raise FieldError(f"{name} is {shown(value)}, which cannot be printed")
    if isinstance(value, int) and not _is_finite(value) and not isinstance(value, bool):
        raise FieldError(f"{name} is a number too large to be one")
    if isinstance(value, Mapping):
        for key, entry in value.items():
            _check_plain(key, name, depth)
            _check_plain(entry, f"{name}.{key}", depth - 1)
    elif isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            _check_plain(entry, f"{name}[{number}]", depth - 1)
