"""Command lines for provenance and messages, quoted for a shell and without secrets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from satseg.errors import printable

_PLACE = r"(?:[a-z][a-z0-9+.-]*://|/vsi[a-z0-9_]+[/?])"
_LOGIN = re.compile(r"(://)[^/?#@\s]*@", re.IGNORECASE)
_QUERY = re.compile(rf"(?<=\?).+?(?=,{_PLACE}|$)", re.IGNORECASE | re.DOTALL)
_HAS_PLACE = re.compile(_PLACE, re.IGNORECASE)


def command_line(words: Iterable[str]) -> str:
    """Return a satseg command quoted for a shell, on one line, without secrets in URLs.

    Args:
        words: The command and its arguments, without ``satseg``.
    """
    return shlex.join(["satseg", *(without_secrets(word) for word in words)])


def without_secrets(name: str) -> str:
    """Return a file name or URL without secrets: ``https://host/a.tif?...`` for a signed URL.

    In URLs and in GDAL's names of remote files, the query after ``?`` may hold a signature or token, and the part
    before ``@`` a password. Each of several comma-separated names is treated separately. Names of local files are
    unchanged.
    """
    name = printable(name)
    if not _HAS_PLACE.match(name) and "://" not in name:
        return name
    return _QUERY.sub("...", _LOGIN.sub(r"\1...@", name))
