"""Which value of the labels is of which class: ``residential=building,1=water,#ff0000=road,*=background``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from satseg.classes import BACKGROUND
from satseg.errors import LabelError, UsageError

IGNORE = "ignore"
"""Class name of what is known to be neither taught nor scored."""

OTHERS = "*"

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_EXAMPLE = "For example: --class-map residential=building,1=water"


@dataclass(frozen=True)
class ClassMap:
    """Class names by value.

    Args:
        names: Class name of each value, or of each colour of a raster as ``#rrggbb``; ``*`` stands for all other
            values, the class ``ignore`` for no class.
        keeps_targets: Whether values that are called like one of the classes stay as they are, as those of labels do
            where it is their map whose values are named.
        keeps_others: Whether all values that are not named stay as they are, as classes of a map do beside its labels.
    """

    names: Mapping[str, str]
    keeps_targets: bool = False
    keeps_others: bool = False

    @classmethod
    def parse(cls, text: str) -> ClassMap:
        """Read ``value=class`` pairs with commas between them.

        Raises:
            UsageError: A pair is incomplete, or a value stands twice.
        """
        names: dict[str, str] = {}
        for pair in filter(None, (part.strip() for part in text.split(","))):
            value, equals, name = (part.strip() for part in pair.rpartition("="))
            if not (value and equals and name):
                raise UsageError(
                    f"{pair!r} does not say which value is of which class.",
                    hint=_EXAMPLE,
                )
            value = value.lower() if _COLOUR.fullmatch(value) else value
            if value in names:
                raise UsageError(f"The value {value!r} stands twice in --class-map.")
            names[value] = name
        if not names:
            raise UsageError("--class-map names no class.", hint=_EXAMPLE)
        return cls(names)

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

    def kept(self, value: str) -> str | None:
        """Return a value that stays as it is though it is not named; None for others."""
        return value if self.keeps_others or (self.keeps_targets and value in self.names.values()) else None

    def look_up(self, value: str, path: str) -> str:
        """Return the class of a value.

        Args:
            value: Value as text.
            path: Where it was found.

        Raises:
            LabelError: It is not named, and ``*`` neither: no class is guessed.
        """
        name = self.names.get(value) or self.kept(value) or self.names.get(OTHERS)
        if name is None:
            raise LabelError(
                f"{path} holds the value {value!r}, which --class-map does not name.",
                hint=f"Add {value}={IGNORE}, {value}={BACKGROUND}, or *={IGNORE} for all that is not named.",
            )
        return name


def order_names(names: Iterable[str], *, background_first: bool) -> list[str]:
    """Return class names in the order in which they first come, each once and without ``ignore``."""
    found = [name for name in dict.fromkeys(names) if name != IGNORE]
    if background_first and BACKGROUND in found:
        return [BACKGROUND, *(name for name in found if name != BACKGROUND)]
    return found
