"""Check that there is room on disk before work starts, rather than fail hours later."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

from satseg.errors import OutputError

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def require_space(needed: Mapping[Path, int]) -> None:
    """Refuse work that will not fit, summed over folders that lie on one file system.

    Args:
        needed: Bytes by folder. A folder need not exist yet.

    Raises:
        OutputError: A file system has less room.
    """
    systems: dict[int, list[Path]] = {}
    for folder in needed:
        systems.setdefault(_existing(folder).stat().st_dev, []).append(folder)
    for folders in systems.values():
        wanted = sum(needed[folder] for folder in folders)
        free = shutil.disk_usage(_existing(folders[0])).free
        if wanted > free:
            raise OutputError(
                f"There is not enough room in {' and '.join(str(folder) for folder in folders)}: up to "
                f"{format_bytes(wanted)} will be needed, {format_bytes(free)} are free.",
                hint="Make room, or write to another disk.",
            )


def rows_in(folder: Path) -> int:
    """Return the bytes that the work rasters in a folder, at any depth, take on the disk already."""
    return sum(_bytes_on_disk(file) for file in folder.rglob("*.raw"))


def _bytes_on_disk(file: Path) -> int:
    """Return what a file takes, without the holes that it may have; Windows tells its length only, and makes none."""
    status = file.stat()
    return int(getattr(status, "st_blocks", math.ceil(status.st_size / 512))) * 512


def format_bytes(count: float) -> str:
    """Return a number of bytes with three digits and a unit: ``12.3 GB``."""
    power = 0
    while count >= 999.5 and power < len(_UNITS) - 1:
        count /= 1000
        power += 1
    return f"{count:.3g} {_UNITS[power]}"


def _existing(folder: Path) -> Path:
    """Return the nearest folder above that exists."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.exists())
