"""Which value of the labels is of which class: ``residential=building,1=water,#ff0000=road,Winter*=crop``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from satseg.classes import BACKGROUND
from satseg.errors import UsageError

IGNORE = "ignore"
"""Class name of what is known to be neither taught nor scored."""

OTHERS = "*"

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_EXAMPLE = "For example: --class-map residential=building,1=water"
_QUOTED = """For example: --class-map '"Potatoes, early"=potato,Wheat=cereal'"""
_QUOTES = r'"((?:[^"]|"")*)"'
_BLANKS = r"[^\S\r\n]*"
_END = rf"{_BLANKS}(?=[,\r\n]|$)"
_BEGINS_QUOTED = re.compile(rf"{_QUOTES}([^,\r\n]*)")
_BOTH_QUOTED = re.compile(rf"{_QUOTES}{_BLANKS}={_BLANKS}{_QUOTES}{_END}")
_CLASS_QUOTED = re.compile(rf"([^,\r\n]*?)={_BLANKS}{_QUOTES}{_END}")
_IN_VALUES, _IN_CLASSES = re.compile(r'[,\r\n]|^"|=\s*"'), re.compile(r'[,\r\n=]|^"')  # what makes quotes needed
_PLAIN = re.compile(r"[^,\r\n]*")
_BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class ClassMap:
    """Class names by value.

    Args:
        names: Class name of each value, or of each colour of a raster as ``#rrggbb``. ``*`` within a value stands for
            any characters, and alone for all other values; the class ``ignore`` for no class.
        keeps_targets: Whether values that are called like one of the classes stay as they are, as those of labels do
            where it is their map whose values are named.
        keeps_others: Whether all values that are not named stay as they are, as classes of a map do beside its labels.
        colours: Colour of classes, ``#rrggbb``, by class name; others have that of the labels, or one of their own.
    """

    names: Mapping[str, str]
    keeps_targets: bool = False
    keeps_others: bool = False
    colours: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> ClassMap:
        """Read ``value=class`` pairs with commas or line ends between them.

        A value or a class that holds a comma stands in double quotes, as may any other, or both with their ``=``; a
        quote within is doubled. The last ``=`` outside of quotes around a class parts a pair.

        Raises:
            UsageError: A pair is incomplete, a quote is not closed, or a value stands twice.
        """
        return cls.of_pairs(_pairs(text))

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[str, str]], colours: Mapping[str, str] | None = None) -> ClassMap:
        """Make a class map of values and their classes.

        Args:
            pairs: Value and class of each; a pair may come again.
            colours: Colour of classes, ``#rrggbb``.

        Raises:
            UsageError: There is none, or a value has two classes.
        """
        names: dict[str, str] = {}
        for value, name in pairs:
            value = value.lower() if _COLOUR.fullmatch(value) else _composed(value)
            if names.setdefault(value, name) != name:
                raise UsageError(
                    f"The value {value!r} stands twice in --class-map: as {names[value]!r} and as {name!r}."
                )
        if not names:
            raise UsageError("--class-map names no class.", hint=_EXAMPLE)
        return cls(names, colours=colours or {})

    @property
    def text(self) -> str:
        """The pairs as :meth:`parse` reads them."""
        return ",".join(spell_pair(value, name) for value, name in self.names.items())

    @property
    def classes(self) -> list[str]:
        """Class names in the order they first stand here; ``background`` and ``ignore`` are not among them."""
        return [name for name in dict.fromkeys(self.names.values()) if name not in (BACKGROUND, IGNORE)]

    @property
    def of_colours(self) -> bool:
        """Whether it speaks of colours."""
        return any(_COLOUR.fullmatch(value) for value in self.names)

    def names_number(self, number: float) -> bool:
        """Tell whether it names a value of a raster, other than by ``*``."""
        return number == number // 1 and str(int(number)) in self.names

    def find(self, value: str) -> str | None:
        """Return the class of a value, other than by ``*`` alone: that of the value itself, else of the first pattern.

        Upper and lower case are told apart; None where nothing names it.
        """
        value = _composed(value)
        if value in self.names:
            return self.names[value]
        return next((self.names[key] for key, pattern in self._patterns if pattern.fullmatch(value)), None)

    @cached_property
    def _patterns(self) -> list[tuple[str, re.Pattern[str]]]:
        return [(key, _pattern(key)) for key in self.names if OTHERS in key and key != OTHERS]

    def kept(self, value: str) -> str | None:
        """Return a value that stays as it is though it is not named; None for others."""
        return value if self.keeps_others or (self.keeps_targets and value in self.names.values()) else None

    def meets(self, key: str, values: Collection[str]) -> bool:
        """Tell whether any of the values is one that a key of this class map speaks of."""
        if key in values or key == OTHERS:
            return True
        pattern = _pattern(key)  # matches nothing but the key itself where no * is in it
        return any(pattern.fullmatch(_composed(value)) for value in values)

    def look_up(self, value: str) -> str | None:
        """Return the class of a value; None where it is not named, and ``*`` neither: no class is guessed."""
        return self.find(value) or self.kept(value) or self.names.get(OTHERS)


def spell_pair(value: str, name: str) -> str:
    """Return a value and its class as a class map holds them: each in quotes where it must be so."""
    return f"{_quoted(value, _IN_VALUES)}={_quoted(name, _IN_CLASSES)}"


def _quoted(text: str, special: re.Pattern[str]) -> str:
    return '"' + text.replace('"', '""') + '"' if special.search(text) else text


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield the values of a class map and their classes.

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
            raise UsageError(f"A quote in --class-map {text!r} is not closed.", hint=_QUOTED)
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
        raise UsageError(f"{pair.strip()!r} does not say which value is of which class.", hint=_EXAMPLE)
    return value, name


def _composed(text: str) -> str:
    """Return text in the one of several spellings in Unicode that look alike, such as one character for å, not two."""
    return unicodedata.normalize("NFC", text)


def _pattern(key: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, key.split(OTHERS))), re.DOTALL)


def order_names(names: Iterable[str], *, background_first: bool) -> list[str]:
    """Return class names in the order in which they first come, each once and without ``ignore``."""
    found = [name for name in dict.fromkeys(names) if name != IGNORE]
    if background_first and BACKGROUND in found:
        return [BACKGROUND, *(name for name in found if name != BACKGROUND)]
    return found
