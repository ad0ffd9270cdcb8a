"""Tables of classes: one row per class; names are shortened only where the screen is too narrow."""

from __future__ import annotations

from collections.abc import Mapping

from satseg.cli import console
from satseg.cli.table import Name, Table

_FEW = 3


def class_pixels(pixels: Mapping[str, Mapping[str, int]]) -> Table:
    """Show labelled pixels, a row for each class and a column for each split; a dash stands for none.

    Many classes without any pixel share a row at the end.

    Args:
        pixels: Pixels by class name and split.
    """
    names = list(next(iter(pixels.values())))
    totals = {name: sum(counts[name] for counts in pixels.values()) for name in names}
    everything = sum(totals.values()) or 1
    absent = [name for name in names if not totals[name]]
    listed = names if len(absent) <= _FEW else [name for name in names if totals[name]]
    rows: list[tuple[object, ...]] = [
        (Name(name), *(counts[name] or None for counts in pixels.values()), f"{totals[name] / everything:.1%}")
        for name in listed
    ]
    if len(listed) < len(names):
        rows.append((f"({len(absent)} without a pixel)", *(None for _ in pixels), "0.0%"))
    return console.table(("class", *(f"{split} px" for split in pixels), "share"), rows)
