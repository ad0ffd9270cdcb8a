"""A map in progress on disk: its work rasters, and a journal from which it can be resumed after an interruption."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from satseg.errors import OutputError, ResumeError
from satseg.fields import typed
from satseg.mapfile.work_raster import WorkRaster
from satseg.outputs.lock import clear
from satseg.records import MapLayer

_IDENTITY = "identity.json"
_ROWS = "rows.log"
INCOMPLETE = "incomplete"
"""Name of a file in the work folder that marks its contents as incomplete."""


class MapWork:
    """Work rasters of a map, one for each layer, and the number of rows finished in all of them.

    The outputs of the map, and with them this folder, must be locked (:func:`satseg.outputs.lock.locked`).

    Cells may be written in any order below the finished rows. :meth:`commit` finishes rows: first their data are
    flushed to disk, then a line with their number is appended to the journal. An incomplete line is ignored.

    Args:
        folder: Work folder, created if missing.
        identity: Everything that determines the map, as JSON values: scene, model, plan, settings.
        height: Rows of the map.
        width: Columns of the map.
        layers: Bands of each layer.
        resume: Whether to continue the map in the folder, which must have the same identity. False starts anew.

    Raises:
        OutputError: The folder is not writable, or holds another map.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        *,
        height: int,
        width: int,
        layers: Mapping[MapLayer, int],
        resume: bool = False,
    ) -> None:
        self.folder = folder
        found = stored_identity(folder) if resume else None
        if found is not None:
            _check_same(found, identity, folder)
        try:
            if found is None:
                folder.mkdir(parents=True, exist_ok=True)
                clear(folder)
                _write_aside(folder / _IDENTITY, json.dumps(identity, indent=1))
            self._journal = (folder / _ROWS).open("ab", buffering=0)
        except OSError as error:
            raise OutputError(f"Cannot write to {folder.parent}: {error.strerror}.") from error
        self.finished, length = _read_journal(folder / _ROWS)
        self._journal.truncate(length)  # a line that was cut off goes
        self.rasters = {
            layer: WorkRaster(folder / f"{layer.value}.raw", height=height, width=width, bands=bands, dtype=layer.dtype)
            for layer, bands in layers.items()
        }

    def write(self, top: int, left: int, layers: Mapping[MapLayer, np.ndarray]) -> None:
        """Write a cell: (band, row, col) for each layer."""
        for layer, values in layers.items():
            self.rasters[layer].write(top, left, values)

    def commit(self, rows: int) -> None:
        """Record that all rows above ``rows`` are finished.

        Raises:
            OutputError: The disk is full or has failed.
        """
        for raster in self.rasters.values():
            raster.sync()
        try:
            self._journal.write(f"{rows}\n".encode())
            os.fsync(self._journal.fileno())
        except OSError as error:
            raise OutputError(f"Cannot write {self.folder / _ROWS}: {error.strerror}.") from error
        self.finished = rows

    def close(self) -> None:
        """Close the files and keep them."""
        for raster in self.rasters.values():
            raster.close()
        self._journal.close()

    def remove(self) -> None:
        """Close and delete all files; the folder remains while it is locked."""
        self.close()
        with suppress(OSError):
            clear(self.folder)
            self.folder.rmdir()

    def __enter__(self) -> MapWork:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def stored_identity(folder: Path) -> dict[str, Any] | None:
    """Return the identity of the map in a work folder, or None if there is none to continue."""
    try:
        found = json.loads((folder / _IDENTITY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def is_begun(folder: Path) -> bool:
    """Tell whether a work folder has an incomplete map."""
    return (folder / INCOMPLETE).exists() or any(folder.rglob(_IDENTITY))


def has_finished_rows(folder: Path) -> bool:
    """Tell whether a work folder, or a part of it, has finished rows."""
    return any(_read_journal(journal)[0] for journal in folder.rglob(_ROWS))


def _read_journal(path: Path) -> tuple[int, int]:
    """Return the number of finished rows, and the length of the journal up to its last complete line."""
    lines, newline, _ = path.read_bytes().rpartition(b"\n")
    return max(map(int, lines.split()), default=0), len(lines + newline)


def _check_same(found: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    expected = json.loads(json.dumps(wanted))  # tuples become lists, as in the file
    changed = list(_differences(found, expected))
    if not changed:
        return
    name, before, now = changed[0]
    more = f" (and {', '.join(other for other, *_ in changed[1:])})" if changed[1:] else ""
    raise ResumeError(
        f"The map begun in {folder} cannot be continued: its {name} was {typed(before)}, now it is {typed(now)}{more}.",
        hint="Use the same settings as before, or start again without `resume`.",
    )


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], of: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield name, stored value and current value of the entries in which two identities differ."""
    for key in sorted({*found, *wanted}, key=lambda name: (name != "settings", name)):  # settings of the user first
        before, now = found.get(key), wanted.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _differences(before, now, of="" if key == "settings" else f"{of}{key} ")
        elif before != now:
            yield f"{of}{key}", before, now


def _write_aside(path: Path, text: str) -> None:
    aside = path.with_name(f"{path.name}.new")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
