from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import geopandas
import pyogrio
import pytest
from shapely import Point

from satseg.errors import OutputError
from satseg.files.atomic_write import atomic_write
from satseg.outputs.geopackage import check_replaceable, foreign_tables, settle
from satseg.outputs.sidecars import STYLE_MARK


def write(path: Path, layer: str, *, own: bool, append: bool = False, value: str = "as written") -> None:
    frame = geopandas.GeoDataFrame({"name": [value]}, geometry=[Point(1, 2)], crs="EPSG:32633")
    metadata = {"SATSEG_SCENE": "a.tif"} if own else {"TITLE": "mine"}
    pyogrio.write_dataframe(frame, path, layer=layer, append=append, layer_metadata=metadata)


def crashed(path: Path) -> None:
    """Leave a GeoPackage with an edit that stands in its journal alone."""
    write(path, "map", own=True)
    copy = path.parent / "copy"
    copy.mkdir()
    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute("CREATE TABLE notes (note)")
        for file in sorted(path.parent.glob("a.gpkg*")):
            shutil.copy(file, copy)
    database.close()
    for file in copy.iterdir():
        file.replace(path.parent / file.name)
    copy.rmdir()


def test_what_a_crash_left_in_the_journal_is_brought_in(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    crashed(path)
    assert (tmp_path / "a.gpkg-wal").exists()
    settle(path)
    assert list(tmp_path.iterdir()) == [path]
    assert foreign_tables(path) == ["notes"]


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_geopackage_that_is_open_is_not_replaced(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.gpkg"
    write(path, "map", own=True)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(f"PRAGMA journal_mode = {mode}")
    database.execute("BEGIN" if mode == "WAL" else "BEGIN IMMEDIATE")
    database.execute("SELECT * FROM gpkg_contents").fetchall()
    with pytest.raises(OutputError, match=r"Another program has .*a\.gpkg open"):
        check_replaceable(path)
    database.close()
    check_replaceable(path)
    assert list(tmp_path.iterdir()) == [path]


def test_layers_of_others_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    write(path, "map", own=True)
    check_replaceable(path)
    for name in ("roads", "rivers"):
        write(path, name, own=False, append=True)
    before = path.read_bytes()
    assert foreign_tables(path) == ["rivers", "roads"]
    with pytest.raises(OutputError, match=r"a\.gpkg has tables that satseg did not write, .* lost: rivers, roads\."):
        check_replaceable(path)
    assert path.read_bytes() == before


def test_a_project_of_qgis_is_somebody_elses(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    write(path, "map", own=True)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE qgis_projects (name TEXT)")
    database.close()
    assert foreign_tables(path) == ["qgis_projects"]


@pytest.mark.parametrize("content", [b"", b"no database", None])
def test_what_is_no_database_is_replaced(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a #?%.gpkg"
    if content is not None:
        path.write_bytes(content)
    check_replaceable(path)
    assert list(tmp_path.iterdir()) == ([] if content is None else [path])


STYLE = {"description": "", "f_table_schema": "", "f_geometry_column": "geom", "styleQML": "<qgis/>", "useAsDefault": 1}


def save_style(path: Path, layer: str, name: str, *, time: str, **values: str) -> None:
    """Save a style in the table that QGIS makes for them."""
    columns = [*STYLE, "f_table_name", "styleName", time]
    with sqlite3.connect(path) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'layer_styles'").fetchone():
            database.execute(f"CREATE TABLE layer_styles (fid INTEGER PRIMARY KEY, {', '.join(columns)})")
            database.execute(
                "INSERT INTO gpkg_contents (table_name, data_type, identifier) "
                "VALUES ('layer_styles', 'attributes', 'layer_styles')"
            )
        row = [*(STYLE | values).values(), layer, name, "2026-01-02T03:04:05.000Z"]
        database.execute(f"INSERT INTO layer_styles ({', '.join(columns)}) VALUES ({', '.join('?' * 8)})", row)
    database.close()


@pytest.mark.parametrize("time", ["update_time", "another_column"])
def test_styles_that_users_have_saved_for_the_layer_go_with_it(tmp_path: Path, time: str) -> None:
    path = tmp_path / "a.gpkg"
    write(path, "a", own=True)
    save_style(path, "a", "mine", time=time)
    save_style(path, "another", "of what is gone", time=time)
    save_style(path, "a", "classes", time=time, description="Colours of the classes")  # of satseg, once
    for _ in range(2):
        with atomic_write(path) as work:
            write(work, "a", own=True, value="anew")
    assert pyogrio.read_dataframe(path, layer="a")["name"].tolist() == ["anew"]
    table = pyogrio.read_dataframe(path, layer="layer_styles")
    assert table.f_table_name.tolist() == ["a"]
    assert table.styleName.tolist() == ["mine"]
    assert table.update_time.isna().all() == (time != "update_time")
    assert {name: table[name][0] for name in STYLE} == STYLE
    assert foreign_tables(path) == []


def test_a_style_of_the_user_beside_the_file_stays_and_that_of_satseg_goes_with_its_layer(tmp_path: Path) -> None:
    path, style = tmp_path / "a.gpkg", tmp_path / "a.qml"

    def replace(text: str | None) -> None:
        with atomic_write(path) as work:
            write(work, "a", own=True)
            if text is not None:
                work.with_suffix(".qml").write_text(text)

    replace(f"<qgis>{STYLE_MARK} red</qgis>")
    replace(f"<qgis>{STYLE_MARK} blue</qgis>")
    assert "blue" in style.read_text()
    replace(None)  # of ids, which have no classes
    assert not style.exists()
    style.write_text("<qgis>mine</qgis>")
    replace(f"<qgis>{STYLE_MARK} blue</qgis>")
    assert style.read_text() == "<qgis>mine</qgis>"
