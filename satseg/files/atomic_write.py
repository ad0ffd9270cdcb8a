"""Outputs appear under their final name only when they are complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from satseg.errors import OutputError, one_line
from satseg.outputs import claim
from satseg.outputs.claim import joined, work_folder
from satseg.outputs.families import STYLE, family, needs_family, relatives
from satseg.outputs.geopackage import carry_styles, check_replaceable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["claimed", "commit", "restore", "save_tensors", "staged", "work_folder"]

_OLD, _WHOLE = "old", "replaced"  # what was there before, while it is being put aside and when all of it is


@contextmanager
def claimed(*paths: Path) -> Iterator[None]:
    """Keep all other runs from writing these outputs until the block ends; mend first what a kill has left of them.

    Args:
        paths: Files or folders. Their parent folders are made if they are missing.

    Raises:
        OutputError: Another run writes one of them at this moment, or a folder cannot be written.
    """
    with claim.claimed(*paths):
        for path in paths:
            restore(path)
        yield


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Prepare a file or folder aside and move it to its final name when the block ends well.

    Everything that the block leaves in its part of the hidden work folder moves beside ``path`` (a Shapefile has
    several files). When the block fails, that part goes and whatever stood under the final name stays as it was. What
    else the work folder holds, to resume from, is not touched. Meanwhile no other run can write the same output.

    Args:
        path: Final name. Its parent folder is made if it is missing.

    Yields:
        The path to write to: same name, in the work folder.

    Raises:
        OutputError: The folder cannot be written, or another run writes the same output.
    """
    with joined(path):
        folder = work_folder(path) / "new"
        restore(path)
        try:
            shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed
            folder.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"Cannot write to {path.parent}: {error.strerror}.") from error
        try:
            yield folder / path.name
            commit(folder, path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def commit(folder: Path, path: Path) -> None:
    """Put what a folder holds in the place of a file or folder and its family, at a stroke as near as can be.

    First the family of the old file is put aside: at every moment the old file may lack what belongs to it, but the new
    one never meets it. Then the new file takes its name, and its own family follows. Only a file that says nothing
    without its family comes last, after the old one has gone. A kill in between is mended by :func:`restore`.

    Args:
        folder: What takes the place; the part ``new`` of the work folder of ``path``.
        path: Final name of the entry that is named like it.

    Raises:
        OutputError: Something cannot be moved, and what was there before is back; or a GeoPackage is open elsewhere, or
            holds layers of others.
    """
    if path.suffix.lower() == ".gpkg":
        check_replaceable(path)  # once more: hours may have passed
        carry_styles(path, folder / path.name)
    try:
        _drop_old(path)
        _put_aside(folder, path)
        entries = sorted(folder.iterdir(), key=lambda entry: (entry.name != path.name, entry.name))
        for entry in reversed(entries) if needs_family(path) else entries:
            if entry.suffix == STYLE and (path.parent / entry.name).exists():
                continue  # the user's own: satseg's went with the old family
            os.replace(entry, path.parent / entry.name)
    except OSError as error:
        restore(path)
        raise OutputError(f"Cannot write {path}: {error.strerror}.") from error
    _drop_old(path)


def restore(path: Path) -> None:
    """Put back what a kill has caught while it was being replaced, unless its successor was in its place already."""
    if (work_folder(path) / "new" / path.name).exists():
        for part in (_WHOLE, _OLD):
            _put_back(path, work_folder(path) / part)
    _drop_old(path)


def _put_aside(folder: Path, path: Path) -> None:
    old = work_folder(path) / _OLD
    old.mkdir()
    if (needs_family(path) and path.is_file()) or (path.is_dir() and (folder / path.name).is_dir()):
        os.replace(path, old / path.name)
    for relative in relatives(path):
        with suppress(FileNotFoundError):  # the same file in capitals, where the file system ignores case
            os.replace(relative, old / relative.name)
    os.replace(old, work_folder(path) / _WHOLE)


def _put_back(path: Path, old: Path) -> None:
    if not old.is_dir():
        return
    with suppress(OSError):
        for file in family(path) if old.name == _WHOLE else ():
            file.unlink(missing_ok=True)  # of the new one
        for entry in list(old.iterdir()):
            os.replace(entry, path.parent / entry.name)


def _drop_old(path: Path) -> None:
    for part in (_WHOLE, _OLD):
        shutil.rmtree(work_folder(path) / part, ignore_errors=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file, aside first and then under its name, with the permissions of any new file.

    Raises:
        OutputError: It cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with staged(path) as aside:
        try:
            save_file(dict(tensors), aside, metadata=metadata)
            _set_usual_mode(aside)
        except (SafetensorError, OSError) as error:  # of a full disk, either
            raise OutputError(f"Cannot write {path}: {one_line(error)}.") from error


def _set_usual_mode(path: Path) -> None:
    """Give a file the permissions that this process gives to new files; safetensors makes its files private."""
    usual = path.with_name(f".{path.name[:99]}.mode")
    usual.touch()
    path.chmod(usual.stat().st_mode)
    usual.unlink()
