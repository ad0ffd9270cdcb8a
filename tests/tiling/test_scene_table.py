"""Covers ``files/csv_table``."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas
import pytest

from satseg.errors import UsageError
from satseg.tiling.scene_table import LabelledScene, read_scene_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.tif", "b.tif", "vår, 1.tif", "m.tif", "n.tif"):
        (tmp_path / name).touch()
    return tmp_path


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "scenes.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_is_read_as_spreadsheets_write_it(folder: Path, encoding: str, delimiter: str, end: str) -> None:
    rows = [
        ("Scene", " Labels", "split", "weight"),
        ("a.tif", "m.tif", "train", "2" if delimiter == "," else "0,5"),
        ('"vår, 1.tif"', "n.tif", "Val", ""),
        ("", "", "", ""),
    ]
    note = "sep=;" + end if delimiter == ";" else ""
    path = table(folder, note + end.join(delimiter.join(row) for row in rows) + end, encoding)
    assert read_scene_table(path) == [
        LabelledScene(str(folder / "a.tif"), (str(folder / "m.tif"),), "train", 2 if delimiter == "," else 0.5),
        LabelledScene(str(folder / "vår, 1.tif"), (str(folder / "n.tif"),), "val", 1),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_all_cells_may_be_quoted(folder: Path, delimiter: str) -> None:
    rows = [("scene", "labels", "split"), ("a.tif", "m.tif", "train"), ("vår, 1.tif", "n.tif", "val")]
    path = table(folder, "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows))
    assert [(Path(pair.scene).name, pair.split) for pair in read_scene_table(path)] == [
        ("a.tif", "train"),
        ("vår, 1.tif", "val"),
    ]


def test_parquet_is_read_likewise(folder: Path) -> None:
    path = folder / "scenes"
    frame = pandas.DataFrame({"scene": ["a.tif", "b.tif"], "labels": ["m.tif", "n.tif"], "weight": [0.0, None]})
    frame.index = [5, 3]
    frame.to_parquet(path)
    assert [(Path(pair.scene).name, pair.split, pair.weight) for pair in read_scene_table(path)] == [
        ("a.tif", None, 0),
        ("b.tif", None, 1),
    ]


def test_paths_are_relative_to_the_table_unless_they_are_urls_or_absolute(folder: Path) -> None:
    absolute = folder / "n.tif"
    path = table(folder, f"scene,labels\nhttps://x.org/a.tif,{absolute}\nb.tif,m.gpkg|layername=x\n")
    (folder / "m.gpkg").touch()
    assert read_scene_table(path) == [
        LabelledScene("https://x.org/a.tif", (str(absolute),)),
        LabelledScene(str(folder / "b.tif"), (f"{folder}/m.gpkg|layername=x",)),
    ]


def test_a_scene_of_several_rows_has_their_labels_over_each_other(folder: Path) -> None:
    path = table(folder, "scene,labels\na.tif,n.tif\nb.tif,m.tif\na.tif,m.tif\na.tif,m.tif\n")
    found = {Path(pair.scene).name: [Path(name).name for name in pair.labels] for pair in read_scene_table(path)}
    assert found == {"a.tif": ["n.tif", "m.tif"], "b.tif": ["m.tif"]}


def test_rows_of_one_scene_may_spell_its_path_otherwise(folder: Path) -> None:
    (folder / "link.tif").symlink_to("a.tif")
    path = table(folder, f"scene,labels\na.tif,n.tif\n../{folder.name}/a.tif,m.tif\nlink.tif,n.tif\nb.tif,m.tif\n")
    first, second = read_scene_table(path)
    assert (first.scene, second.scene) == (str(folder / "a.tif"), str(folder / "b.tif"))
    assert [Path(name).name for name in first.labels] == ["n.tif", "m.tif"]
    path = table(folder, f"scene,labels,split\na.tif,n.tif,train\n../{folder.name}/a.tif,n.tif,test\n")
    with pytest.raises(UsageError, match=r"another split or weight in row 3 of .* than in row 2"):
        read_scene_table(path)


def test_rows_without_labels_are_left_out_and_columns_that_nobody_reads_are_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = table(folder, "scene,labels,wieght,source\na.tif,m.tif,1,x\nb.tif,,1,x\n")
    with caplog.at_level(logging.WARNING, "satseg"):
        assert len(read_scene_table(path)) == 1
    assert "ignoring unknown columns: 'wieght' (did you mean 'weight'?), 'source'." in caplog.text
    assert "skipping scenes without labels: 'b.tif' (row 3)." in caplog.text


@pytest.mark.parametrize(
    ("text", "match", "hint"),
    [
        ("scene,label\na.tif,m.tif\n", "has no column labels; it has scene, label", "Did you mean 'labels' by 'label'"),
        ("scene,labels,scene\na.tif,m.tif,b.tif\n", "has several columns named scene", "Rename"),
        (
            "scene,labels,split\na.tif,m.tif,Training\nb.tif,n.tif,validation\n",
            r"unknown splits: 'Training' \(row 2\), 'validation' \(row 3\)",
            "mean 'train' by 'training', 'val' by 'validation'?",
        ),
        ("", "has no column scene and no column labels; it has none", "has the columns scene and labels"),
        ("scene,labels\n", "lists no scene with labels", ""),
        ("scene,labels\n,m.tif\n", "1 row has no scene in .*: 2", ""),
        ("scene,labels\nx.tif,m.tif\na.tif,y.tif\n", r"2 files that .* lists do not exist: x.tif \(row 2\), y.tif", ""),
        (
            "scene,labels\nS1\\x.tif,m.tif\n",
            r"1 file that .* lists does not exist: S1\\+x",
            "On this system / separates folders, not",
        ),
        (
            "scene,labels,split\na.tif,m.tif,valid\n",
            r"unknown splits: 'valid' \(row 2\)",
            "mean 'val' by 'valid'?",
        ),
        (
            "scene,labels,split\na.tif,m.tif,val\nb.tif,n.tif,\n",
            "1 row has no split, though others have one in .*: 3",
            "",
        ),
        ("scene,labels,weight\na.tif,m.tif,much\n", r"weights that are not numbers >= 0: 'much' \(row 2\)", ""),
        ("scene,labels,weight\na.tif,m.tif,-1\n", r"not numbers >= 0: '-1' \(row 2\)", ""),
        (
            "scene,labels,weight\na.tif,m.tif,1\na.tif,n.tif,2\n",
            "another split or weight in row 3 of .* than in row 2",
            "",
        ),
        ("scene,labels\na.tif,m.tif,x\n", "Line 2 of .* has 3 cells, but there are 2 columns", ""),
        ('scene,labels\na.tif,"m.tif\n', "is not valid CSV", ""),
    ],
)
def test_tables_that_make_no_sense_are_told(folder: Path, text: str, match: str, hint: str) -> None:
    with pytest.raises(UsageError, match=match) as raised:
        read_scene_table(table(folder, text))
    assert hint in (raised.value.hint or "")


def test_a_table_that_cannot_be_read_is_told(folder: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: it does not exist"):
        read_scene_table(folder / "none.csv")
    (folder / "broken").write_bytes(b"PAR1 and no more")
    with pytest.raises(UsageError, match=r"The table .*broken cannot be read"):
        read_scene_table(folder / "broken")
