"""Check whether a GeoPackage can be replaced: no other program has it open, and satseg wrote all of its layers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from satseg.arguments import list_few
from satseg.errors import OutputError

_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_PATIENCE = 1.0  # seconds to wait for another program that has locked a file
_MARK = "SATSEG_SCENE"  # in the metadata of every layer that satseg writes
_STYLES = "layer_styles"  # table in which QGIS stores styles
_OWN_STYLE = "Colours of the classes"  # description of styles that earlier versions of satseg wrote there
_STYLE_COLUMNS = (
    "f_table_catalog TEXT(256)",
    "f_table_schema TEXT(256)",
    "f_table_name TEXT(256)",
    "f_geometry_column TEXT(256)",
    "styleName TEXT(30)",
    "styleQML TEXT",
    "styleSLD TEXT",
    "useAsDefault BOOLEAN",
    "description TEXT",
    "owner TEXT(30)",
    "ui TEXT(30)",
    "update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
)
_OWN_TABLES = ("gpkg_*", "rtree_*", "sqlite_*", _STYLES, "ogr_empty_table")


def check_replaceable(path: Path) -> None:
    """Refuse to replace a GeoPackage that is in use, or has layers that satseg did not write.

    Args:
        path: The file; it need not exist. A file that is not a database may be replaced.

    Raises:
        OutputError: Another program has it open, or it has tables of others, which would be lost.
    """
    settle(path)
    foreign = foreign_tables(path)
    if foreign:
        raise OutputError(
            f"The GeoPackage {path} has tables that satseg did not write, which would be lost: {list_few(foreign)}.",
            hint="Choose another file; satseg replaces only GeoPackages that it wrote.",
        )


def settle(path: Path) -> None:
    """Merge the journal of a GeoPackage into it, so that it is a single file.

    Raises:
        OutputError: Another program has it open: it is reading or writing, or keeps a shared journal (``-wal``).
    """
    if not path.is_file():
        return
    try:
        with _opened(path, "rw") as database:
            # SQLite permits both only to the sole user of a file; the first one removes the shared journal.
            database.execute("PRAGMA journal_mode = DELETE")
            database.execute("BEGIN EXCLUSIVE")
            database.execute("ROLLBACK")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "").startswith(_BUSY):
            raise OutputError(
                f"Another program has {path} open, so it cannot be replaced.",
                hint="Close the layer there (in QGIS: remove it, or stop editing), or choose another output.",
            ) from error  # any other error: it is damaged, or not a database


def foreign_tables(path: Path) -> list[str]:
    """Return the tables and views of a GeoPackage that satseg did not write, sorted; empty if it is not a database."""
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
    except sqlite3.Error:  # no metadata
        return set()


def carry_styles(old: Path, new: Path) -> None:
    """Copy the styles that users saved in a GeoPackage with QGIS to the one that replaces it.

    Args:
        old: The file to be replaced; it need not exist, or be a database.
        new: Its replacement, which gets the styles of its layers.
    """
    names = [column.split()[0] for column in _STYLE_COLUMNS]
    saved = _saved_styles(old, names)
    if not saved:
        return
    with closing(sqlite3.connect(new)) as database, database:
        layers = {name for (name,) in database.execute("SELECT table_name FROM gpkg_contents")}
        rows = [row for row in saved if row[names.index("f_table_name")] in layers]
        if not rows:
            return
        database.execute(f"CREATE TABLE {_STYLES} (id INTEGER PRIMARY KEY AUTOINCREMENT, {', '.join(_STYLE_COLUMNS)})")
        places = ", ".join("?" * len(names))
        database.executemany(f"INSERT INTO {_STYLES} ({', '.join(names)}) VALUES ({places})", rows)
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, last_change, srs_id) "
            "SELECT ?, 'attributes', ?, max(last_change), 0 FROM gpkg_contents",
            (_STYLES, _STYLES),
        )


def _saved_styles(path: Path, names: list[str]) -> list[tuple[object, ...]]:
    """Return the rows of the table of styles, with the given columns; empty if there is no such table."""
    if not path.is_file():
        return []
    try:
        with _opened(path, "ro") as database:
            known = {name for _, name, *_ in database.execute(f"PRAGMA table_info({_STYLES})")}
            columns = ", ".join(name if name in known else "NULL" for name in names)
            query = f"SELECT {columns} FROM {_STYLES} WHERE description IS NOT ? ORDER BY rowid"
            return database.execute(query, (_OWN_STYLE,)).fetchall()
    except sqlite3.Error:
        return []


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_PATIENCE)) as database:
        database.isolation_level = None
        yield database
