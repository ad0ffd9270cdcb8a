"""Output of commands: results on stdout; messages, warnings and progress on stderr."""

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

_OF_A_KIND = 3  # messages that are printed; further ones are counted
_LONGEST = 120  # characters of a message that stands for others
_WIDE = 10_000  # columns of a stream that is not a terminal: never wrap, never cut


class ConsoleOutput:
    """Output of one command: made in ``main()``, passed on by the Typer context.

    Args:
        json: Print results as JSON on stdout instead of tables.
        quiet: Print only warnings and errors on stderr.
        debug: Print tracebacks and the logs of libraries.
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
        """The console on stderr; rich is imported when it is first used."""
        if self._stderr is None:
            self._stderr = _console(sys.stderr)
        return self._stderr

    def answer(
        self, record: _Record, table: Callable[[_Record], Table | Sequence[Table]], *, apart: bool = False
    ) -> None:
        """Print the answer to a query on stdout: a table, or JSON with ``--json``.

        Args:
            record: The answer.
            table: Returns its table.
            apart: Print an empty line before the table.
        """
        with self._undisturbed():
            self.close()
            if self.json:
                self.emit(record)
            else:
                _print(_console(sys.stdout), table(record), apart=apart)

    def report(self, record: _Record, table: Callable[[_Record], Table | Sequence[Table]]) -> None:
        """Print the result of a command: a table on stderr, or with ``--json`` the record on stdout.

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
        """Print a record as one line of JSON on stdout, and flush it for pipes."""
        from satseg.records import as_json

        sys.stdout.write(json.dumps(as_json(record)) + "\n")
        sys.stdout.flush()

    def say(self, message: str, *, style: str = "") -> None:
        """Print a line on stderr, unless ``--quiet``."""
        if not self.quiet:
            self._line(message, style)

    def command(self, line: str) -> None:
        """Print a command line that is about to run."""
        self.close()
        self.say(f"$ {line}", style="bold")

    def note(self, message: str) -> None:
        """Print a note on stderr, unless ``--quiet``: something was decided automatically."""
        self.say(f"note: {message}")

    def warn(self, message: str) -> None:
        """Print a warning on stderr: the result may be unexpected, or needs attention."""
        self._line(f"warning: {message}", "yellow")

    def error(self, message: str, *, hint: str | None = None) -> None:
        """Print an error on stderr, and how to fix it."""
        self.close()
        self._line(f"error: {message}", "bold red")
        if hint:
            self._line(f"hint: {hint}", "cyan")

    def progress(self, event: ProgressEvent) -> None:
        """Show progress: a `Progress` callback.

        Draws a bar on a terminal, else prints a line from time to time, unless ``--json``; nothing with ``--quiet``.
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

        While a result is printed, its work is done; the signal is then raised at the next progress, if there is any.
        """
        if not self._telling:
            raise KeyboardInterrupt
        self._interrupted = True

    def attend(self, context: typer.Context) -> None:
        """Remember the running command, whose flags messages name."""
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
        """Remove the progress bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _line(self, message: str, style: str) -> None:
        self._spoke = monotonic()
        if self._context is not None and "`" in message:
            message = for_command(message, self._context)
        self.stderr.print(message, style=style, markup=False, highlight=False, emoji=False, soft_wrap=True)


def output_for(ctx: typer.Context, *, json: bool, quiet: bool, debug: bool) -> ConsoleOutput:
    """Return the output that ``main()`` put into the context, with the options of this command."""
    out = ctx.ensure_object(ConsoleOutput)
    out.json, out.quiet, out.debug = json, quiet, debug or out.debug
    if json:
        require_stdout()
    if out.debug:
        logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    return out


def table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None, caption: str | None = None
) -> Table:
    """Make a table; numbers are right-aligned.

    Args:
        columns: Headings; none is printed if all are empty.
        rows: Cells, formatted by :func:`~satseg.cli.table.cell`.
        title: A line above the table.
        caption: A line below it.
    """
    return Table(columns, rows, title, caption)


def file_size(count: int) -> str:
    """Return a number of bytes in MB, small ones in KB."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} KB"


def left_out(
    specks: int, holes: int, *, min_area: Quantity | None, fill_holes: Quantity | None, objects: bool
) -> str | None:
    """Return a sentence on regions and holes of a map that its polygons leave out; None if there are none.

    Args:
        specks: Number of regions below ``min_area``.
        holes: Number of holes that were filled.
        min_area: Smallest region; None is the default.
        fill_holes: Largest hole to fill; None is the default.
        objects: Whether the polygons are objects, whose default is that of their network.
    """
    from satseg.vectorization.settings import FILL_HOLES, MIN_AREA

    below = f"specks below {min_area or MIN_AREA}"
    if objects:
        below = "small objects" if min_area is None else f"objects below {min_area}"
    parts = [f"{below} left out ({specks:,})"] if specks else []
    parts += [f"holes up to {fill_holes or FILL_HOLES} filled ({holes:,})"] if holes else []
    return f"Polygons: {', '.join(parts)}; --raw keeps all." if parts else None


class LogHandler(logging.Handler):
    """Prints log messages of satseg on stderr: each once, and a few of those that differ only by the scene.

    Args:
        out: Where to print. With its ``debug``, all are printed.
    """

    def __init__(self, out: ConsoleOutput) -> None:
        super().__init__(logging.INFO)
        self._out = out
        self._said: set[str] = set()
        self._kinds: dict[tuple[bool, object], list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Print warnings, and infos as notes unless ``--quiet``; none twice, and few that are alike."""
        try:
            text = record.getMessage()
            if self._out.debug or self._is_news(record, text):
                self._tell(text, warning=record.levelno >= logging.WARNING)
        except Exception:
            self.handleError(record)

    def tell_rest(self) -> None:
        """Print how many messages were left out."""
        for (warning, _), texts in self._kinds.items():
            if len(texts) > _OF_A_KIND:
                more = len(texts) - _OF_A_KIND
                self._tell(f"{more:,} more like this: {_shortened(texts[0])}", warning=warning)
        self._kinds.clear()

    def _tell(self, text: str, *, warning: bool) -> None:
        if warning:
            self._out.warn(text)
        else:
            self._out.note(text)

    def _is_news(self, record: logging.LogRecord, text: str) -> bool:
        if text in self._said:
            return False
        self._said.add(text)
        texts = self._kinds.setdefault((record.levelno >= logging.WARNING, _kind(record, text)), [])
        texts.append(text if not texts else "")  # the first one tells what kind it is
        return len(texts) <= _OF_A_KIND


def _kind(record: logging.LogRecord, text: str) -> object:
    """Return what messages have in common that differ only by the scene."""
    template, args = str(record.msg), record.args
    if re.search(r"[a-z]{2}", re.sub(r"%[^a-z]*[a-z]", "", template)):
        return template
    return args[1:] if isinstance(args, tuple) and len(args) > 1 else text


def _shortened(text: str) -> str:
    """Return a text, cut between words if it is long; a longer word is kept."""
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
    """Return the width that the environment sets, for output without a terminal."""
    asked = os.environ.get("COLUMNS", "")
    return int(asked) if asked.isdecimal() and int(asked) else None
