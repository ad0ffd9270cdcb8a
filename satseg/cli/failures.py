"""Report the files that failed when the others are done."""

from __future__ import annotations

import sys
import traceback

from satseg.cli.console import ConsoleOutput
from satseg.errors import SatsegError

SEE_WHERE = "Run again with --debug to see where it comes from."


class Failures:
    """Messages of the files that failed; keeping the exceptions would keep the memory of their scenes.

    Args:
        out: Console output.
        kind: Plural noun for the files.
    """

    def __init__(self, out: ConsoleOutput, kind: str) -> None:
        self._out = out
        self._kind = kind
        self._told: list[tuple[str, str | None]] = []

    def add(self, error: SatsegError) -> None:
        """Record the error of a file; with ``--debug``, print its traceback."""
        if self._out.debug:
            self._out.close()
            sys.stderr.write("".join(traceback.format_exception(error)))
        unforeseen = type(error) is SatsegError and not isinstance(error.__cause__, OSError | None)
        hint = SEE_WHERE if unforeseen and not error.hint and not self._out.debug else error.hint
        self._told.append((error.message, hint))

    def tell(self, done: int) -> None:
        """Print the errors and the number of files that failed."""
        for number, (message, hint) in enumerate(self._told):
            again = number + 1 < len(self._told) and self._told[number + 1][1] == hint
            self._out.error(message, hint=None if again else hint)
        if self._told:
            self._out.error(f"{len(self._told)} of the {self._kind} failed; {done} succeeded.")

    def __len__(self) -> int:
        return len(self._told)
