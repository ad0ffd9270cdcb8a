"""TensorBoard events of a run."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path

from satseg.errors import UsageError
from satseg.runs.log import LogRow


def check_tensorboard() -> None:
    """Check that events can be written.

    Raises:
        UsageError: TensorBoard is not installed.
    """
    if find_spec("tensorboard") is None:
        raise UsageError("TensorBoard is not installed.", hint="Install it: pip install 'satseg-cli[tensorboard]'")


class Scalars:
    """Writes the numbers of every validation as TensorBoard events.

    Args:
        path: Folder of the events; those after ``step`` from before a resume are dropped.
        step: Updates done so far.
    """

    def __init__(self, path: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(path), purge_step=step + 1)

    def add(self, row: LogRow) -> None:
        """Write the numbers of a validation; they are on disk when this returns."""
        for name, value in row.scalars().items():
            if name != "step" and not math.isnan(value):
                self._writer.add_scalar(name.replace(" ", "/"), value, row.step)
        self._writer.flush()
