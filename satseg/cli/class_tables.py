"""Tables of classes: a row for each, however many there are, and names shortened only where there is no room."""

from __future__ import annotations

from collections.abc import Mapping

from satseg.cli import console
from satseg.cli.table import Name, Table


def class_pixels(pixels: Mapping[str, Mapping[str, int]]) -> Table:
    """Show labelled pixels, a row for each class and a column for each split; a dash stands for none.

    Args:
        pixels: Pixels by class name and split.
    """
    names = list(next(iter(pixels.values())))
    totals = {name: sum(counts[name] for counts in pixels.values()) for name in names}
    everything = sum(totals.values()) or 1
    rows = [
        (Name(name), *(counts[name] or None for counts in pixels.values()), f"{totals[name] / everything:.1%}")
        for name in names
    ]
    return console.table(("class", *(f"{split} px" for split in pixels), "share"), rows)
