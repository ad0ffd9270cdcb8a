"""Write outputs atomically: they appear under their final names only when they are complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from satseg.errors import OutputError, one_line
from satseg.outputs import lock
from satseg.outputs.geopackage import carry_styles, check_replaceable
from satseg.outputs.lock import ensure_locked, work_folder
from satseg.outputs.project_file import PROJECT, check_project
from satseg.outputs.sidecars import STYLE, existing_sidecars, needs_sidecars, possible_sidecars

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["atomic_write", "commit", "locked", "restore", "save_tensors", "work_folder"]

_OLD, _WHOLE = "old", "replaced"  # folder of the previous output, while it is being moved and afterwards


@contextmanager
def locked(*paths: Path) -> Iterator[None]:
    """Lock outputs until the block ends, and restore first what an interrupted run left of them.

    Args:
        paths: Files or folders. Missing parent folders are created.

    Raises:
        OutputError: Another run is writing one of them, or a folder is not writable.
    """
    with lock.locked(*paths):
        for path in paths:
            restore(path)
        yield


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file or folder in the work folder, and move it to its final name when the block succeeds.

    All files that the block leaves there are moved beside ``path`` (a Shapefile has several). If the block fails, they
    are deleted, and the previous output is unchanged. Other contents of the work folder, to resume from, are not
    touched. Meanwhile no other run can write the same output.

    Args:
        path: Final name. A missing parent folder is created.

    Yields:
        The path to write to: the same name, in the work folder.

    Raises:
        OutputError: The folder is not writable, or another run is writing the same output.
    """
    with ensure_locked(path):
        folder = work_folder(path) / "new"
        restore(path)
        try:
            shutil.rmtree(folder, ignore_errors=True)  # left by an interrupted run
            folder.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"Cannot write to {path.parent}: {error.strerror}.") from error
        try:
            yield folder / path.name
            commit(folder, path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def commit(folder: Path, path: Path) -> None:
    """Replace a file or folder and its sidecars by the contents of a folder, as atomically as possible.

    First the sidecars of the old file are moved away: the old file may briefly lack sidecars, but the new one never
    meets old ones. Then the new file takes its name, followed by its sidecars. A file that is useless without its
    sidecars comes last, after the old one has been moved. :func:`restore` recovers from an interruption in between.

    Args:
        folder: The new contents, in ``new`` in the work folder of ``path``.
        path: Final name of the entry with that name.

    Raises:
        OutputError: A file cannot be moved, and the old output is restored; or a GeoPackage is open elsewhere, or has
            layers of others, or a project was saved by QGIS.
    """
    if path.suffix.lower() == ".gpkg":
        check_replaceable(path)  # again: hours may have passed
        carry_styles(path, folder / path.name)
    if path.suffix.lower() == PROJECT:
        check_project(path)
    try:
        _drop_old(path)
        _put_aside(folder, path)
        entries = sorted(folder.iterdir(), key=lambda entry: (entry.name != path.name, entry.name))
        for entry in reversed(entries) if needs_sidecars(path) else entries:
            if entry.suffix == STYLE and (path.parent / entry.name).exists():
                continue  # a style of the user: that of satseg was moved away
            os.replace(entry, path.parent / entry.name)
    except OSError as error:
        restore(path)
        raise OutputError(f"Cannot write {path}: {error.strerror}.") from error
    _drop_old(path)


def restore(path: Path) -> None:
    """Restore an output whose replacement was interrupted, unless the new one was already in place."""
    if (work_folder(path) / "new" / path.name).exists():
        for part in (_WHOLE, _OLD):
            _put_back(path, work_folder(path) / part)
    _drop_old(path)


def _put_aside(folder: Path, path: Path) -> None:
    old = work_folder(path) / _OLD
    old.mkdir()
    if (needs_sidecars(path) and path.is_file()) or (path.is_dir() and (folder / path.name).is_dir()):
        os.replace(path, old / path.name)
    for sidecar in existing_sidecars(path):
        with suppress(FileNotFoundError):  # the same file in upper case, on a case-insensitive file system
            os.replace(sidecar, old / sidecar.name)
    os.replace(old, work_folder(path) / _WHOLE)


def _put_back(path: Path, old: Path) -> None:
    if not old.is_dir():
        return
    with suppress(OSError):
        for file in possible_sidecars(path) if old.name == _WHOLE else ():
            file.unlink(missing_ok=True)  # of the new output
        for entry in list(old.iterdir()):
            os.replace(entry, path.parent / entry.name)


def _drop_old(path: Path) -> None:
    for part in (_WHOLE, _OLD):
        shutil.rmtree(work_folder(path) / part, ignore_errors=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically, with the default permissions of new files.

    Raises:
        OutputError: It cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic_write(path) as aside:
        try:
            save_file(dict(tensors), aside, metadata=metadata)
            _set_usual_mode(aside)
        except (SafetensorError, OSError) as error:  # a full disk raises either
            raise OutputError(f"Cannot write {path}: {one_line(error)}.") from error


def _set_usual_mode(path: Path) -> None:
    """Set the default permissions of new files; safetensors makes its files private."""
    usual = path.with_name(f".{path.name[:99]}.mode")
    usual.touch()
    path.chmod(usual.stat().st_mode)
    usual.unlink()
