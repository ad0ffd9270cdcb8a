"""Tables of classes: a row for each, however many there are, and names shortened only where there is no room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from satseg.cli import console

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

_SHORTEST = 12  # characters that a name keeps at least


@dataclass(frozen=True)
class ClassName:
    """A cell with the name of a class; where it does not fit, it loses its middle.

    Args:
        name: The name.
    """

    name: str

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Tell rich how narrow the cell may become."""
        from rich.cells import cell_len
        from rich.measure import Measurement

        width = cell_len(self.name)
        return Measurement(min(width, _SHORTEST), width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Draw it in the room there is."""
        from rich.text import Text

        from satseg.figures import shortened

        yield Text(shortened(self.name, options.max_width), overflow="ellipsis", no_wrap=True)


def class_pixels(pixels: Mapping[str, Mapping[str, int]]) -> Table:
    """Show labelled pixels, a row for each class and a column for each split; a dash stands for none.

    Args:
        pixels: Pixels by class name and split.
    """
    names = list(next(iter(pixels.values())))
    totals = {name: sum(counts[name] for counts in pixels.values()) for name in names}
    everything = sum(totals.values()) or 1
    rows = [
        (ClassName(name), *(counts[name] or None for counts in pixels.values()), f"{totals[name] / everything:.1%}")
        for name in names
    ]
    return console.table(("class", *(f"{split} px" for split in pixels), "share"), rows)
