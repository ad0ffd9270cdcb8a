from __future__ import annotations

import json
from pathlib import Path

import pytest

from satseg.outputs.sidecars import ITEM_KEY, describes, existing_sidecars, longest_name, possible_sidecars


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("a.gpkg", {"a.gpkg-wal", "a.gpkg-shm", "a.gpkg-journal", "a.gpkg.aux.xml"}),
        ("a.tif", {"a.tif.ovr", "a.tif.msk", "a.tif.msk.ovr", "a.tif.aux.xml", "a.tif.vat.dbf", "a.tfw", "a.tif.OVR"}),
        ("A.TIF", {"A.TIF.aux.xml", "A.TFW"}),
        ("a.shp", {"a.shx", "a.dbf", "a.prj", "a.cpg", "a.qix", "a.sbn", "a.sbx", "a.CPG"}),
        ("a.b.shp", {"a.b.dbf"}),
        ("a.fgb", {"a.fgb.aux.xml"}),
    ],
)
def test_files_that_are_read_with_a_file_are_its_family(tmp_path: Path, name: str, beside: set[str]) -> None:
    path = tmp_path / name
    assert beside <= {file.name for file in possible_sidecars(path)}
    for file in beside:
        (tmp_path / file).touch()
    assert beside <= {file.name for file in existing_sidecars(path)}


@pytest.mark.parametrize(
    "name", ["a.qml", "a.sld", "a.qmd", "a.shp.xml", "a.tif.xml", "a.txt", "a.gpkg", "a.tab", "a.wld", "a.aux"]
)
def test_what_users_make_is_no_family(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert [existing_sidecars(tmp_path / other) for other in ("a.shp", "a.tif", "a.parquet", "a.geojson")] == [[]] * 4


def test_names_grow_by_what_is_written_beside(tmp_path: Path) -> None:
    assert longest_name(tmp_path / "a.gpkg") == "a.gpkg-journal"
    assert longest_name(tmp_path / "a.shp") == "a.shp"


def test_notes_of_erdas_are_told_from_those_of_latex(tmp_path: Path) -> None:
    for name in ("a.aux", "a.rrd", "a.tif.aux"):
        (tmp_path / name).write_bytes(b"EHFA_HEADER_TAG\0...")
    assert {file.name for file in existing_sidecars(tmp_path / "a.tif")} == {"a.aux", "a.rrd", "a.tif.aux"}
    (tmp_path / "a.aux").write_text("\\relax")
    assert {file.name for file in existing_sidecars(tmp_path / "a.tif")} == {"a.rrd", "a.tif.aux"}


def test_an_item_belongs_to_the_network_that_it_names(tmp_path: Path) -> None:
    item = tmp_path / "ä.json"
    item.write_text(json.dumps({ITEM_KEY: "ä.onnx", "type": "Feature"}, ensure_ascii=False), encoding="utf-8")
    assert existing_sidecars(tmp_path / "ä.onnx") == [item]
    assert [existing_sidecars(tmp_path / other) for other in ("ä.pt2", "ä.gpkg", "ä.tif")] == [[]] * 3
    assert describes(item, tmp_path / "ä.onnx")
    assert not describes(tmp_path / "b.json", tmp_path / "b.onnx")  # there is none
