"""GeoPackages that are to be replaced: is another program at work in them, and whose are the layers they hold?"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from satseg.errors import OutputError

_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_PATIENCE = 1.0  # seconds for which another program may look into a file
_MARK = "SATSEG_SCENE"  # stands in the metadata of every layer that satseg writes
_OWN_TABLES = ("gpkg_*", "rtree_*", "sqlite_*", "layer_styles", "ogr_empty_table")


def check_replaceable(path: Path) -> None:
    """Refuse to replace a GeoPackage that is in use, or holds more than satseg's own layers.

    Args:
        path: The file; it need not exist. What is no database is replaced like any file.

    Raises:
        OutputError: Another program has it open and could write into what is replaced; or it holds tables of others,
            which would be lost.
    """
    settle(path)
    foreign = foreign_tables(path)
    if foreign:
        raise OutputError(
            f"The GeoPackage {path} holds what satseg did not write, and it would be lost: {_listed(foreign)}.",
            hint="Name another file; satseg replaces GeoPackages of its own only.",
        )


def settle(path: Path) -> None:
    """Bring what stands in the journal of a GeoPackage into it, so that it is one whole file without relatives.

    Raises:
        OutputError: Another program has it open: it reads or writes at this moment, or keeps the journal that programs
            share (``-wal``).
    """
    if not path.is_file():
        return
    try:
        with _opened(path, "rw") as database:
            # SQLite does both only where it is alone in the file: the first one ends the journal that programs share.
            database.execute("PRAGMA journal_mode = DELETE")
            database.execute("BEGIN EXCLUSIVE")
            database.execute("ROLLBACK")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "").startswith(_BUSY):
            raise OutputError(
                f"Another program has {path} open, so that it cannot be replaced.",
                hint="Close the layer there (in QGIS: remove it, or end editing), or name another output.",
            ) from error  # anything else: it is broken, or no database


def foreign_tables(path: Path) -> list[str]:
    """Return the tables and views of a GeoPackage that satseg did not write, sorted; none where it is no database."""
    if not path.is_file():
        return []
    try:
        with _opened(path, "ro") as database:
            names = database.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
                + " AND name NOT GLOB ?" * len(_OWN_TABLES),
                _OWN_TABLES,
            ).fetchall()
            own = _own_layers(database) if names else set()
    except sqlite3.Error:
        return []
    return sorted(name for (name,) in names if name not in own)


def _own_layers(database: sqlite3.Connection) -> set[str]:
    try:
        rows = database.execute(
            "SELECT table_name FROM gpkg_metadata_reference JOIN gpkg_metadata ON md_file_id = id "
            "WHERE instr(metadata, ?)",
            (_MARK,),
        )
        return {name for (name,) in rows}
    except sqlite3.Error:  # no metadata at all
        return set()


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_PATIENCE)) as database:
        database.isolation_level = None
        yield database


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
