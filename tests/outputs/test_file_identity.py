from __future__ import annotations

import os
from pathlib import Path

import pytest

from satseg.outputs import file_identity
from satseg.outputs.file_identity import identifiers, ignores_case, is_within


def same(one: Path, other: Path) -> bool:
    return not identifiers(one).isdisjoint(identifiers(other))


def test_links_lead_to_one_place(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "a.tif"
    file.touch()
    (tmp_path / "link.tif").symlink_to(file)
    (tmp_path / "hard.tif").hardlink_to(file)
    (tmp_path / "folder").symlink_to(tmp_path / "data")
    others = ("link.tif", "hard.tif", "folder/a.tif", "data/../data/a.tif", "folder/../data/./a.tif")
    assert all(same(file, tmp_path / other) for other in others)
    (tmp_path / "b.tif").touch()
    assert not same(file, tmp_path / "b.tif")


def test_files_that_are_not_there_yet_have_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "data")
    monkeypatch.chdir(tmp_path / "data")
    assert same(Path("new/a.tif"), tmp_path / "folder" / "new" / "a.tif")
    assert same(Path("a.tif"), tmp_path / "folder" / "a.tif")
    assert not same(Path("new/a.tif"), Path("a.tif"))


def test_a_file_keeps_its_place_when_it_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    before = identifiers(path)
    path.touch()
    made = identifiers(path)
    os.replace(path, tmp_path / "b.tif")
    path.touch()
    assert before & made & identifiers(path)


def test_case_counts_where_the_file_system_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some.txt").touch()
    if ignores_case(str(tmp_path)):
        assert same(tmp_path / "a.tif", tmp_path / "A.TIF")
        return
    assert not same(tmp_path / "a.tif", tmp_path / "A.TIF")
    monkeypatch.setattr(file_identity, "ignores_case", lambda *_: True)
    assert same(tmp_path / "new" / "a.tif", tmp_path / "New" / "A.TIF")


def test_case_is_found_out_by_an_entry_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some.txt").touch()
    samefile = os.path.samefile
    monkeypatch.setattr(os.path, "samefile", lambda one, other: samefile(one.lower(), other.lower()))
    folder = tmp_path / "Lower"
    folder.mkdir()
    lowered = Path(str(tmp_path).lower())
    if lowered != tmp_path:
        pytest.skip("the folder of the test has capitals")
    assert ignores_case(str(tmp_path))


def test_the_family_of_a_shapefile_is_where_it_is(tmp_path: Path) -> None:
    assert not identifiers(tmp_path / "a.shp", with_sidecars=True).isdisjoint(identifiers(tmp_path / "a.dbf"))
    assert identifiers(tmp_path / "a.shp").isdisjoint(identifiers(tmp_path / "a.dbf"))


def test_what_lies_in_a_folder_is_found_through_links(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    assert is_within(tmp_path / "link" / "inner" / "a.tif", tmp_path / "folder")
    assert is_within(tmp_path / "folder", tmp_path / "link")
    assert not is_within(tmp_path / "folder.tif", tmp_path / "folder")
    assert not is_within(tmp_path / "a.tif", tmp_path / "absent")
