"""Can an output be written at all? Asked before any work, rather than found out at its end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from satseg.errors import OutputError
from satseg.outputs.claim import work_folder
from satseg.outputs.families import longest_name, needs_family, relatives
from satseg.outputs.geopackage import check_replaceable


def check_file(path: Path) -> None:
    """Refuse an output file that cannot be written, or that would destroy what is not satseg's to replace.

    Args:
        path: The file; it need not exist, and neither need the folders above it. Nothing is written.

    Raises:
        OutputError: It says what stands in the way.
    """
    if os.path.isdir(path):
        raise OutputError(f"The output {path} is a folder.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"The output {path} is no plain file.")
    _check_place(path)
    for file in (path, *relatives(path)):
        _check_removable(file)
    _check_orphans(path)
    if path.suffix.lower() == ".gpkg":
        check_replaceable(path)


def check_folder(path: Path, *, replaced: bool = False) -> None:
    """Refuse an output folder that cannot be written.

    Args:
        path: The folder; it need not exist. Nothing is written.
        replaced: Whether another folder will take its place, which a mount point or the current folder does not allow.

    Raises:
        OutputError: It says what stands in the way.
    """
    if os.path.exists(path) and not os.path.isdir(path):
        raise OutputError(f"The output {path} is a file.", hint="Choose another folder with -o.")
    if replaced and (path.name in ("", "..") or os.path.ismount(path)):
        raise OutputError(f"The output {path} is no folder that can be replaced.", hint="Name a new one: -o tiles")
    _check_place(path)
    if os.path.isdir(path) and not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"The folder {path} may not be written to.", hint="Choose another one with -o.")


def _check_place(path: Path) -> None:
    if "\0" in str(path):
        raise OutputError(f"The output {str(path)!r} has a NUL in its name, which no file can have.")
    above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not above.is_dir():
        raise OutputError(f"The output {path} would lie in {above}, which is no folder.")
    if not os.access(above, os.W_OK | os.X_OK):
        reason = "is on a file system that is read-only" if _is_read_only(above) else "may not be written to"
        raise OutputError(
            f"The output {path} would lie in {above}, which {reason}.", hint="Choose another folder for it."
        )
    limit = _longest_name(above)
    names = {*path.absolute().relative_to(above).parts, longest_name(path), work_folder(path).name}
    longest = max((os.fsencode(name) for name in names), key=len)
    if len(longest) > limit:
        raise OutputError(
            f"The name {path.name} is too long: with what belongs to it, it has {len(longest)} bytes, and {above} "
            f"takes {limit}.",
            hint="Choose a shorter name.",
        )


def _check_removable(file: Path) -> None:
    """In a folder like /tmp, only the owner of a file may replace it."""
    try:
        owner, folder = file.lstat().st_uid, file.parent.stat()
    except OSError:
        return
    sticky = folder.st_mode & stat.S_ISVTX
    if sticky and hasattr(os, "geteuid") and os.geteuid() not in (0, owner, folder.st_uid):
        raise OutputError(f"{file} belongs to another user and cannot be replaced.", hint="Choose another name.")


def _check_orphans(path: Path) -> None:
    """A table without a Shapefile is somebody's table, and a projection may be that of an image."""
    if not needs_family(path) or path.exists() or work_folder(path).exists():  # the last: a kill while it was replaced
        return
    own = [file for file in relatives(path) if file.suffix.lower() in (".dbf", ".prj")]
    if own:
        raise OutputError(
            f"The output {path} would replace {own[0]}, which belongs to no Shapefile of that name.",
            hint="Name another output, or move it away.",
        )


def _is_read_only(folder: Path) -> bool:
    if not hasattr(os, "statvfs"):  # Windows
        return False
    try:
        return bool(os.statvfs(folder).f_flag & getattr(os, "ST_RDONLY", 0))
    except OSError:
        return False


def _longest_name(folder: Path) -> int:
    if not hasattr(os, "pathconf"):  # Windows
        return 255
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError):
        return 255
