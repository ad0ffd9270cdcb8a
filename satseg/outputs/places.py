"""Where files lie, whatever they are called: through links, and on file systems that ignore case."""

from __future__ import annotations

import os
from collections.abc import Hashable
from functools import lru_cache
from pathlib import Path

from satseg.outputs import families


def places(path: Path, *, family: bool = False) -> set[Hashable]:
    """Return what identifies a file: equal names and links to one file have one of these in common.

    A file that exists is known by its number (inode), so that hard links are found out; any file by :func:`names_of`.

    Args:
        path: The file; it need not exist.
        family: Whether what is read together with it counts as well.
    """
    found = names_of(path, family=family)
    for member in _members(path, family):
        try:
            status = member.stat()
            found.add((status.st_dev, status.st_ino))
        except (OSError, ValueError):  # it does not exist
            pass
    return found


def names_of(path: Path, *, family: bool = False) -> set[Hashable]:
    """Return what identifies a file before and after it is made or replaced, which changes its number.

    That is the number of the folder above it that exists, and the names from there on.

    Args:
        path: The file; it need not exist.
        family: Whether what is read together with it counts as well.
    """
    return {_name_of(member) for member in _members(path, family)}


def is_within(path: Path, folder: Path) -> bool:
    """Tell whether a file is the folder or lies in it, at any depth."""
    try:
        wanted = folder.stat()
    except OSError:
        return False
    resolved = _resolved(path)
    return any(
        os.path.samestat(wanted, above.stat()) for above in (resolved, *resolved.parents) if os.path.exists(above)
    )


def _members(path: Path, family: bool) -> list[Path]:
    return [path, *(families.family(path) if family else ())]


def _name_of(path: Path) -> Hashable:
    path = _resolved(path)
    above = next(folder for folder in path.parents if os.path.exists(folder))
    parts = path.relative_to(above).parts
    status = above.stat()
    ignored = ignores_case(str(above), status.st_mtime_ns)
    return (status.st_dev, status.st_ino, *(part.casefold() if ignored else part for part in parts))


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a link to itself; a name too long, or with a NUL
        return path.absolute()


@lru_cache(maxsize=256)
def ignores_case(folder: str, changed: int = 0) -> bool:
    """Tell whether names in a folder are the same in capitals, by an entry that it has.

    Args:
        folder: The folder. Where nothing in it has letters, the folder's own name tells.
        changed: When it was changed last.
    """
    try:
        with os.scandir(folder) as entries:
            names = (entry.name for entry in entries)
            name = next((name for name in names if name.swapcase() != name), None)
    except OSError:
        name = None
    if name is None:
        if folder == os.path.dirname(folder):
            return False
        return ignores_case(os.path.dirname(folder))
    here, other = os.path.join(folder, name), os.path.join(folder, name.swapcase())
    try:
        return os.path.samefile(here, other) and not os.path.islink(other)
    except OSError:
        return False
