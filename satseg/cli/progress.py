"""Progress of commands: a bar on a terminal, occasional lines in a log file."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from satseg.progress import Course, clock, of_total, rate, spell

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Task

    from satseg.records import ProgressEvent

_SILENCE = 30.0  # seconds without output after which a log file may get a line of progress
_LONG_SILENCE = 600.0  # seconds after which it gets one in any case
_STEP = 0.1  # fraction of the work between two lines before that
_WIDE = 110  # columns needed for the wide bar with its numbers and note


class Bar:
    """Progress bar of a command; a new task replaces the previous one.

    Times are updated between events, too.

    Args:
        console: Console on a terminal; lines printed through it appear above the bar.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=30 if console.width >= _WIDE else 8, table_column=Column(no_wrap=True)),
            _AmountColumn(table_column=Column(no_wrap=True)),
            _RateColumn(table_column=Column(no_wrap=True)),
            _RemainingColumn(table_column=Column(no_wrap=True)),
            _NoteColumn(),
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
            self._task = self._progress.add_task(
                event.task,
                total=event.total,
                completed=int(event.done),
                unit=event.unit,
                note=event.note,
                at=monotonic(),
            )
            self._name = event.task
        self._progress.update(self._task, completed=event.done, total=event.total, note=event.note, at=monotonic())

    @property
    def done(self) -> bool:
        """Whether the task is complete; False without a total."""
        return self._progress.finished

    def close(self) -> None:
        """Erase the bar."""
        self._progress.stop()


class Lines:
    """Lines of progress for a log file: few, but never far apart."""

    def __init__(self) -> None:
        self._courses: dict[str, Course] = {}

    def line(self, event: ProgressEvent, *, silence: float) -> str | None:
        """Return the line for an event, or None if none is due.

        Args:
            event: The event.
            silence: Seconds since the last output.
        """
        now = monotonic()
        course = self._courses.get(event.task)
        if course is None or event.done < course.done:  # the same task for another scene
            course = self._courses[event.task] = Course(now, event.done, event.done, event.done)
        course.done = event.done
        step = _STEP * event.total if event.total else 0.0
        if silence < _SILENCE or (silence < _LONG_SILENCE and event.done - course.told < step):
            return None
        course.told = event.done
        return spell(event, course, now)


class _NoteColumn(ProgressColumn):
    """The note of an event, truncated to the free width."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


class _AmountColumn(ProgressColumn):
    """Done and total amount: ``12.4 Mpx / 90.0 Mpx``, ``3 / 20 tile``."""

    def render(self, task: Task) -> Text:
        unit, done = task.fields["unit"], task.completed
        if unit == "s":
            done += monotonic() - task.fields["at"]
            done = done if task.total is None else min(done, max(task.total, task.completed))
        return Text(of_total(done, task.total, unit))


class _RateColumn(ProgressColumn):
    """Units per second; empty for tasks measured in seconds."""

    def render(self, task: Task) -> Text:
        return Text(rate(task.speed or 0.0, task.fields["unit"]))


class _RemainingColumn(ProgressColumn):
    """Remaining time, estimated from the recent rate and counted down between events."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text("")
        left = task.total - task.completed if task.fields["unit"] == "s" else task.time_remaining
        return Text("" if left is None else f"{clock(max(0.0, left - (monotonic() - task.fields['at'])))} left")
