from __future__ import annotations

import os
from pathlib import Path

import pytest

from satseg.errors import OutputError
from satseg.files.atomic_write import atomic_write
from satseg.outputs.writable import check_file, check_folder


def test_what_can_be_written_passes_and_nothing_is_made(tmp_path: Path) -> None:
    check_file(tmp_path / "new" / "deep" / "a.tif")
    check_folder(tmp_path / "new" / "tiles")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_and_a_file_are_not_taken_for_each_other(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="folder is a folder"):
        check_file(tmp_path / "folder")
    with pytest.raises(OutputError, match="file is a file"):
        check_folder(tmp_path / "file")
    for check in (check_file, check_folder):
        with pytest.raises(OutputError, match=r"would be in .*file, which is not a folder"):
            check(tmp_path / "file" / "new" / "a.tif")
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(OutputError, match="not a regular file"):
        check_file(tmp_path / "pipe.tif")


def test_rights_are_asked_for_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tif").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may do anything
    for name in ("a.tif", "new/b.tif"):
        with pytest.raises(OutputError, match=rf"{name} would be in {tmp_path}, which is not writable"):
            check_file(tmp_path / name)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path / "tiles")
    (tmp_path / "tiles").mkdir()
    with pytest.raises(OutputError, match="tiles is not writable"):
        check_folder(tmp_path / "tiles")


@pytest.mark.parametrize(("name", "fits"), [("{}.fgb", 251), ("{}.gpkg", 242), ("{}.tif", 243), ("{}.shp", 251)])
def test_names_have_room_for_what_is_written_beside(tmp_path: Path, name: str, fits: int) -> None:
    path = tmp_path / name.format("a" * fits)
    check_file(path)
    with atomic_write(path) as work:
        work.touch()
    with pytest.raises(OutputError, match=r"too long: .* 256 bytes, and .* allows 255"):
        check_file(tmp_path / name.format("a" * (fits + 1)))
    with pytest.raises(OutputError, match="too long"):
        check_file(tmp_path / ("a" * 256) / name.format("a"))


def test_geopackages_of_others_are_refused(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "a.gpkg") as database:
        database.execute("CREATE TABLE mine (x)")
    database.close()
    with pytest.raises(OutputError, match="lost: mine"):
        check_file(tmp_path / "a.gpkg")


@pytest.mark.parametrize("name", ["a.dbf", "a.DBF", "a.prj"])
def test_a_table_without_a_shapefile_is_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(OutputError, match=rf"would replace .*{name}, which does not belong to a Shapefile"):
        check_file(tmp_path / "a.shp")
    check_file(tmp_path / "a.gpkg")
    (tmp_path / "a.shp").touch()
    check_file(tmp_path / "a.shp")
