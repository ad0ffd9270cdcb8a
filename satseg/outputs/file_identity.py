"""Identify files independently of their names: through links, and on case-insensitive file systems."""

from __future__ import annotations

import os
from collections.abc import Hashable
from functools import lru_cache
from pathlib import Path

from satseg.outputs import sidecars


def identifiers(path: Path, *, with_sidecars: bool = False) -> set[Hashable]:
    """Return identifiers of a file; equal files have at least one in common.

    An existing file is identified by its inode, also through hard links, and any file by :func:`stable_identifiers`.

    Args:
        path: The file; it need not exist.
        with_sidecars: Whether its sidecars are included.
    """
    found = stable_identifiers(path, with_sidecars=with_sidecars)
    for member in _members(path, with_sidecars):
        try:
            status = member.stat()
            found.add((status.st_dev, status.st_ino))
        except (OSError, ValueError):  # it does not exist
            pass
    return found


def stable_identifiers(path: Path, *, with_sidecars: bool = False) -> set[Hashable]:
    """Return identifiers of a file that do not change when it is created or replaced.

    They are the inode of the nearest existing folder and the names from there on.

    Args:
        path: The file; it need not exist.
        with_sidecars: Whether its sidecars are included.
    """
    return {_name_of(member) for member in _members(path, with_sidecars)}


def is_within(path: Path, folder: Path) -> bool:
    """Tell whether a path is a folder or lies in it, at any depth."""
    try:
        wanted = folder.stat()
    except OSError:
        return False
    resolved = _resolved(path)
    return any(
        os.path.samestat(wanted, above.stat()) for above in (resolved, *resolved.parents) if os.path.exists(above)
    )


def _members(path: Path, with_sidecars: bool) -> list[Path]:
    return [path, *(sidecars.possible_sidecars(path) if with_sidecars else ())]


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
    except (OSError, RuntimeError, ValueError):  # a circular link; a name that is too long, or has a NUL
        return path.absolute()


@lru_cache(maxsize=256)
def ignores_case(folder: str, changed: int = 0) -> bool:
    """Tell whether names in a folder are case-insensitive, by testing one of its entries.

    Args:
        folder: The folder. If no entry has letters, the name of the folder itself is tested.
        changed: Time of its last change, which invalidates the cache.
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
