from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from satseg.errors import OutputError
from satseg.files.atomic_write import atomic_write, commit, locked, restore, work_folder


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as work:
        work.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_what_stood_there_stays_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as work:
        work.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "tiles"
    path.mkdir()
    (path / "old").touch()
    with atomic_write(path) as work:
        work.mkdir()
        (work / "new").touch()
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_files_beside_the_named_one_come_along(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.shp") as work:
        work.touch()
        work.with_suffix(".dbf").touch()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.dbf", "a.shp"]


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "b.txt") as work:
        left = work_folder(tmp_path / "a.txt") / work.parent.name
        left.mkdir(parents=True)
        (left / "rubbish").touch()
        work.touch()
    with atomic_write(tmp_path / "a.txt") as work:
        work.touch()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_what_serves_resuming_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    work_folder(path).mkdir()
    (work_folder(path) / "journal").touch()
    with atomic_write(path) as work:
        work.touch()
    assert path.exists()
    assert [entry.name for entry in work_folder(path).iterdir()] == ["journal"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write to"), atomic_write(tmp_path / "file" / "a.txt"):
        pass


def test_a_folder_in_the_place_of_a_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    path.mkdir()
    with pytest.raises(OutputError, match=r"Cannot write .*/a\.gpkg: Is a directory"), atomic_write(path) as work:
        work.touch()


@pytest.mark.parametrize(
    ("name", "stale", "kept"),
    [
        ("a.tif", ("a.tif.ovr", "a.tif.msk", "a.tif.aux.xml", "a.tfw"), ("a.qml", "a.prj")),
        ("a.gpkg", ("a.gpkg-wal", "a.gpkg-shm", "a.gpkg-journal"), ("a.qml",)),
        ("a.shp", ("a.qix", "a.sbn", "a.sbx", "a.cpg", "a.prj", "a.CPG"), ("a.qml", "a.shp.xml", "a.tif")),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_the_family_of_the_old_file_goes(
    tmp_path: Path, name: str, stale: tuple[str, ...], kept: tuple[str, ...], there: bool
) -> None:
    for file in (*stale, *kept, *([name] if there else [])):
        (tmp_path / file).write_text("old")
    with atomic_write(tmp_path / name) as work:
        work.write_text("new")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {name: "new"} | dict.fromkeys(kept, "old")


def test_the_new_family_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    for name in ("a.tif", "a.tif.aux.xml", "a.tif.ovr"):
        (tmp_path / name).write_text("old")
    with atomic_write(tmp_path / "a.tif") as work:
        for name in ("a.tif", "a.tif.aux.xml"):
            (work.parent / name).write_text("new")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a.tif": "new", "a.tif.aux.xml": "new"}


class KilledError(BaseException):
    """Stands for a kill: nothing that tidies up comes to run."""


@pytest.mark.parametrize("name", ["a.tif", "a.shp", "tiles"])
@pytest.mark.parametrize("moves", range(9))
def test_a_kill_leaves_the_old_or_the_new_and_never_both_mixed(
    tmp_path: Path, name: str, moves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    ends = {"a.tif": (".aux.xml", ".msk"), "a.shp": (".dbf", ".shx", ".qix"), "tiles": ()}[name]
    beside = [path.with_suffix(end) if name == "a.shp" else Path(f"{path}{end}") for end in ends]
    make(path, "old")
    for file in beside:
        file.write_text("old")
    new = work_folder(path) / "new"
    new.mkdir(parents=True)
    make(new / name, "new")
    for file in beside[:2]:
        (new / file.name).write_text("new")
    left = iter(range(moves))
    replace = os.replace

    def stop(source: Path, target: Path) -> None:
        if next(left, None) is None:
            raise KilledError
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop)
    with suppress(KilledError):
        commit(new, path)
    monkeypatch.undo()
    ages = {age_of(file) for file in (path, *beside) if file.exists()}
    assert ages <= {"old"} or ages <= {"new"} or not path.exists()
    restore(path)
    ages = {age_of(file) for file in (path, *beside) if file.exists()}
    assert path.exists()
    assert ages in ({"old"}, {"new"})
    if ages == {"old"}:
        assert all(file.exists() for file in beside)


def make(path: Path, age: str) -> None:
    if path.suffix:
        path.write_text(age)
    else:
        path.mkdir()
        (path / "age").write_text(age)


def age_of(path: Path) -> str:
    return (path / "age" if path.is_dir() else path).read_text()


def test_what_cannot_be_moved_leaves_the_old_family_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.mkdir()
    (tmp_path / "a.tif.msk").write_text("old")
    with pytest.raises(OutputError, match="Is a directory"), atomic_write(path) as work:
        work.touch()
    assert (tmp_path / "a.tif.msk").read_text() == "old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tif", "a.tif.msk"]


def test_a_file_is_never_turned_into_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary")
    with pytest.raises(OutputError, match="Not a directory"), atomic_write(path) as work:
        work.mkdir()
    assert path.read_text() == "dear diary"


def test_taking_a_lock_restores_what_an_interrupted_run_left(tmp_path: Path) -> None:
    path, work = tmp_path / "a.shp", work_folder(tmp_path / "a.shp")
    for file in (work / "replaced" / "a.shp", work / "replaced" / "a.dbf", work / "new" / "a.shp", tmp_path / "a.dbf"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("old" if file.parent.name == "replaced" else "new")
    with locked(path):
        assert path.read_text() == (tmp_path / "a.dbf").read_text() == "old"
        assert not (work / "replaced").exists()


def test_a_file_that_is_found_by_two_names_is_moved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on file systems that ignore case, where a.tif.ovr is found as a.tif.OVR, too."""
    monkeypatch.setattr("satseg.files.atomic_write.existing_sidecars", lambda path: [tmp_path / "a.tif.ovr"] * 2)
    (tmp_path / "a.tif.ovr").touch()
    with atomic_write(tmp_path / "a.tif") as work:
        work.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
