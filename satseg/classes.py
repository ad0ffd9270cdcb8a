"""The class table: ids, names and colours of a map's classes, and the label that means "ignore"."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from satseg.errors import UsageError
from satseg.fields import FieldError, Fields

IGNORE_INDEX = 255
"""Label of pixels that count neither in a loss nor in a metric, and nodata of every class raster."""

MAX_CLASSES = 255

BACKGROUND = "background"

BOUNDARY = "boundary"
"""Class that the edges of polygons become where labels are made with one."""

_BACKGROUND_COLOUR = "#d9d9d9"
# Okabe and Ito (2008): eight colours that stay apart for colour-blind readers; here without black.
_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#f0e442", "#cc79a7", "#56b4e9", "#e69f00")


@dataclass(frozen=True)
class MapClass:
    """One class of a map.

    Args:
        id: Label value and channel of the logits, 0..254.
        name: Name as users read it, unique in its table.
        colour: ``#rrggbb``.
    """

    id: int
    name: str
    colour: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue in 0..255."""
        red, green, blue = bytes.fromhex(self.colour[1:])
        return red, green, blue


@dataclass(frozen=True)
class ClassTable:
    """The classes of a map, in the order of their ids 0..K-1.

    Args:
        classes: Classes with ids 0, 1, ..., K-1.
        background: Id of the class that polygons leave out unless asked for, or None if there is none.

    Raises:
        UsageError: Ids are not 0..K-1, there are none or more than 255, a name occurs twice, or a colour
            is not ``#rrggbb``, or the background is none of them.
    """

    classes: tuple[MapClass, ...]
    background: int | None = None
    ignore_index: int = field(default=IGNORE_INDEX, init=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.classes) <= MAX_CLASSES:
            raise UsageError(f"A class table holds 1 to {MAX_CLASSES} classes, not {len(self.classes)}.")
        if [entry.id for entry in self.classes] != list(range(len(self.classes))):
            raise UsageError(f"Class ids must be 0..{len(self.classes) - 1} in order.")
        names = [entry.name for entry in self.classes]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"The class table has the name {twice!r} twice.")
        for entry in self.classes:
            if not re.fullmatch(r"#[0-9a-fA-F]{6}", entry.colour):
                raise UsageError(f"The colour of class {entry.name!r} is {entry.colour!r}, not #rrggbb.")
        if self.background is not None and not 0 <= self.background < len(self.classes):
            raise UsageError(f"The background is class {self.background}, but ids end at {len(self.classes) - 1}.")

    @classmethod
    def from_names(cls, names: Iterable[str]) -> ClassTable:
        """Number and colour class names; one named ``background`` becomes the background."""
        names = list(names)
        colours = _distinct_colours()
        classes = tuple(
            MapClass(i, name, _BACKGROUND_COLOUR if name == BACKGROUND else next(colours))
            for i, name in enumerate(names)
        )
        return cls(classes, background=names.index(BACKGROUND) if BACKGROUND in names else None)

    @classmethod
    def from_dict(cls, data: Any, name: str = "classes") -> ClassTable:
        """Read the result of :meth:`to_dict`.

        Raises:
            UsageError: The entries, all of which is called ``name``, do not form a class table.
        """
        try:
            fields = Fields(data, name)
            classes = tuple(
                MapClass(entry.whole("id"), entry.text("name"), entry.text("colour"))
                for entry in fields.parts("classes")
            )
            background = fields.whole("background") if fields.holds("background") else None
        except FieldError as error:
            raise UsageError(f"Not a class table: {error}.") from error
        return cls(classes, background=background)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, strings and numbers, ready for JSON."""
        return {
            "classes": [{"id": c.id, "name": c.name, "colour": c.colour} for c in self.classes],
            "background": self.background,
        }

    def extended(self, names: Iterable[str]) -> ClassTable:
        """Return a table with further classes appended, in unused colours.

        Raises:
            UsageError: It would hold more than 255 classes, or a name twice.
        """
        names = list(names)
        taken = {entry.colour for entry in self.classes}
        colours = (colour for colour in _distinct_colours() if colour not in taken)
        more = tuple(MapClass(i, name, next(colours)) for i, name in enumerate(names, start=len(self.classes)))
        return ClassTable(self.classes + more, background=self.background)

    def without_background(self) -> ClassTable:
        """Return a table of the other classes, in the same order and colours.

        Raises:
            UsageError: There are no others.
        """
        names = [entry.name for entry in self.classes if entry.id != self.background]
        return ClassTable.from_names(names).recoloured({entry.name: entry.colour for entry in self.classes})

    def recoloured(self, colours: Mapping[str, str]) -> ClassTable:
        """Return a table with other colours (``#rrggbb``), given by class name."""
        classes = (MapClass(entry.id, entry.name, colours.get(entry.name, entry.colour)) for entry in self.classes)
        return ClassTable(tuple(classes), background=self.background)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in the order of their ids."""
        return tuple(entry.name for entry in self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Any:
        return iter(self.classes)

    def __getitem__(self, class_id: int) -> MapClass:
        return self.classes[class_id]


def _distinct_colours() -> Any:
    yield from _COLOURS
    hue = 0.0
    while True:  # the golden angle keeps any number of further hues apart
        hue = (hue + 0.618033988749895) % 1.0
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.65, 0.85))
        yield f"#{red:02x}{green:02x}{blue:02x}"
