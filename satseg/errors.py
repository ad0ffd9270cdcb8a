"""The exceptions that satseg raises.

    SatsegError                 base class: one sentence, and a hint if there is a remedy
    ├── UsageError              invalid arguments (exit code 2)
    ├── SceneError              a scene cannot be used
    │   └── ReadError           part of a scene cannot be read
    ├── AreaError               an area of interest cannot be used
    ├── LabelError              labels cannot be used
    │   └── ClassRasterError    a class raster cannot be used as labels or as a map; also a SceneError
    ├── TileError               a tile set is missing, damaged or does not match
    ├── CheckpointError         a checkpoint cannot be read or does not match the data
    ├── ArchitectureError       an unknown network, or invalid options for it
    ├── NetworkError            the output of a network cannot be used
    ├── ScoreError              a score is below the required minimum
    ├── TrainingError           training cannot start, continue or converge
    └── OutputError             an output cannot be written
        └── ResumeError         a map cannot be continued because a scene, model or setting has changed

The message says what is wrong, where, and with which value; the hint says what to do. The command line prints both
without a traceback. Python callers catch ``SatsegError`` or a subclass (all are exported by ``satseg``) and read
``error.message`` and ``error.hint``; ``str(error)`` contains both.
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
    """Base class of all errors that satseg raises.

    Args:
        message: One sentence: what is wrong, where, and the offending value.
        hint: What the user can do about it; None if nothing.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def _render_traceback_(self) -> list[str]:
        """Return the traceback that IPython shows: the frames of user code and the message; ``%debug`` has the rest."""
        told = traceback.TracebackException.from_exception(self)
        theirs = takewhile(lambda frame: not frame.filename.startswith(_PACKAGE), told.stack)
        told.stack = traceback.StackSummary.from_list([frame for frame in theirs if "IPython" not in frame.filename])
        told.__cause__ = told.__context__ = None
        return "".join(told.format()).splitlines()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without calling ``__init__``, so that subclasses may take other arguments."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class UsageError(SatsegError):
    """Invalid arguments: unknown, out of range or contradictory."""


class SceneError(SatsegError):
    """A scene cannot be opened, read or used."""


class ReadError(SceneError):
    """Part of a scene cannot be read: the file is damaged, or the connection failed.

    Args:
        message: As in :class:`SatsegError`.
        rows: First row of the window that was read, and the row after its last.
        columns: First column of the window, and the column after its last.
        hint: As in :class:`SatsegError`.
    """

    def __init__(
        self, message: str, *, rows: tuple[int, int], columns: tuple[int, int], hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.rows = rows
        self.columns = columns


class AreaError(SatsegError):
    """An area of interest cannot be opened, or does not intersect the scene."""


class LabelError(SatsegError):
    """Labels cannot be opened, rasterized or mapped to classes."""


class ClassRasterError(LabelError, SceneError):
    """A class raster cannot be used as labels or as a map."""


class TileError(SatsegError):
    """A tile set is missing, damaged or does not match its index."""


class CheckpointError(SatsegError):
    """A checkpoint cannot be read, or does not match the scene or the tiles."""


class ArchitectureError(SatsegError):
    """An unknown network, or options that it does not have."""


class NetworkError(SatsegError):
    """The output of a network cannot be used."""


class ScoreError(SatsegError):
    """A score is below the required minimum."""


class TrainingError(SatsegError):
    """Training cannot start, continue or converge."""


class OutputError(SatsegError):
    """An output cannot be written."""


class ResumeError(OutputError):
    """A map cannot be continued because a scene, model or setting has changed."""


def as_failure(error: Exception, what: str) -> SatsegError:
    """Return any exception that ended one of several tasks as a :class:`SatsegError`.

    Args:
        error: The exception; a ``SatsegError`` is returned unchanged.
        what: The task that failed, such as ``Mapping north.tif``.
    """
    if isinstance(error, SatsegError):
        return error
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the second is torch's
        failure = SatsegError(
            f"{what} failed: there is not enough memory.", hint="Reduce `window`, `batch_size` or `memory`."
        )
    elif isinstance(error, OSError) and error.strerror:
        place = f" ({error.filename})" if error.filename else ""
        failure = SatsegError(f"{what} failed: {error.strerror}{place}.")
    else:
        told = f": {one_line(error)}" if one_line(error) else ""
        failure = SatsegError(f"{what} failed by {type(error).__name__}{told}.")
    failure.__cause__ = error
    return failure


@contextmanager
def naming(subject: str) -> Iterator[None]:
    """Prefix the message of a :class:`SatsegError` with a name that it does not contain yet.

    Args:
        subject: What is processed, such as one of several scenes.
    """
    try:
        yield
    except SatsegError as error:
        if subject not in error.message:
            error.message = f"{subject}: {error.message}"
            error.args = (error.message,)
        raise


def printable(name: str) -> str:
    r"""Return a file name as text that can be encoded: bytes that are not UTF-8 become escapes such as ``\xe4``."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name


def one_line(error: BaseException) -> str:
    """Return the message of an exception on one line without its full stop, for quoting in another message."""
    cause = error.__cause__ or error
    return " ".join((cause.message if isinstance(cause, SatsegError) else str(cause)).split()).rstrip(".")
