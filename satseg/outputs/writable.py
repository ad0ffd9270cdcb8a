"""Check before any work that an output can be written, rather than fail at the end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from satseg.errors import OutputError
from satseg.outputs.geopackage import check_replaceable
from satseg.outputs.lock import work_folder
from satseg.outputs.project_file import PROJECT, check_project
from satseg.outputs.sidecars import existing_sidecars, longest_name, needs_sidecars


def check_file(path: Path) -> None:
    """Refuse an output file that cannot be written, or would overwrite files of others.

    Args:
        path: The file; neither it nor its folders need exist. Nothing is written.

    Raises:
        OutputError: It cannot be written.
    """
    if os.path.isdir(path):
        raise OutputError(f"The output {path} is a folder.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"The output {path} is not a regular file.")
    _check_place(path)
    for file in (path, *existing_sidecars(path)):
        _check_removable(file)
    _check_orphans(path)
    if path.suffix.lower() == ".gpkg":
        check_replaceable(path)
    if path.suffix.lower() == PROJECT:
        check_project(path)


def check_folder(path: Path, *, replaced: bool = False) -> None:
    """Refuse an output folder that cannot be written.

    Args:
        path: The folder; it need not exist. Nothing is written.
        replaced: Whether it will be replaced, which is impossible for mount points and the current folder.

    Raises:
        OutputError: It cannot be written.
    """
    if os.path.exists(path) and not os.path.isdir(path):
        raise OutputError(f"The output {path} is a file.", hint="Choose a folder with `output`.")
    if replaced and (path.name in ("", "..") or os.path.ismount(path)):
        raise OutputError(f"The output folder {path} cannot be replaced.", hint="Choose a new one: `output='tiles'`")
    _check_place(path)
    if os.path.isdir(path) and not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"The folder {path} is not writable.", hint="Choose another one with `output`.")


def _check_place(path: Path) -> None:
    if "\0" in str(path):
        raise OutputError(f"The output {str(path)!r} has a NUL in its name, which is not allowed.")
    above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not above.is_dir():
        raise OutputError(f"The output {path} would be in {above}, which is not a folder.")
    if not os.access(above, os.W_OK | os.X_OK):
        reason = "is on a read-only file system" if _is_read_only(above) else "is not writable"
        raise OutputError(f"The output {path} would be in {above}, which {reason}.", hint="Choose another folder.")
    limit = _longest_name(above)
    names = {*path.absolute().relative_to(above).parts, longest_name(path), work_folder(path).name}
    longest = max((os.fsencode(name) for name in names), key=len)
    if len(longest) > limit:
        raise OutputError(
            f"The name {path.name} is too long: with the endings of temporary files it has {len(longest)} bytes, and "
            f"{above} allows {limit}.",
            hint="Choose a shorter name.",
        )


def _check_removable(file: Path) -> None:
    """Refuse files of other users in folders like /tmp, where only the owner may replace a file."""
    try:
        owner, folder = file.lstat().st_uid, file.parent.stat()
    except OSError:
        return
    sticky = folder.st_mode & stat.S_ISVTX
    if sticky and hasattr(os, "geteuid") and os.geteuid() not in (0, owner, folder.st_uid):
        raise OutputError(f"{file} belongs to another user and cannot be replaced.", hint="Choose another name.")


def _check_orphans(path: Path) -> None:
    """Refuse to overwrite a ``.dbf`` or ``.prj`` without a Shapefile, which may belong to something else."""
    if not needs_sidecars(path) or path.exists() or work_folder(path).exists():  # the last: interrupted while replacing
        return
    own = [file for file in existing_sidecars(path) if file.suffix.lower() in (".dbf", ".prj")]
    if own:
        raise OutputError(
            f"The output {path} would replace {own[0]}, which does not belong to a Shapefile.",
            hint="Choose another output, or move that file.",
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
