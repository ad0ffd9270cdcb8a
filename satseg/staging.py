"""Outputs appear under their final name only when they are complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from satseg.errors import OutputError


def work_folder(path: Path) -> Path:
    """Return the hidden folder beside ``path`` in which it is prepared."""
    return path.parent / f".{path.name}.satseg"


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Prepare a file or folder aside and move it to its final name when the block ends well.

    Everything that the block leaves in its part of the hidden work folder moves beside ``path`` (a Shapefile has
    several files), ``path`` itself last. When the block fails, that part goes and whatever stood under the final
    name stays as it was. What else the work folder holds, to resume from, is not touched.

    Args:
        path: Final name. Its parent folder is made if it is missing.

    Yields:
        The path to write to: same name, in the work folder.

    Raises:
        OutputError: The folder cannot be written.
    """
    folder = work_folder(path) / "new"
    try:
        shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"Cannot write to {path.parent}: {error.strerror}.") from error
    try:
        yield folder / path.name
        try:
            commit(folder, path)
        except OSError as error:
            raise OutputError(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # it holds something to resume from
            folder.parent.rmdir()


def commit(folder: Path, path: Path) -> None:
    """Move all that ``folder`` holds beside ``path``, the entry named like ``path`` last."""
    for entry in sorted(folder.iterdir(), key=lambda entry: (entry.name == path.name, entry.name)):
        final = path.parent / entry.name
        if entry.is_dir() and final.exists():
            replaced = folder / f"{entry.name}.replaced"
            os.rename(final, replaced)
            os.rename(entry, final)
        else:
            os.replace(entry, final)


def set_usual_mode(path: Path) -> None:
    """Give a file the permissions that this process gives to new files; safetensors makes its files private."""
    usual = path.with_name(f".{path.name}.mode")
    usual.touch()
    path.chmod(usual.stat().st_mode)
    usual.unlink()
