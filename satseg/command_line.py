"""Commands as outputs tell of them, so that they can be typed again."""

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
    """Return a command of satseg as it would be typed in a shell, on one line, without what is secret in URLs.

    Args:
        words: Its words, the name of the command first; ``shlex.split`` gives them back, ``satseg`` before them.
    """
    return shlex.join(["satseg", *(without_secrets(word) for word in words)])


def without_secrets(name: str) -> str:
    """Return the name of a file or a URL to be told to others: ``https://host/a.tif?...`` for a signed one.

    The part behind ``?`` of URLs and of GDAL's names for what is remote may hold a signature or a token, and what
    stands before ``@`` a password. Names with commas between are taken each for itself; files keep theirs.
    """
    name = printable(name)
    if not _HAS_PLACE.match(name) and "://" not in name:
        return name
    return _QUERY.sub("...", _LOGIN.sub(r"\1...@", name))
