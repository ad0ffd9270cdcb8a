"""Inputs and outputs of a run: check that no file is both, and none is written twice."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from pathlib import Path

from satseg.errors import UsageError
from satseg.files.local_files import beside, local_files
from satseg.files.names import is_local_file
from satseg.outputs.file_identity import identifiers, is_within, stable_identifiers
from satseg.outputs.sidecars import existing_sidecars, needs_sidecars
from satseg.outputs.writable import check_file, check_folder


class Ledger:
    """All inputs and outputs of a run, entered before any work, or as soon as they are known.

    Files are identified independently of their names, see :mod:`satseg.outputs.file_identity`.

    Args:
        names: Inputs: files, URLs or GDAL names, with or without layers; None is ignored.
    """

    def __init__(self, names: Iterable[str | Path | None] = ()) -> None:
        self._read: dict[Hashable, str] = {}
        self._named: dict[Hashable, str] = {}  # inputs that are not just sidecars
        self._names: set[str] = set()
        self._folders: list[tuple[Path, str]] = []
        self._files: list[tuple[Path, str]] = []
        self._written: dict[Hashable, str] = {}
        self.read(*names)

    def read(self, *names: str | Path | None) -> None:
        """Enter inputs, with all files of mosaics and archives.

        Raises:
            UsageError: One of them is an output of this run.
        """
        for name in map(str, filter(None, names)):
            if name in self._names:  # outputs entered since have been checked against it
                continue
            self._names.add(name)
            if is_local_file(name) and Path(name).is_dir():
                self._folders.append((Path(name), name))
                continue
            files = local_files(name) or ([Path(name).absolute()] if is_local_file(name) else [])
            sidecars = {file for main in files for file in beside(main)} - {Path(name).absolute()}
            for file in files:
                for identifier in identifiers(file):
                    if identifier in self._written:
                        raise UsageError(
                            f"{_whose(file, name)} is an input, but this run writes it: {self._written[identifier]}.",
                            hint="Leave it out, or choose other outputs.",
                        )
                    self._read.setdefault(identifier, _whose(file, name))
                    if file not in sidecars:
                        self._named.setdefault(identifier, _whose(file, name))
                self._files.append((file, name))

    def write(self, path: Path, what: str = "") -> None:
        """Enter an output file, and check that it can be written.

        Args:
            path: The file.
            what: Short description for messages.

        Raises:
            UsageError: It is an input or part of one, would overwrite a sidecar of one, or is named twice.
            OutputError: It cannot be written.
        """
        self._check_unread(path)
        found = stable_identifiers(path, with_sidecars=needs_sidecars(path))
        if not self._written.keys().isdisjoint(found):
            raise UsageError(f"The output {path} is named twice.")
        check_file(path)
        self._written |= dict.fromkeys(found, what or str(path))

    def forget_outputs(self) -> None:
        """Forget all outputs."""
        self._written = {}

    def written_as(self, path: Path) -> str | None:
        """Return the description of an output, or None if it is not one."""
        return next(
            (self._written[identifier] for identifier in stable_identifiers(path) if identifier in self._written), None
        )

    def replace_folder(self, folder: Path) -> None:
        """Check that an output folder can be written, and contains no input.

        Raises:
            UsageError: An input is in it, or is the folder itself.
            OutputError: It cannot be written.
        """
        check_folder(folder, replaced=True)
        for path, name in [*self._files, *self._folders]:
            if is_within(path, folder):
                raise UsageError(
                    f"The input {_whose(path, name)} is in the output folder {folder}.",
                    hint="Choose another folder with `output`.",
                )

    def _check_unread(self, path: Path) -> None:
        for identifier in identifiers(path):
            if identifier in self._read:
                called = "" if self._read[identifier] == str(path) else f", as {self._read[identifier]}"
                raise UsageError(
                    f"The output {path} is also an input{called}: it would be overwritten.",
                    hint="Choose another output.",
                )
        for folder, name in self._folders:
            if os.path.exists(path) and is_within(path, folder):
                raise UsageError(f"The output {path} is in the input {name}.", hint="Choose another output.")
        inputs = self._named if os.path.exists(path) else self._read  # sidecars of an existing file are its own
        for member in existing_sidecars(path):
            for identifier in identifiers(member):
                if identifier in inputs:
                    raise UsageError(
                        f"The output {path} would replace {member}, which belongs to the input {inputs[identifier]}.",
                        hint="Choose another name for the output.",
                    )


def whereabouts(name: str | Path) -> Hashable:
    """Return an identifier of an input that does not depend on its name; for other than local files, the name."""
    try:
        status = os.stat(name)
    except (OSError, ValueError):
        return str(name)
    return status.st_dev, status.st_ino


def _whose(file: Path, name: str) -> str:
    """Describe a file and the input to which it belongs."""
    return name if Path(name).absolute() == file else f"{file} of {name}"
