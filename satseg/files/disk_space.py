"""Check disk space before work starts, rather than fail hours later."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

from satseg.errors import OutputError

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def require_space(needed: Mapping[Path, int]) -> None:
    """Refuse work that needs more disk space than there is, summed over the folders of each file system.

    Args:
        needed: Bytes by folder. Folders need not exist.

    Raises:
        OutputError: A file system has less free space.
    """
    systems: dict[int, list[Path]] = {}
    for folder in needed:
        systems.setdefault(_existing(folder).stat().st_dev, []).append(folder)
    for folders in systems.values():
        wanted = sum(needed[folder] for folder in folders)
        free = shutil.disk_usage(_existing(folders[0])).free
        if wanted > free:
            raise OutputError(
                f"There is not enough disk space in {' and '.join(str(folder) for folder in folders)}: up to "
                f"{format_bytes(wanted)} are needed, {format_bytes(free)} are free.",
                hint="Free disk space, or write to another disk.",
            )


def rows_in(folder: Path) -> int:
    """Return the disk space in bytes of the work rasters in a folder, at any depth."""
    return sum(_bytes_on_disk(file) for file in folder.rglob("*.raw"))


def _bytes_on_disk(file: Path) -> int:
    """Return the disk space of a file, without holes; on Windows, which reports none, its length."""
    status = file.stat()
    return int(getattr(status, "st_blocks", math.ceil(status.st_size / 512))) * 512


def format_bytes(count: float) -> str:
    """Return a number of bytes with three digits and a unit, such as ``12.3 GB``."""
    power = 0
    while count >= 999.5 and power < len(_UNITS) - 1:
        count /= 1000
        power += 1
    return f"{count:.3g} {_UNITS[power]}"


def _existing(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.exists())
