"""Progress in words and, in interactive sessions, as a bar that needs nothing but the standard library.

The command line draws a richer bar of the same words: see :mod:`satseg.cli.progress`.
"""

from __future__ import annotations

import html
import shutil
import sys
from collections.abc import Sized
from dataclasses import dataclass, replace
from time import monotonic
from typing import IO, Any

from satseg.records import Progress, ProgressEvent

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_PAUSE = 0.1  # seconds between two drawings
_WIDE = 110  # columns that the full bar takes with its numbers and its note
_ERASE = "\r\x1b[K"


@dataclass
class Course:
    """How a task has gone so far.

    Args:
        begun: Time of its first event.
        first: Units that were done then.
        done: Units done now.
        told: Units done when a line was last said of it.
    """

    begun: float
    first: float
    done: float
    told: float


class ProgressBar:
    """A callback that draws how far a function is: a line on a terminal, a bar in a notebook.

    Args:
        stream: Terminal to draw on; None takes stderr where that is one. In a notebook the cell is drawn on.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream
        self._in_notebook = stream is None and _in_notebook()
        self._course = Course(0.0, 0.0, 0.0, 0.0)
        self._task = ""
        self._drawn = -_PAUSE
        self._handle: Any = None

    def __call__(self, event: ProgressEvent) -> None:
        """Draw an event, unless one was drawn a moment ago."""
        now = monotonic()
        if event.task != self._task or event.done < self._course.done:
            self._task, self._course = event.task, Course(now, event.done, event.done, event.done)
            self._drawn = -_PAUSE
        self._course.done = event.done
        complete = event.total is not None and event.done >= event.total
        if not complete and now - self._drawn < _PAUSE:
            return
        self._drawn = now
        line = spell(event, self._course, now)
        if self._in_notebook:
            self._show(event, line)
        elif complete:
            self.close()
        else:
            columns = shutil.get_terminal_size().columns
            self._write(_ERASE + f"{_blocks(event, 20 if columns >= _WIDE else 8)}{line}"[: columns - 1])

    def close(self) -> None:
        """Take the bar off the screen; functions do so when they end. Another event draws it anew."""
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)
        elif self._task and not self._in_notebook:
            self._write(_ERASE)
        self._task, self._handle = "", None

    ended = close  # what functions call

    def paused(self) -> None:
        """Make room on a terminal for what the user prints between two results; the bar goes on where it was."""
        if self._task and not self._in_notebook:
            self._write(_ERASE)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _write(self, text: str) -> None:
        stream = self._stream or sys.stderr
        if self._stream is not None or stream.isatty():
            stream.write(text)
            stream.flush()

    def _show(self, event: ProgressEvent, line: str) -> None:
        from IPython.display import display

        share = "" if not event.total else f' value="{event.done / event.total:.4f}"'
        shown = {"text/plain": line, "text/html": f"<progress{share}></progress> {html.escape(line)}"}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)


class Automatic:
    """The default of functions: a bar in interactive sessions and notebooks, nothing in scripts."""

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None

    def __call__(self, event: ProgressEvent) -> None:
        """Draw an event where somebody watches."""
        if self._bar is None:
            if not is_interactive():
                return
            self._bar = ProgressBar()
        self._bar(event)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    ended = close

    def paused(self) -> None:
        """Make room on the screen between two results."""
        if self._bar is not None:
            self._bar.paused()

    def __repr__(self) -> str:
        return "automatic"


automatic = Automatic()


def progress_bar(stream: IO[str] | None = None) -> ProgressBar:
    """Return a bar for the parameter ``progress`` of any function, also in scripts.

    Functions draw one by themselves in interactive sessions and notebooks. ``progress=satseg.no_progress`` turns it
    off; any function that takes a :class:`~satseg.ProgressEvent` can stand in its place:

        satseg.train(progress=satseg.progress_bar())
        satseg.train(progress=lambda event: print(event.task, event.done, event.total, event.unit))

    Args:
        stream: Terminal to draw on; None takes stderr where that is one, and in a notebook the cell.
    """
    return ProgressBar(stream)


def is_interactive() -> bool:
    """Tell whether somebody types: at Python's prompt, in IPython or in a notebook."""
    return hasattr(sys, "ps1") or _shell() is not None


def spell(event: ProgressEvent, course: Course, now: float) -> str:
    """Return progress as a line: ``Predicting: 12.4 / 90.0 Mpx, 1.2 Mpx/s, 1:05 left``."""
    speed = (event.done - course.first) / (now - course.begun) if now > course.begun else 0.0
    left = (event.total - event.done) / speed if event.total is not None and speed else None
    parts = [
        f"{event.task}: {of_total(event.done, event.total, event.unit)}",
        rate(speed, event.unit),
        "" if left is None else f"{clock(left)} left",
        event.note,
    ]
    return ", ".join(part for part in parts if part)


def amount(value: float, unit: str) -> str:
    """Return a quantity with a prefix where it is large: 12.4 Mpx, 300 step, 42 s; of scenes, those that are done."""
    if unit == "s":
        return clock(value)
    for factor, prefix in _PREFIXES:
        if value >= factor and unit == "px":
            return f"{value / factor:.1f} {prefix}{unit}"
    return f"{int(value)} {unit}"


def clock(seconds: float) -> str:
    """Return seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def of_total(done: float, total: float | None, unit: str) -> str:
    """Return what is done of all: ``12.4 Mpx / 90.0 Mpx``, ``3 / 20 tile``."""
    if total is None:
        return amount(done, unit)
    return f"{amount(done, unit).removesuffix(f' {unit}')} / {amount(total, unit)}"


def rate(speed: float, unit: str) -> str:
    """Return units per second, or seconds per unit where those are many; nothing where seconds are counted."""
    if unit == "s" or not speed:
        return ""
    if speed < 1:
        return f"{1 / speed:.1f} s/{unit}"
    return f"{amount(speed, unit)}/s" if unit == "px" else f"{speed:.1f} {unit}/s"


def _blocks(event: ProgressEvent, width: int) -> str:
    if not event.total:
        return ""
    filled = round(width * min(1.0, event.done / event.total))
    return f"[{'#' * filled}{'.' * (width - filled)}] "


def _shell() -> Any:
    """Return the shell of IPython that runs this, or None."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()


def _in_notebook() -> bool:
    return getattr(_shell(), "kernel", None) is not None


def scene_progress(progress: Progress, number: int, scenes: object) -> Progress:
    """Return a callback for the progress of one scene that reports to that of all, so that one bar covers all scenes.

    Args:
        progress: Called in scenes and parts of one; in the units of the scene itself where that is the only one.
        number: Scenes before it.
        scenes: All scenes; the total is unknown where they come one after the other.
    """
    count = len(scenes) if isinstance(scenes, Sized) else None
    if count == 1:
        return progress

    def tell(event: ProgressEvent) -> None:
        share = min(event.done / event.total, 1.0) if event.total else 0.0
        progress(replace(event, done=number + share, total=count, unit="scene"))

    return tell
