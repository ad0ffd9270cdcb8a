"""Which value of the labels is of which class: ``residential=building,1=water,*=background``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from satseg.classes import BACKGROUND
from satseg.errors import LabelError, UsageError

IGNORE = "ignore"
"""Class name of what is known to be neither taught nor scored."""

OTHERS = "*"

_EXAMPLE = "For example: --class-map residential=building,1=water"


@dataclass(frozen=True)
class ClassMap:
    """Class names by value.

    Args:
        names: Class name of each value; ``*`` stands for all other values, the class ``ignore`` for no class.
    """

    names: Mapping[str, str]

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

    def look_up(self, value: str, path: str) -> str:
        """Return the class of a value.

        Args:
            value: Value as text.
            path: Where it was found.

        Raises:
            LabelError: It is not named, and ``*`` neither: no class is guessed.
        """
        name = self.names.get(value) or self.names.get(OTHERS)
        if name is None:
            raise LabelError(
                f"{path} holds the value {value!r}, which --class-map does not name.",
                hint=f"Add {value}={IGNORE}, {value}={BACKGROUND}, or *={IGNORE} for all that is not named.",
            )
        return name
