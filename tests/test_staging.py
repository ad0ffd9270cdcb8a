from __future__ import annotations

from pathlib import Path

import pytest

from satseg.errors import OutputError
from satseg.staging import staged, work_folder


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with staged(path) as work:
        work.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_what_stood_there_stays_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), staged(path) as work:
        work.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "tiles"
    path.mkdir()
    (path / "old").touch()
    with staged(path) as work:
        work.mkdir()
        (work / "new").touch()
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_files_beside_the_named_one_come_along(tmp_path: Path) -> None:
    with staged(tmp_path / "a.shp") as work:
        work.touch()
        work.with_suffix(".dbf").touch()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.dbf", "a.shp"]


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    with staged(tmp_path / "b.txt") as work:
        left = work_folder(tmp_path / "a.txt") / work.parent.name
        left.mkdir(parents=True)
        (left / "rubbish").touch()
        work.touch()
    with staged(tmp_path / "a.txt") as work:
        work.touch()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_what_serves_resuming_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    work_folder(path).mkdir()
    (work_folder(path) / "journal").touch()
    with staged(path) as work:
        work.touch()
    assert path.exists()
    assert [entry.name for entry in work_folder(path).iterdir()] == ["journal"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write to"), staged(tmp_path / "file" / "a.txt"):
        pass


def test_a_folder_in_the_place_of_a_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    path.mkdir()
    with pytest.raises(OutputError, match=r"Cannot write .*/a\.gpkg: Is a directory"), staged(path) as work:
        work.touch()
