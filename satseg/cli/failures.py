"""What failed among many files, told when the others are done."""

from __future__ import annotations

import sys
import traceback

from satseg.cli.console import ConsoleOutput
from satseg.errors import SatsegError


class Failures:
    """Files that failed, in words alone: an exception would keep all memory of its scene.

    Args:
        talk: Where to say it.
        kind: What they are, as a plural.
    """

    def __init__(self, talk: ConsoleOutput, kind: str) -> None:
        self._talk = talk
        self._kind = kind
        self._told: list[tuple[str, str | None]] = []

    def add(self, error: SatsegError) -> None:
        """Note the error of a file; with ``--debug``, show where it comes from."""
        if self._talk.debug:
            self._talk.close()
            sys.stderr.write("".join(traceback.format_exception(error)))
        self._told.append((error.message, error.hint))

    def tell(self, done: int) -> None:
        """Say what failed, and how many files those are."""
        for number, (message, hint) in enumerate(self._told):
            again = number + 1 < len(self._told) and self._told[number + 1][1] == hint
            self._talk.error(message, hint=None if again else hint)
        if self._told:
            self._talk.error(f"{len(self._told)} of the {self._kind} failed; {done} went well.")

    def __len__(self) -> int:
        return len(self._told)
