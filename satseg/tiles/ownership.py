"""Tell the files of a tile set from others, so that replacing it never deletes a file of the user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from satseg.errors import OutputError
from satseg.outputs.sidecars import possible_sidecars
from satseg.presence import HEADER, INDEX
from satseg.tiles.tileset import FOLDERS, MOMENTS

_FILES = (HEADER, INDEX, MOMENTS)
_TILE = re.compile(r".+_\d+_\d+\.tif")
_WORK = re.compile(r"\..+\.satseg")
_OF_BROWSERS = (".DS_Store", ".directory", "Thumbs.db", "desktop.ini")  # files that file browsers create


def check_own(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but a tile set.

    Args:
        folder: The folder; it need not exist, and may be empty.

    Raises:
        OutputError: It is not a tile set, or holds other files; the first of them is named.
    """
    foreign = next(foreign_entries(folder), None) if folder.is_dir() else None
    if foreign is None:
        return
    what = "is not a tile set" if not (folder / HEADER).is_file() else "holds more than a tile set"
    raise OutputError(
        f"{folder} {what} and is not replaced: it holds {foreign.relative_to(folder)}, which satseg did not write.",
        hint="Choose another `output`, or move your files elsewhere.",
    )


def foreign_entries(folder: Path) -> Iterator[Path]:
    """Yield the entries of a folder that do not belong to a tile set; all of them in a folder without its header."""
    if not (folder / HEADER).is_file():
        yield from sorted(folder.iterdir())
        return
    for entry in sorted(folder.iterdir()):
        if entry.name in FOLDERS and entry.is_dir() and not entry.is_symlink():
            yield from _foreign_tiles(entry)
        elif not (entry.name in {*_beside(_FILES, folder), *_OF_BROWSERS} or _WORK.fullmatch(entry.name)):
            yield entry


def _foreign_tiles(folder: Path) -> Iterator[Path]:
    tiles, others = set(), []
    for entry in folder.iterdir():
        if _TILE.fullmatch(entry.name) and entry.is_file():
            tiles.add(entry.name)
        elif entry.name not in _OF_BROWSERS:
            others.append(entry)
    own = _beside(tiles, folder) if others else set()
    yield from sorted(entry for entry in others if entry.name not in own)


def _beside(names: tuple[str, ...] | set[str], folder: Path) -> set[str]:
    """Return the names and those of their sidecar files."""
    return {*names, *(file.name for name in names for file in possible_sidecars(folder / name))}
