"""The progress bar: how far, how fast, how long still."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Task

    from satseg.records import ProgressEvent

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class Bar:
    """Progress events of one command drawn as bars; a new task takes the place of the one before.

    Args:
        console: Console on a terminal; lines printed through it appear above the bar.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            _AmountColumn(),
            _RateColumn(),
            _RemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._name = ""
        self._progress.start()

    def show(self, event: ProgressEvent) -> None:
        """Draw an event."""
        if self._task is None or event.task != self._name:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(event.task, total=event.total, unit=event.unit, note=event.note)
            self._name = event.task
        self._progress.update(self._task, completed=event.done, total=event.total, note=event.note)

    def close(self) -> None:
        """Take the bar off the screen."""
        self._progress.stop()


def amount(value: float, unit: str) -> str:
    """Return a quantity with a prefix where it is large: 12.4 Mpx, 300 step, 42 s."""
    if unit == "s":
        return clock(value)
    for factor, prefix in _PREFIXES:
        if value >= factor and unit == "px":
            return f"{value / factor:.1f} {prefix}{unit}"
    return f"{value:.0f} {unit}"


def clock(seconds: float) -> str:
    """Return seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class _AmountColumn(ProgressColumn):
    """Done of total: ``12.4 Mpx / 90.0 Mpx``, ``3 / 20 tile``."""

    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        done = amount(task.completed, unit)
        if task.total is None:
            return Text(done)
        return Text(f"{done.removesuffix(f' {unit}')} / {amount(task.total, unit)}")


class _RateColumn(ProgressColumn):
    """Units per second; nothing where seconds themselves are counted."""

    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        if unit == "s" or not task.speed:
            return Text("")
        if task.speed < 1:
            return Text(f"{1 / task.speed:.1f} s/{unit}")
        return Text(f"{amount(task.speed, unit)}/s" if unit == "px" else f"{task.speed:.1f} {unit}/s")


class _RemainingColumn(ProgressColumn):
    """Time left, from the rate of the last seconds."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text("")
        if task.fields["unit"] == "s":
            return Text(f"{clock(max(0.0, task.total - task.completed))} left")
        left = task.time_remaining
        return Text("" if left is None else f"{clock(left)} left")
