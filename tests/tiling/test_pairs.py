from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from satseg.errors import UsageError
from satseg.tiling.pairs import find_pairs


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(*places: str) -> dict[str, str]:
    """Return the file of labels by scene."""
    assert len(places) == 2
    pairs = find_pairs(places)
    assert all(len(pair.labels) == 1 for pair in pairs)
    return {pair.scene: pair.labels[0] for pair in pairs}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("scenes", "labels"),
    [
        ("i/{}.tif", "m/{}.tif"),
        ("i/{}.TIF", "m/{}.png"),
        ("i/photo_{}_a.png", "m/mask_{}.png"),
        ("i/{}.tif", "m/{}.geojson"),
    ],
)
def test_files_of_two_folders_belong_together_by_their_names(scenes: str, labels: str) -> None:
    touch(Path(), *(text.format(i) for text in (scenes, labels) for i in (1, 2, 10)))
    touch(Path(), "i/._1.tif", "m/1.tif.aux.xml", "m/notes.txt")
    assert found("i", "m") == {scenes.format(i): labels.format(i) for i in (1, 2, 10)}


@pytest.mark.parametrize(
    ("scene", "label", "patterns"),
    [
        ("S1/{}_S1Hand.tif", "labels/{}_LabelHand.tif", ("S1/{stem}_S1Hand.tif", "labels/{stem}_LabelHand.tif")),
        ("{}/image.tif", "{}/mask.tif", ("{stem}/image.tif", "{stem}/mask.tif")),
        ("./a/{}.tif", "../{}.png", ("./a/{stem}.tif", "../{stem}.png")),
        ("{0}/{0}_x.tif", "{0}/{0}_y.tif", ("{stem}/{stem}_x.tif", "{stem}/{stem}_y.tif")),
        ("s/x/y/{}.tif", "s/m/{}.tif", ("s/**/y/{stem}.tif", "s/m/{stem}.tif")),
        ("s/{}_20240102_img.tif", "s/{}_msk.tif", ("s/{stem}_*_img.tif", "s/{stem}_msk.tif")),
        ("s/{}.JP2", "s/{}.Tif", ("s/{stem}.jp2", "s/{stem}.tif")),
        ("{{a}}[1]?!'{}.tif", "http:/{}|b.tif", ("{a}[1]?!'{stem}.tif", "http:/{stem}|b.tif")),
        ("s/{}_img.png", "s/{}_msk.png", ("s/{stem}_img.*", "s/{stem}_msk.*")),
    ],
)
def test_files_of_two_patterns_belong_together_by_their_stem(
    tmp_path: Path, scene: str, label: str, patterns: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "deep").mkdir()
    os.chdir("deep")
    stems = ("Bolivia_103", "Bolivia_1", "a b\n", os.fsdecode(b"caf\xe9"))
    touch(Path(), *(text.format(stem) for text in (scene, label) for stem in stems))
    touch(Path(), *(f"{scene.format(stem)}.aux.xml" for stem in stems))

    def clean(text: str) -> str:
        return str(Path(text))

    assert found(*patterns) == {clean(scene.format(stem)): clean(label.format(stem)) for stem in stems}
    absolute = tuple(str(tmp_path / "deep" / pattern) for pattern in patterns)
    assert len(found(*absolute)) == 4
    assert "skipped" not in caplog.text


@pytest.mark.parametrize(
    ("places", "told"),
    [
        (("i", "m"), True),  # by the words in which names differ: of another year
        (("i/{stem}_*.tif", "m/{stem}_*.tif"), True),
        (("i/{stem}_2019.tif", "m/{stem}_2020.tif"), False),
    ],
)
def test_the_first_pair_is_told_where_names_leave_room_for_doubt(
    places: tuple[str, str], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    touch(Path(), "i/a_2019.tif", "i/b_2019.tif", "m/a_2020.tif", "m/b_2020.tif")
    with caplog.at_level(logging.INFO, "satseg"):
        assert len(found(*places)) == 2
    assert ("Paired scenes with labels, such as a_2019.tif with a_2020.tif." in caplog.text) == told


@pytest.mark.parametrize("places", [("i", "i"), ("i", "link"), ("list.csv",)])
def test_a_scene_is_not_its_own_labels(places: tuple[str, ...]) -> None:
    touch(Path(), "i/a.tif", "i/b.tif", "m/b.tif")
    Path("link").symlink_to("i")
    Path("list.csv").write_text("scene,labels\ni/b.tif,m/b.tif\ni/a.tif,m/b.tif\ni/a.tif,link/a.tif\n")
    with pytest.raises(UsageError, match=r"same file is both scene and labels in \d of 2 pairs: i/a\.tif"):
        find_pairs(places)


def test_a_folder_goes_with_a_pattern() -> None:
    touch(Path(), "i/1.tif", "i/2.tif", "m/1_mask.tif", "m/2_mask.tif")
    assert found("i", "m/{stem}_mask.tif") == {"i/1.tif": "m/1_mask.tif", "i/2.tif": "m/2_mask.tif"}


def test_what_lacks_its_partner_is_counted_with_examples(caplog: pytest.LogCaptureFixture) -> None:
    touch(Path(), *(f"i/{i}_a.tif" for i in range(1, 8)), *(f"m/{i}_b.tif" for i in (1, 2, 9)))
    with caplog.at_level(logging.WARNING, "satseg"):
        assert len(found("i/{stem}_a.tif", "m/{stem}_b.tif")) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "i/{stem}_a.tif: 5 of 7 scenes have no labels and are skipped: 3_a.tif, 4_a.tif, 5_a.tif and 2 more.",
        "m/{stem}_b.tif: 1 of 3 label files have no scene and are skipped: 9_b.tif.",
    ]


@pytest.mark.parametrize(
    ("files", "places", "match"),
    [
        (["i/a.tif", "m/b.tif"], ("i", "m"), "No scene of i has labels in m: scenes are a.tif; labels are b.tif"),
        (["i/a.tif", "m/b.tif"], ("i/{stem}.tif", "m/{stem}.tif"), "No scene of i/{stem}.tif has labels"),
        (["i/a.tif", "m/a.tif", "m/a.png"], ("i", "m"), r"Both m/a\.png and m/a\.tif of m match a\."),
        (["x/a.tif", "y/a.tif", "m/a.tif"], ("*/{stem}.tif", "m/{stem}.tif"), r"Both m/a\.tif and x/a\.tif of"),
        (["i/a.tif"], ("i", "none"), "There is no folder none"),
        (["i/a.tif", "m/a.txt"], ("i", "m"), "The folder m holds no labels"),
        (["i/a.tif"], ("i/a.tif", "i"), "i/a.tif is one file"),
        (["list.csv"], ("list.csv", "tiles"), "is one file. A table of scenes is passed alone"),
        (["i/a.tif"], ("i", "m/*.tif"), "lacks {stem}, the part of a name"),
        (["i/a.tif"], ("i", "i/{stem}.png"), "No file matches i/{stem}.png"),
    ],
)
def test_what_cannot_be_paired_is_told(files: list[str], places: tuple[str, str], match: str) -> None:
    touch(Path(), *files)
    with pytest.raises(UsageError, match=match):
        found(*places)


def test_the_hint_says_where_a_pattern_ends_to_match() -> None:
    touch(Path(), "i/a_mask.tif")
    for pattern, hint in {
        "i/{stem}_msk.tif": "i holds a_mask.tif.",
        "j/k/{stem}.tif": "There is no folder j/k.",
        "https://example.org/{stem}.tif": "Patterns match local files only",
    }.items():
        with pytest.raises(UsageError) as raised:
            found("i", pattern)
        assert hint in str(raised.value.hint)


def test_thousands_of_pairs_are_found_at_once() -> None:
    touch(Path(), *(f"s/{i}_{kind}.tif" for i in range(1500) for kind in ("x", "y")))
    assert len(found("s/{stem}_*x.tif", "s/{stem}_y.tif")) == 1500


def test_patterns_leave_out_tile_sets_unless_they_name_them() -> None:
    touch(Path(), *(f"{split}/{part}/a{split}.tif" for split in ("train", "val") for part in ("images", "masks")))
    touch(Path(), "tiles/tileset.json", "tiles/images/a_0_0.tif", "tiles/masks/a_0_0.tif")
    touch(Path(), "old/tiles/tileset.json", "old/tiles/images/a_0_0.tif", "old/tiles/masks/a_0_0.tif")
    known = {f"{split}/images/a{split}.tif": f"{split}/masks/a{split}.tif" for split in ("train", "val")}
    assert found("*/images/{stem}.tif", "*/masks/{stem}.tif") == known
    assert found("**/images/{stem}.tif", "**/masks/{stem}.tif") == known
    assert found("tiles/images/{stem}.tif", "tiles/masks/{stem}.tif") == {
        "tiles/images/a_0_0.tif": "tiles/masks/a_0_0.tif"
    }
