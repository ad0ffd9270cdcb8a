"""stdin, stdout and stderr of this process, which may be closed, or carry names in any encoding."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import IO, Any

from satseg.errors import OutputError, UsageError

_BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_UTF8_MARK = b"\xef\xbb\xbf"
_PIECE = 2**16  # bytes


class ClosedStdout(io.TextIOBase):
    """Stands for a stdout that was closed when the process began."""

    def writable(self) -> bool:
        """Pass for a stream, so that what checks does not fail without words."""
        return True

    def write(self, text: str, /) -> int:
        """Refuse.

        Raises:
            OutputError: Always.
        """
        raise OutputError("stdout is closed, so that nothing can be written to it.", hint="Give it a file: > FILE")


def settle() -> None:
    """Make the three streams usable, whatever the process was given.

    A closed one gets the null device for its number, since the next file that is opened would get that number, and
    whatever a library prints would be written into it. Names of files that are no UTF-8 go to stdout as the bytes they
    are, and to stderr spelt out, as characters do that a stream's own encoding lacks.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdout = ClosedStdout() if sys.stdout is None else sys.stdout
    sys.stderr = open(os.devnull, "w", encoding="utf-8") if sys.stderr is None else sys.stderr  # noqa: SIM115
    codecs.register_error("bytes-or-spelt", _bytes_or_spelt)
    for stream, errors in ((sys.stdout, "bytes-or-spelt"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _bytes_or_spelt(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:  # of a character, not of a byte that a name was made from
        return codecs.backslashreplace_errors(error)


def require_stdout() -> None:
    """Refuse to work for a stdout that nothing can be written to, and let it take GeoJSON, which is in UTF-8 always.

    Raises:
        OutputError: It is closed.
    """
    if isinstance(sys.stdout, ClosedStdout):
        sys.stdout.write("")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors=sys.stdout.errors)


def names_on_stdin() -> Iterator[str]:
    r"""Yield the names on stdin as they come, one a line.

    Lists are taken as programs write them: UTF-8, with a byte order mark or without; UTF-16, as Windows redirects
    output; bytes that are no UTF-8, as other names of files; and with NUL behind each name, as ``find -print0`` does,
    where names may hold line ends. Blanks around a name go, unless it is a file with them.

    Raises:
        UsageError: stdin is closed.
    """
    if sys.stdin is None:
        raise UsageError("stdin is closed: there is no list of names to read.")
    source: Any = getattr(sys.stdin, "buffer", None)
    lines = iter(sys.stdin) if source is None else _decoded(source)
    for line in lines:
        name = line.rstrip("\r\n\0")
        if not os.path.exists(name):
            name = name.strip()
        if name:
            yield name


def _decoded(source: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a stream."""
    ahead = source.peek(_PIECE) if isinstance(source, io.BufferedReader) else b""
    first = source.readline()
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if first.startswith(mark)), None)
    encoding = encoding or _without_mark(first)
    if encoding is not None:
        whole = first + source.read()  # a line end is several bytes, of which readline() has split off some
        yield from whole.decode(encoding, "replace").splitlines()
    elif b"\0" in ahead + first:  # a line end before it is part of a name
        yield from map(os.fsdecode, _split(source, first.removeprefix(_UTF8_MARK)))
    else:
        yield from map(os.fsdecode, chain([first.removeprefix(_UTF8_MARK)], source))


def _without_mark(line: bytes) -> str | None:
    """Return the kind of UTF-16 that a first line without byte order mark is in: every other byte of names is 0."""
    start = line[:8]
    if len(start) == 8 and not any(start[1::2]) and all(start[::2]):
        return "utf-16-le"
    return "utf-16-be" if len(start) == 8 and not any(start[::2]) and all(start[1::2]) else None


def _split(source: IO[bytes], first: bytes) -> Iterator[bytes]:
    """Yield what lies between NULs."""
    rest = first
    while True:
        *whole, rest = rest.split(b"\0")
        yield from whole
        piece = b""
        with suppress(BlockingIOError):
            piece = getattr(source, "read1", source.read)(_PIECE)
        if not piece:
            yield rest
            return
        rest += piece
