"""What a command says: data on stdout; talk, warnings and progress on stderr."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import IO, TYPE_CHECKING, Any, TypeVar

import typer

from satseg.cli.flags import for_command
from satseg.cli.streams import require_stdout
from satseg.cli.table import Table

if TYPE_CHECKING:
    from types import FrameType

    from rich.console import Console

    from satseg.cli.progress import Bar, Lines
    from satseg.geo.units import Quantity
    from satseg.records import ProgressEvent

_Record = TypeVar("_Record")

_OF_A_KIND = 3  # remarks that are said; the others are counted
_LONGEST = 120  # characters of a remark that stands for others
_WIDE = 10_000  # columns of a stream that is not a terminal: never wrap, never cut


class ConsoleOutput:
    """The voice of one command: made in ``main()``, carried by the Typer context.

    Args:
        json: Print results as JSON on stdout instead of tables.
        quiet: Keep to warnings and errors on stderr.
        debug: Show tracebacks and the log of the libraries.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, debug: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.debug = debug
        self._stderr: Console | None = None
        self._bar: Bar | None = None
        self._lines: Lines | None = None
        self._spoke = monotonic()
        self._context: typer.Context | None = None
        self._telling = False
        self._interrupted = False

    @property
    def stderr(self) -> Console:
        """The console on stderr; rich is imported when something is said for the first time."""
        if self._stderr is None:
            self._stderr = _console(sys.stderr)
        return self._stderr

    def answer(
        self, record: _Record, table: Callable[[_Record], Table | Sequence[Table]], *, apart: bool = False
    ) -> None:
        """Print what the user asked to see on stdout: a table, or JSON with ``--json``.

        Args:
            record: What was asked for.
            table: Makes a table of it.
            apart: Leave a line between the table and what stands above.
        """
        with self._undisturbed():
            self.close()
            if self.json:
                self.emit(record)
            else:
                _print(_console(sys.stdout), table(record), apart=apart)

    def report(self, record: _Record, table: Callable[[_Record], Table | Sequence[Table]]) -> None:
        """Say what was done: a table on stderr, and with ``--json`` the record on stdout instead.

        A bar stays below the table while there is more to do, and keeps its rate.
        """
        with self._undisturbed():
            if self.json or self._bar is None or self._bar.done:
                self.close()
            if self.json:
                self.emit(record)
            elif not self.quiet:
                _print(self.stderr, table(record))
                self._spoke = monotonic()

    def emit(self, record: Any) -> None:
        """Print a record as one line of JSON on stdout, at once, so that pipes see it."""
        from satseg.records import as_json

        sys.stdout.write(json.dumps(as_json(record)) + "\n")
        sys.stdout.flush()

    def say(self, message: str, *, style: str = "") -> None:
        """Print a line on stderr, unless ``--quiet``."""
        if not self.quiet:
            self._line(message, style)

    def command(self, line: str) -> None:
        """Show a command line that is about to run, as it would be typed."""
        self.close()
        self.say(f"$ {line}", style="bold")

    def note(self, message: str) -> None:
        """Print on stderr what was done without being asked, and is as it should be, unless ``--quiet``."""
        self.say(f"note: {message}")

    def warn(self, message: str) -> None:
        """Print a warning on stderr: the result may not be what is expected, or there is something to do."""
        self._line(f"warning: {message}", "yellow")

    def error(self, message: str, *, hint: str | None = None) -> None:
        """Print what went wrong on stderr, and what can be done about it."""
        self.close()
        self._line(f"error: {message}", "bold red")
        if hint:
            self._line(f"hint: {hint}", "cyan")

    def progress(self, event: ProgressEvent) -> None:
        """Show how far the work has come: a `Progress` callback.

        A bar on a terminal; where stderr is a file, a line now and then. Nothing with ``--quiet``, and no lines with
        ``--json``, whose reader is a program.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        if self.quiet:
            return
        if not self.stderr.is_terminal or self.stderr.is_dumb_terminal:
            self._progress_line(event)
            return
        if self._bar is None:
            from satseg.cli.progress import Bar

            self._bar = Bar(self.stderr)
        self._bar.show(event)

    def _progress_line(self, event: ProgressEvent) -> None:
        if self.json:
            return
        if self._lines is None:
            from satseg.cli.progress import Lines

            self._lines = Lines()
        line = self._lines.line(event, silence=monotonic() - self._spoke)
        if line is not None:
            self.say(line)

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Stop the work: the handler of SIGINT and SIGTERM.

        While a result is being told, the work behind it is done; the signal then waits for the next piece of work, and
        is forgotten where there is none.
        """
        if not self._telling:
            raise KeyboardInterrupt
        self._interrupted = True

    def attend(self, context: typer.Context) -> None:
        """Take note of the command that is run."""
        self._context = context

    def came_from(self, parameter: str) -> str | None:
        """Return the environment variable that a parameter was taken from, if any."""
        context = self._context
        if context is None or parameter not in context.params:
            return None
        source = context.get_parameter_source(parameter)
        if source is None or source.name != "ENVIRONMENT":
            return None
        named = [entry.envvar for entry in context.command.params if entry.name == parameter]
        return str(named[0])

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        self._telling = True
        try:
            yield
        finally:
            self._telling = False

    def close(self) -> None:
        """Take the progress bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _line(self, message: str, style: str) -> None:
        self._spoke = monotonic()
        if self._context is not None and "`" in message:
            message = for_command(message, self._context)
        self.stderr.print(message, style=style, markup=False, highlight=False, emoji=False, soft_wrap=True)


def talk(ctx: typer.Context, *, json: bool, quiet: bool, debug: bool) -> ConsoleOutput:
    """Return the voice that ``main()`` put into the context, set to what this command was told."""
    voice = ctx.ensure_object(ConsoleOutput)
    voice.json, voice.quiet, voice.debug = json, quiet, debug or voice.debug
    if json:
        require_stdout()
    if voice.debug:
        logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    return voice


def table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None, caption: str | None = None
) -> Table:
    """Make a table; numbers are set to the right.

    Args:
        columns: Headings; all empty leaves the heading out.
        rows: Cells, turned into text by :func:`~satseg.cli.table.cell`.
        title: A line above the table.
        caption: A line below it.
    """
    return Table(columns, rows, title, caption)


def left_out(specks: int, holes: int, *, min_area: Quantity | None, fill_holes: Quantity | None) -> str | None:
    """Say what of a map is not in its layer of polygons, and how it would be; None where nothing is missing.

    Args:
        specks: Regions that were too small.
        holes: Holes that were filled.
        min_area: Smallest region that was asked for; None is the default, as below.
        fill_holes: Largest hole that was asked for.
    """
    from satseg.vectorization.settings import FILL_HOLES, MIN_AREA

    parts = [f"specks below {min_area or MIN_AREA} left out ({specks:,})"] if specks else []
    parts += [f"holes up to {fill_holes or FILL_HOLES} filled ({holes:,})"] if holes else []
    return f"Polygons: {', '.join(parts)}; --raw keeps all." if parts else None


class TalkHandler(logging.Handler):
    """Shows the remarks of the libraries of satseg on stderr: each once, and a few of those that differ by the scene.

    Args:
        voice: Where to say them. With its ``debug``, all are said.
    """

    def __init__(self, voice: ConsoleOutput) -> None:
        super().__init__(logging.INFO)
        self._voice = voice
        self._said: set[str] = set()
        self._kinds: dict[tuple[bool, object], list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Say a warning always, an info as a note unless ``--quiet``; neither again, nor many of a kind."""
        try:
            text = record.getMessage()
            if self._voice.debug or self._is_news(record, text):
                self._tell(text, warning=record.levelno >= logging.WARNING)
        except Exception:
            self.handleError(record)

    def tell_rest(self) -> None:
        """Say of how many remarks there were too many to be said."""
        for (warning, _), texts in self._kinds.items():
            if len(texts) > _OF_A_KIND:
                more = len(texts) - _OF_A_KIND
                self._tell(f"{more:,} more like this: {_shortened(texts[0])}", warning=warning)
        self._kinds.clear()

    def _tell(self, text: str, *, warning: bool) -> None:
        if warning:
            self._voice.warn(text)
        else:
            self._voice.note(text)

    def _is_news(self, record: logging.LogRecord, text: str) -> bool:
        if text in self._said:
            return False
        self._said.add(text)
        texts = self._kinds.setdefault((record.levelno >= logging.WARNING, _kind(record, text)), [])
        texts.append(text if not texts else "")  # the first one tells what kind it is
        return len(texts) <= _OF_A_KIND


def _kind(record: logging.LogRecord, text: str) -> object:
    """Return what remarks that differ by the scene alone have in common: what is said of it."""
    template, args = str(record.msg), record.args
    if re.search(r"[a-z]{2}", re.sub(r"%[^a-z]*[a-z]", "", template)):
        return template
    return args[1:] if isinstance(args, tuple) and len(args) > 1 else text


def _shortened(text: str) -> str:
    """Return a text that is cut between words where it is long; a word that is longer than that stays whole."""
    if len(text) <= _LONGEST:
        return text
    end = text.rfind(" ", 0, _LONGEST - 3)
    end = text.find(" ", _LONGEST) if end < 0 else end
    return text if end < 0 else f"{text[:end].rstrip(' ,;:')} ..."


def _console(stream: IO[str]) -> Console:
    from rich.console import Console

    console = Console(file=stream)
    return console if console.is_terminal else Console(file=stream, width=_WIDE)


def _print(console: Console, tables: Table | Sequence[Table], *, apart: bool = False) -> None:
    width = console.width if console.is_terminal else _asked_width()
    lines = partial(console.print, markup=False, highlight=False, emoji=False, soft_wrap=True)
    for number, entry in enumerate([tables] if isinstance(tables, Table) else tables):
        if number or apart:
            lines()
        if entry.title:
            lines(entry.title, style="italic")
        for place, part in enumerate(entry.parts(width)):
            if place:
                lines()
            for line in part.heading():
                lines(line, style="bold")
            for line in part.body():
                lines(line)
        if entry.caption:
            lines(entry.caption, style="italic")


def _asked_width() -> int | None:
    """Return the width that the environment asks for where there is no terminal."""
    asked = os.environ.get("COLUMNS", "")
    return int(asked) if asked.isdecimal() and int(asked) else None
