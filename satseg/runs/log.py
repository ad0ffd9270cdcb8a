"""The log of a run: one CSV row per validation."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class RunLog:
    """Append rows to a CSV file; every row is on disk when :meth:`add` returns.

    Args:
        path: The file. Its columns are those of the first row, the first of them ``step``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; floats get six significant digits."""
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(row)
            writer.writerow(f"{v:.6g}" if isinstance(v, float) else v for v in row.values())

    def rows(self) -> list[dict[str, str]]:
        """Return all rows, as text by column."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def rewind(self, step: int) -> None:
        """Drop the rows after ``step``, and a last one that a kill cut short."""
        if not self.path.exists():
            return
        lines = self.path.read_text().splitlines(keepends=True)
        cells = list(csv.reader(lines))
        kept = [
            line
            for line, row in zip(lines[1:], cells[1:], strict=True)
            if line.endswith("\n") and len(row) == len(cells[0]) and int(row[0]) <= step
        ]
        if kept:
            self.path.write_text("".join([lines[0], *kept]))
        else:
            self.path.unlink()
