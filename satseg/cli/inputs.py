"""Lists on the command line: scenes, which may come one a line on stdin, and names with commas between."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence

from satseg.errors import UsageError

STDIN = "-"


def scene_list(scenes: Sequence[str]) -> Iterator[str]:
    """Yield the scenes in order; ``-`` stands for the lines of stdin, which are taken as they come.

    Raises:
        UsageError: ``-`` stands twice.
    """
    if list(scenes).count(STDIN) > 1:
        raise UsageError("Scenes can be read from stdin only once.")
    for scene in scenes:
        if scene == STDIN:
            yield from (line.strip() for line in sys.stdin if line.strip())
        else:
            yield scene


def stdin_is_pipe() -> bool:
    """Tell whether this command stands behind another one in a pipeline."""
    try:
        return stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):
        return False


def names(text: str | None) -> tuple[str, ...] | None:
    """Return the names in a text with commas between, or None where there is no text."""
    return tuple(name.strip() for name in text.split(",")) if text else None
