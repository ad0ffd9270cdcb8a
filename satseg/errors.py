"""Everything satseg raises on purpose.

    SatsegError                 one clear sentence, and a hint when there is something to do about it
    ├── UsageError              the call itself is wrong (exit code 2)
    ├── SceneError              a raster that cannot be used as it is
    │   └── ReadError           a stretch of it that cannot be read
    ├── AreaError               an area of interest that cannot be used as it is
    ├── LabelError              labels that cannot be used as they are
    │   └── ClassRasterError    a class raster that cannot be used, as labels or as a map: a SceneError too
    ├── TileError               a tile set that is missing, broken or does not fit
    ├── CheckpointError         a checkpoint that cannot be read or does not fit
    ├── ArchitectureError       an unknown network, or options it does not take
    ├── NetworkError            a network whose output cannot be used
    ├── ScoreError              a score below what was asked for
    ├── TrainingError           training cannot start, continue or converge
    └── OutputError             a file that cannot be written
        └── ResumeError         a map that cannot be continued, since a scene, model or option has changed

Messages say what, where and which value; the hint says what to do. The command line prints both without
a traceback; Python callers catch ``SatsegError`` or one of its branches, all of which are names of ``satseg`` too:
``error.message``, ``error.hint``, and both in ``str(error)``.
"""

from __future__ import annotations

import copyreg
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class SatsegError(Exception):
    """Base of all errors that satseg raises on purpose.

    Args:
        message: One sentence: what is wrong, where, and the value that was found.
        hint: What the user can do about it, if anything.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows of it: the user's lines that led here, and the message; ``%debug`` has the rest."""
        told = traceback.TracebackException.from_exception(self)
        theirs = takewhile(lambda frame: not frame.filename.startswith(_PACKAGE), told.stack)
        told.stack = traceback.StackSummary.from_list([frame for frame in theirs if "IPython" not in frame.filename])
        told.__cause__ = told.__context__ = None
        return "".join(told.format()).splitlines()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without calling ``__init__`` again, whatever arguments a subclass needs."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class UsageError(SatsegError):
    """The call itself is wrong: arguments that contradict each other or do not exist."""


class SceneError(SatsegError):
    """A raster that cannot be opened, read or used as it is."""


class ReadError(SceneError):
    """A stretch of a raster that cannot be read: the file is damaged there, or the network failed.

    Args:
        message: As in :class:`SatsegError`.
        rows: First row that was asked for, and the one after the last.
        columns: Likewise.
        hint: As in :class:`SatsegError`.
    """

    def __init__(
        self, message: str, *, rows: tuple[int, int], columns: tuple[int, int], hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.rows = rows
        self.columns = columns


class AreaError(SatsegError):
    """An area of interest that cannot be opened, or does not meet the scene."""


class LabelError(SatsegError):
    """Labels that cannot be opened, burnt or mapped to classes."""


class ClassRasterError(LabelError, SceneError):
    """A class raster that cannot be used as it is, be it labels or a map."""


class TileError(SatsegError):
    """A tile set that is missing, broken or does not fit its index."""


class CheckpointError(SatsegError):
    """A checkpoint that cannot be read, or does not fit the scene or the tiles it meets."""


class ArchitectureError(SatsegError):
    """An unknown network, or options that the network does not take."""


class NetworkError(SatsegError):
    """A network whose output cannot be used."""


class ScoreError(SatsegError):
    """A score that falls short of what was asked for."""


class TrainingError(SatsegError):
    """Training that cannot start, continue or converge."""


class OutputError(SatsegError):
    """An output that cannot be written."""


class ResumeError(OutputError):
    """A map that cannot be continued, since what it follows from has changed."""


def as_failure(error: Exception, what: str) -> SatsegError:
    """Return what ends one of many pieces of work as an error of ours, whatever it is.

    Args:
        error: Any exception; one of ours is returned as it is.
        what: Piece of work that failed, such as ``Mapping north.tif``.
    """
    if isinstance(error, SatsegError):
        return error
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the second is torch's
        failure = SatsegError(
            f"{what} failed: there is not enough memory.", hint="Take a smaller window or batch, or a limit of memory."
        )
    elif isinstance(error, OSError) and error.strerror:
        place = f" ({error.filename})" if error.filename else ""
        failure = SatsegError(f"{what} failed: {error.strerror}{place}.")
    else:
        told = f": {one_line(error)}" if one_line(error) else ""
        failure = SatsegError(
            f"{what} failed by {type(error).__name__}{told}.", hint="Run it again with --debug to see where."
        )
    failure.__cause__ = error
    return failure


@contextmanager
def naming(subject: str) -> Iterator[None]:
    """Put the name of what is worked on before the message of an error of ours that does not say it.

    Args:
        subject: One of many, such as a scene.
    """
    try:
        yield
    except SatsegError as error:
        if subject not in error.message:
            error.message = f"{subject}: {error.message}"
            error.args = (error.message,)
        raise


def printable(name: str) -> str:
    r"""Return the name of a file as text that can be encoded: bytes that are no UTF-8 become ``\xe4``."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name


def one_line(error: BaseException) -> str:
    """Return the message of an exception on one line and without its full stop, to quote it in ours."""
    cause = error.__cause__ or error
    return " ".join((cause.message if isinstance(cause, SatsegError) else str(cause)).split()).rstrip(".")
