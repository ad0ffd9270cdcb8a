"""Class maps, which assign classes to values: ``residential=building,1=water,#ff0000=road,Winter*=crop``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from satseg.classes import BACKGROUND
from satseg.errors import UsageError

IGNORE = "ignore"
"""Class name of pixels that are neither trained on nor scored."""

OTHERS = "*"

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_EXAMPLE = "For example: `class_map='residential=building,1=water'`"
_QUOTED = """For example: `class_map='"Potatoes, early"=potato,Wheat=cereal'`"""
_QUOTES = r'"((?:[^"]|"")*)"'
_BLANKS = r"[^\S\r\n]*"
_END = rf"{_BLANKS}(?=[,\r\n]|$)"
_BEGINS_QUOTED = re.compile(rf"{_QUOTES}([^,\r\n]*)")
_BOTH_QUOTED = re.compile(rf"{_QUOTES}{_BLANKS}={_BLANKS}{_QUOTES}{_END}")
_CLASS_QUOTED = re.compile(rf"([^,\r\n]*?)={_BLANKS}{_QUOTES}{_END}")
_IN_VALUES, _IN_CLASSES = re.compile(r'[,\r\n]|^"|=\s*"'), re.compile(r'[,\r\n=]|^"')  # texts that need quotes
_PLAIN = re.compile(r"[^,\r\n]*")
_BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class ClassMap:
    """Class names by value.

    Args:
        names: Class name by value, or by colour of a raster as ``#rrggbb``. ``*`` within a value matches any
            characters, and alone all other values; the class ``ignore`` means no class.
        keeps_targets: Whether unmapped values that equal the name of a class keep that name, such as those of labels
            where the class map is meant for their map.
        keeps_others: Whether all unmapped values keep their name, such as classes of a map compared with labels.
        colours: Colour by class name, ``#rrggbb``; other classes have those of the labels, or default colours.
    """

    names: Mapping[str, str]
    keeps_targets: bool = False
    keeps_others: bool = False
    colours: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> ClassMap:
        """Parse ``value=class`` pairs separated by commas or newlines.

        A value or a class that contains a comma must be in double quotes; any other may be, also a whole pair. A quote
        inside is doubled. The last ``=`` outside the quotes around a class separates a pair.

        Raises:
            UsageError: A pair is incomplete, a quote is not closed, or a value has two classes.
        """
        return cls.of_pairs(_pairs(text))

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[str, str]], colours: Mapping[str, str] | None = None) -> ClassMap:
        """Build a class map from pairs of value and class.

        Args:
            pairs: Value and class; pairs may repeat.
            colours: Colour by class, ``#rrggbb``.

        Raises:
            UsageError: There is no pair, or a value has two classes.
        """
        names: dict[str, str] = {}
        for value, name in pairs:
            value = value.lower() if _COLOUR.fullmatch(value) else _composed(value)
            if names.setdefault(value, name) != name:
                raise UsageError(f"The value {value!r} has two classes in `class_map`: {names[value]!r} and {name!r}.")
        if not names:
            raise UsageError("`class_map` is empty.", hint=_EXAMPLE)
        return cls(names, colours=colours or {})

    @property
    def text(self) -> str:
        """The pairs as :meth:`parse` reads them."""
        return ",".join(spell_pair(value, name) for value, name in self.names.items())

    @property
    def classes(self) -> list[str]:
        """Class names in order of first occurrence, without ``background`` and ``ignore``."""
        return [name for name in dict.fromkeys(self.names.values()) if name not in (BACKGROUND, IGNORE)]

    @property
    def of_colours(self) -> bool:
        """Whether it maps colours."""
        return any(_COLOUR.fullmatch(value) for value in self.names)

    def names_number(self, number: float) -> bool:
        """Tell whether it maps a value of a raster, other than by ``*``."""
        return number == number // 1 and str(int(number)) in self.names

    def find(self, value: str) -> str | None:
        """Return the class of a value by an exact key, else by the first matching pattern other than ``*`` alone.

        Case-sensitive; None if nothing matches.
        """
        value = _composed(value)
        if value in self.names:
            return self.names[value]
        return next((self.names[key] for key, pattern in self._patterns if pattern.fullmatch(value)), None)

    @cached_property
    def _patterns(self) -> list[tuple[str, re.Pattern[str]]]:
        return [(key, _pattern(key)) for key in self.names if OTHERS in key and key != OTHERS]

    def kept(self, value: str) -> str | None:
        """Return an unmapped value that keeps its name; None for others."""
        return value if self.keeps_others or (self.keeps_targets and value in self.names.values()) else None

    def meets(self, key: str, values: Collection[str]) -> bool:
        """Tell whether a key of this class map matches any of the values."""
        if key in values or key == OTHERS:
            return True
        pattern = _pattern(key)  # without *, it matches only the key itself
        return any(pattern.fullmatch(_composed(value)) for value in values)

    def look_up(self, value: str) -> str | None:
        """Return the class of a value; None if neither a key nor ``*`` matches it."""
        return self.find(value) or self.kept(value) or self.names.get(OTHERS)


def spell_pair(value: str, name: str) -> str:
    """Return a pair as a class map writes it, with quotes where needed."""
    return f"{_quoted(value, _IN_VALUES)}={_quoted(name, _IN_CLASSES)}"


def _quoted(text: str, special: re.Pattern[str]) -> str:
    return '"' + text.replace('"', '""') + '"' if special.search(text) else text


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of value and class in a text.

    Raises:
        UsageError: A pair is incomplete, or a quote is not closed.
    """
    place = 0
    while (place := _after(_BETWEEN, text, place)) < len(text):
        if match := _BOTH_QUOTED.match(text, place) or (text[place] != '"' and _CLASS_QUOTED.match(text, place)):
            quoted = match.re is _BOTH_QUOTED
            yield _complete(match[0], _unquoted(match[1]) if quoted else match[1], _unquoted(match[2]))
        elif match := _BEGINS_QUOTED.match(text, place):
            yield _parted(_unquoted(match[1]) + match[2])
        elif text[place] == '"':
            raise UsageError(f"A quote in `class_map={text!r}` is not closed.", hint=_QUOTED)
        else:
            match = _PLAIN.match(text, place)
            assert match is not None
            yield _parted(match[0])
        place = match.end()


def _after(pattern: re.Pattern[str], text: str, place: int) -> int:
    match = pattern.match(text, place)
    return place if match is None else match.end()


def _unquoted(text: str) -> str:
    return text.replace('""', '"')


def _parted(pair: str) -> tuple[str, str]:
    value, _, name = pair.rpartition("=")
    return _complete(pair, value, name)


def _complete(pair: str, value: str, name: str) -> tuple[str, str]:
    value, name = value.strip(), name.strip()
    if not (value and name):
        raise UsageError(f"{pair.strip()!r} is not a pair value=class.", hint=_EXAMPLE)
    return value, name


def _composed(text: str) -> str:
    """Return text in Unicode normalisation form C."""
    return unicodedata.normalize("NFC", text)


def _pattern(key: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, key.split(OTHERS))), re.DOTALL)


def order_names(names: Iterable[str], *, background_first: bool) -> list[str]:
    """Return distinct class names in order of first occurrence, without ``ignore``."""
    found = [name for name in dict.fromkeys(names) if name != IGNORE]
    if background_first and BACKGROUND in found:
        return [BACKGROUND, *(name for name in found if name != BACKGROUND)]
    return found
