"""Progress as text and, in interactive sessions, as a bar; uses the standard library only.

The command line draws a richer bar with the same text: see :mod:`satseg.cli.progress`.
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
    """Course of a task.

    Args:
        begun: Time of its first event in seconds.
        first: Units done at that time.
        done: Units done now.
        told: Units done when the last line was printed.
    """

    begun: float
    first: float
    done: float
    told: float


class ProgressBar:
    """Progress callback that draws a line on a terminal or a bar in a notebook.

    Args:
        stream: Terminal to draw on; None uses stderr if it is a terminal. In a notebook, the bar appears in the cell.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream
        self._in_notebook = stream is None and _in_notebook()
        self._course = Course(0.0, 0.0, 0.0, 0.0)
        self._task = ""
        self._drawn = -_PAUSE
        self._handle: Any = None

    def __call__(self, event: ProgressEvent) -> None:
        """Draw an event, at most every 0.1 s."""
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
        """Erase the bar; functions do so when they return. Another event draws it again."""
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)
        elif self._task and not self._in_notebook:
            self._write(_ERASE)
        self._task, self._handle = "", None

    ended = close  # what functions call

    def paused(self) -> None:
        """Erase the bar so that the caller can print between two results; the next event redraws it."""
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
    """Default of functions: a progress bar in interactive sessions and notebooks, nothing in scripts."""

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None

    def __call__(self, event: ProgressEvent) -> None:
        """Draw an event if the session is interactive."""
        if self._bar is None:
            if not is_interactive():
                return
            self._bar = ProgressBar()
        self._bar(event)

    def close(self) -> None:
        """Erase the bar."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    ended = close

    def paused(self) -> None:
        """Erase the bar between two results."""
        if self._bar is not None:
            self._bar.paused()

    def __repr__(self) -> str:
        return "automatic"


automatic = Automatic()


def progress_bar(stream: IO[str] | None = None) -> ProgressBar:
    """Return a progress bar for the parameter ``progress`` of any function, also in scripts.

    In interactive sessions and notebooks, functions draw one by default; ``progress=satseg.no_progress`` turns it off.
    Any callable that takes a :class:`~satseg.ProgressEvent` can be passed instead:

        satseg.train(progress=satseg.progress_bar())
        satseg.train(progress=lambda event: print(event.task, event.done, event.total, event.unit))

    Args:
        stream: Terminal to draw on; None uses stderr if it is a terminal, and the cell in a notebook.
    """
    return ProgressBar(stream)


def is_interactive() -> bool:
    """Tell whether the session is interactive: Python's prompt, IPython or a notebook."""
    return hasattr(sys, "ps1") or _shell() is not None


def spell(event: ProgressEvent, course: Course, now: float) -> str:
    """Return progress as one line: ``Predicting: 12.4 / 90.0 Mpx, 1.2 Mpx/s, 1:05 left``."""
    speed = (event.done - course.first) / (now - course.begun) if now > course.begun else 0.0
    left = max(0.0, event.total - event.done) / speed if event.total is not None and speed else None
    parts = [
        f"{event.task}: {of_total(event.done, event.total, event.unit)}",
        rate(speed, event.unit),
        "" if left is None else f"{clock(left)} left",
        event.note,
    ]
    return ", ".join(part for part in parts if part)


def amount(value: float, unit: str) -> str:
    """Return a quantity with its unit: 12.4 Mpx, 300 step, 0:42; pixels get an SI prefix."""
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
    """Return the done and the total amount: ``12.4 Mpx / 90.0 Mpx``, ``3 / 20 tile``."""
    if total is None:
        return amount(done, unit)
    return f"{amount(done, unit).removesuffix(f' {unit}')} / {amount(total, unit)}"


def rate(speed: float, unit: str) -> str:
    """Return units per second, or seconds per unit below one per second; empty for tasks measured in seconds."""
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
