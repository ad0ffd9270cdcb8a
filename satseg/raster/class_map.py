"""Which value of the labels is of which class: ``residential=building,1=water,#ff0000=road,Winter*=crop``."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
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
_WHOLE_PAIR = """Quotes stand around a value or a whole pair: --class-map '"1=Potatoes, early",2=cereal'"""
_END = "end of class map"


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

        As in CSV, a pair or a value that holds a comma stands in double quotes, and a quote within is doubled. The
        last ``=`` of a pair parts it.

        Raises:
            UsageError: A pair is incomplete, a quote is not closed, or a value stands twice.
        """
        try:
            *rows, end = csv.reader(io.StringIO(f"{text}\n{_END}\n", newline=""), skipinitialspace=True)
        except csv.Error as error:
            raise UsageError(f"--class-map cannot be read: {error}.", hint=_EXAMPLE) from error
        if end != [_END]:
            raise UsageError(f"A quote in --class-map {text!r} is not closed.", hint=_QUOTED)
        return cls.of_pairs(_parted(pair.strip()) for row in rows for pair in row if pair.strip())

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
    """Return a value and its class as a class map holds them: in quotes where it must be so."""
    pair = f"{value}={name}"
    return '"' + pair.replace('"', '""') + '"' if re.search(r'[,\r\n]|^"', pair) else pair


def _parted(pair: str) -> tuple[str, str]:
    value, equals, name = (part.strip() for part in pair.rpartition("="))
    if not (value and equals and name):
        hint = _WHOLE_PAIR if '"' in pair else _EXAMPLE  # a quote that did not open the pair
        raise UsageError(f"{pair!r} does not say which value is of which class.", hint=hint)
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
