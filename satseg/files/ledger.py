"""What a run reads and what it writes: no file is both, and none is written twice."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from pathlib import Path

from satseg.errors import UsageError
from satseg.files.local_files import beside, local_files
from satseg.files.names import is_local_file
from satseg.outputs.families import needs_family, relatives
from satseg.outputs.places import is_within, names_of, places
from satseg.outputs.writable import check_file, check_folder


class Ledger:
    """All inputs and outputs of a run, entered before any work; inputs that come later, when they come.

    A file is known by where it lies, whatever it is called: see :mod:`satseg.outputs.places`.

    Args:
        names: Inputs: files, URLs, GDAL's names, with layers or without. None is passed over.
    """

    def __init__(self, names: Iterable[str | Path | None] = ()) -> None:
        self._read: dict[Hashable, str] = {}
        self._named: dict[Hashable, str] = {}  # those that do not merely lie beside an input
        self._names: set[str] = set()
        self._folders: list[tuple[Path, str]] = []
        self._files: list[tuple[Path, str]] = []
        self._written: dict[Hashable, str] = {}
        self.read(*names)

    def read(self, *names: str | Path | None) -> None:
        """Enter inputs; of a mosaic or archive, all that it is made of.

        Raises:
            UsageError: This run has written one of them, or is about to.
        """
        for name in map(str, filter(None, names)):
            if name in self._names:  # nothing that is written since can be it
                continue
            self._names.add(name)
            if is_local_file(name) and Path(name).is_dir():
                self._folders.append((Path(name), name))
                continue
            files = local_files(name) or ([Path(name).absolute()] if is_local_file(name) else [])
            sidecars = {file for main in files for file in beside(main)} - {Path(name).absolute()}
            for file in files:
                for place in places(file):
                    if place in self._written:
                        raise UsageError(
                            f"{_whose(file, name)} is read, but this run writes it: {self._written[place]}.",
                            hint="Leave it out, or name other outputs.",
                        )
                    self._read.setdefault(place, _whose(file, name))
                    if file not in sidecars:
                        self._named.setdefault(place, _whose(file, name))
                self._files.append((file, name))

    def write(self, path: Path, what: str = "") -> None:
        """Enter an output file, and check that it can be written.

        Args:
            path: Where it goes.
            what: What it is, in a few words, for those who would write it again.

        Raises:
            UsageError: It is an input or part of one, or would destroy what belongs to one; or it is written already.
            OutputError: It cannot be written.
        """
        self._check_unread(path)
        found = names_of(path, family=needs_family(path))
        if not self._written.keys().isdisjoint(found):
            raise UsageError(f"The output {path} is named twice.")
        check_file(path)
        self._written |= dict.fromkeys(found, what or str(path))

    def forget_outputs(self) -> None:
        """Take it that nothing is written yet."""
        self._written = {}

    def written_as(self, path: Path) -> str | None:
        """Return what an output was said to be, or None where nothing is written there yet."""
        return next((self._written[place] for place in names_of(path) if place in self._written), None)

    def replace_folder(self, folder: Path) -> None:
        """Check that an output folder can be written, and holds no input.

        Raises:
            UsageError: An input lies in it, or is it.
            OutputError: It cannot be written.
        """
        check_folder(folder, replaced=True)
        for path, name in [*self._files, *self._folders]:
            if is_within(path, folder):
                raise UsageError(
                    f"{_whose(path, name)} is read, and lies in the output folder {folder}.",
                    hint="Choose another folder with -o.",
                )

    def _check_unread(self, path: Path) -> None:
        for place in places(path):
            if place in self._read:
                called = "" if self._read[place] == str(path) else f", as {self._read[place]}"
                raise UsageError(
                    f"The output {path} is read, too{called}: it would be overwritten.",
                    hint="Name another output.",
                )
        for folder, name in self._folders:
            if os.path.exists(path) and is_within(path, folder):
                raise UsageError(f"The output {path} lies in {name}, which is read.", hint="Name another output.")
        inputs = self._named if os.path.exists(path) else self._read  # what lies beside a file that is there is its own
        for member in relatives(path):
            for place in places(member):
                if place in inputs:
                    raise UsageError(
                        f"The output {path} would replace {member}, which is read as {inputs[place]}.",
                        hint="Give the output another name.",
                    )


def whereabouts(name: str | Path) -> Hashable:
    """Return what all names of one input have in common: which file it is; of what is no file here, the name."""
    try:
        status = os.stat(name)
    except (OSError, ValueError):
        return str(name)
    return status.st_dev, status.st_ino


def _whose(file: Path, name: str) -> str:
    """Say which input a file is part of."""
    return name if Path(name).absolute() == file else f"{file} of {name}"
