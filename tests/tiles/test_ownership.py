from __future__ import annotations

from pathlib import Path

import pytest

from satseg.errors import OutputError
from satseg.tiles.ownership import check_own, foreign_entries


@pytest.fixture
def tile_set(tmp_path: Path) -> Path:
    folder = tmp_path / "tiles"
    for kind in ("images", "labels", "objects"):
        (folder / kind).mkdir(parents=True)
        for name in ("a_0_0.tif", "town 2_256_512.tif"):
            (folder / kind / name).touch()
    for name in ("tileset.json", "index.parquet", "moments.parquet"):
        (folder / name).touch()
    return folder


def test_a_tile_set_may_go(tile_set: Path) -> None:
    check_own(tile_set)
    check_own(tile_set.parent / "absent")


def test_what_programs_lay_beside_tiles_goes_with_them(tile_set: Path) -> None:
    (tile_set / "images" / "a_0_0.tif.aux.xml").touch()
    (tile_set / "labels" / "a_0_0.tif.ovr").touch()
    (tile_set / ".index.parquet.satseg").mkdir()
    (tile_set / ".DS_Store").touch()
    (tile_set / "images" / "Thumbs.db").touch()
    check_own(tile_set)


@pytest.mark.parametrize(
    "name", ["thesis.docx", "images/photo.tif", "labels/notes.txt", "images/b_0_0.tif.ovr", "more/a.tif", ".git/config"]
)
def test_what_others_put_there_is_named(tile_set: Path, name: str) -> None:
    (tile_set / name).parent.mkdir(exist_ok=True)
    (tile_set / name).touch()
    with pytest.raises(OutputError, match="holds more than a tile set") as caught:
        check_own(tile_set)
    assert name.split("/")[0] in caught.value.message
    assert (tile_set / name).exists()


def test_links_to_other_folders_are_no_tiles(tile_set: Path, tmp_path: Path) -> None:
    (tile_set / "images").rename(tmp_path / "elsewhere")
    (tile_set / "images").symlink_to(tmp_path / "elsewhere")
    assert [entry.name for entry in foreign_entries(tile_set)] == ["images"]


def test_any_other_folder_is_no_tile_set(tmp_path: Path) -> None:
    check_own(tmp_path)
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(OutputError, match=r"is not a tile set .* holds thesis\.docx, which satseg did not write"):
        check_own(tmp_path)
