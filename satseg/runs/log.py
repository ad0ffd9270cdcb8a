"""Log of a run: one CSV row per validation."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from satseg.errors import TrainingError, one_line


@dataclass(frozen=True)
class LogRow:
    """Results of a validation.

    Args:
        step: Updates done.
        epoch: Epochs done, as a fraction.
        loss: Mean training loss since the previous validation.
        lr: Learning rate.
        miou: Mean IoU of the weights of this step on the validation tiles, over the classes that their labels hold.
        global_accuracy: Fraction of their labelled pixels with the right class.
        ious: IoU by class name; NaN if it is undefined.
        averages: Mean IoU of the averages of the weights, ``ema`` and ``average``; NaN where they were not scored.
        pixels_per_second: Training speed since the previous validation.
        seconds: Seconds spent so far.
        seconds_left: Estimated seconds until the end of the run.
        kept: Weights that were kept because they are the best so far: ``weights`` or one of the averages; else empty.
    """

    step: int
    epoch: float
    loss: float
    lr: float
    miou: float
    global_accuracy: float
    ious: Mapping[str, float]
    averages: Mapping[str, float]
    pixels_per_second: float
    seconds: float
    seconds_left: float
    kept: str

    def scalars(self) -> dict[str, float]:
        """Return the logged numbers by name: the step first, durations last."""
        names = ("step", "epoch", "loss", "lr", "miou", "global_accuracy")
        return {
            **{name: getattr(self, name) for name in names},
            **{f"iou {name}": value for name, value in self.ious.items()},
            **{f"miou {name}": value for name, value in self.averages.items()},
            "pixels_per_second": self.pixels_per_second,
            "seconds": self.seconds,
        }


class RunLog:
    """CSV file of the log; every row is on disk when :meth:`add` returns.

    Args:
        path: The file. Its columns are those of the first row, beginning with ``step``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; floats are written with six significant digits.

        The log of an earlier version keeps its columns.
        """
        columns = list(next(iter(self.rows()), row))
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(columns)
            values = (row.get(column, math.nan) for column in columns)
            writer.writerow(f"{v:.6g}" if isinstance(v, float) else v for v in values)

    def rows(self) -> list[dict[str, str]]:
        """Return all rows, as text by column, without an incomplete last one.

        Raises:
            TrainingError: The log cannot be read, or a cell is not a number.
        """
        if not self.path.exists():
            return []
        try:
            text = self.path.read_bytes().decode()
            lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1]), strict=True))
            columns, rows = (lines[0], lines[1:]) if lines else ([], [])
            for row in rows:
                _check(columns, row)
        except (OSError, ValueError, csv.Error) as error:
            raise TrainingError(f"{self.path} cannot be read: {one_line(error)}.") from error
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def rewind(self, step: int) -> None:
        """Drop the rows after ``step``, and an incomplete last one.

        Raises:
            TrainingError: The log cannot be read, or a cell is not a number.
        """
        kept = [row for row in self.rows() if int(row["step"]) <= step]
        if not kept:
            self.path.unlink(missing_ok=True)
            return
        with self.path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(kept[0])
            writer.writerows(row.values() for row in kept)


def _check(columns: Sequence[str], row: Sequence[str]) -> None:
    if "step" not in columns or len(row) != len(columns):
        raise ValueError(f"the row {','.join(row)[:60]} does not fit the columns {','.join(columns)[:60]}")
    int(row[columns.index("step")])
    for value in row:
        float(value)
