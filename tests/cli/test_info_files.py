"""``satseg info`` of several files: a row each where they are of a kind, failures at the end, names from stdin."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine


@pytest.fixture
def scenes(tmp_path: Path) -> list[Path]:
    """Three scenes, each twice as wide as high, with a class raster's values."""
    paths = []
    for number in range(3):
        path = tmp_path / f"north_{number}.tif"
        profile = {"count": 1, "height": 4 + number, "width": 2 * (4 + number), "dtype": "uint8", "crs": "EPSG:32632"}
        with rasterio.open(path, "w", driver="GTiff", transform=Affine(2, 0, 5e5, 0, -2, 5e6), **profile) as made:
            made.write(np.full((1, 4 + number, 2 * (4 + number)), number, dtype=np.uint8))
        paths.append(path)
    return paths


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    frame = geopandas.GeoDataFrame(
        {"crop": ["Rug", "Havre"]}, geometry=[shapely.box(0, 0, 9, 9), shapely.box(20, 0, 29, 9)], crs="EPSG:32632"
    )
    frame.to_parquet(tmp_path / "fields.parquet")
    frame.to_file(tmp_path / "fields.gpkg")
    return tmp_path / "fields.parquet"


def test_files_of_a_kind_have_a_row_each(satseg: Callable, scenes: list[Path]) -> None:
    done = satseg("info", *scenes)
    assert (done.code, done.stderr) == (0, "")
    heading, *rows = done.stdout.splitlines()
    assert heading.split("  ")[0] == "scene"
    assert [row.split()[0] for row in rows] == list(map(str, scenes))
    for number, row in enumerate(rows):
        assert f"{2 * (4 + number)} x {4 + number} " in row  # width first
        assert "EPSG:32632" in row


def test_files_of_several_kinds_stand_in_sections(satseg: Callable, scenes: list[Path], fields: Path) -> None:
    done = satseg("info", *scenes[:2], fields, scenes[2])
    sections = done.stdout.split("\n\n")
    assert [section.split()[0] for section in sections[:3]] == ["scene", "polygons", "scene"]
    assert "attributes  crop" in sections[1]  # alone, all is told of it
    assert "origin" in sections[2]


def test_files_that_fail_are_told_at_the_end_and_the_others_shown(
    satseg: Callable, scenes: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "notes.tif").write_text("nothing")
    done = satseg("info", scenes[0], tmp_path / "none.tif", tmp_path / "notes.tif", scenes[1])
    assert done.code == 1
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [str(scenes[0]), str(scenes[1])]
    first, second, last = (line for line in done.stderr.splitlines() if line.startswith("error"))
    assert "none.tif does not exist" in first
    assert "notes.tif" in second
    assert last == "error: 2 of the files failed; 2 succeeded."


def test_json_has_a_line_for_each_file(satseg: Callable, scenes: list[Path], fields: Path, tmp_path: Path) -> None:
    done = satseg("info", *scenes, tmp_path / "none.tif", fields, "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.code, [entry["kind"] for entry in found]) == (1, ["scene"] * 3 + ["polygons"])
    assert [(entry["scene"]["width"], entry["scene"]["height"]) for entry in found[:3]] == [(8, 4), (10, 5), (12, 6)]


def test_names_come_from_stdin(satseg: Callable, scenes: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(map(str, scenes))))
    done = satseg("info", "-", "--json")
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == list(map(str, scenes))
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    done = satseg("info", "-")
    assert (done.code, done.stdout) == (2, "")
    assert "No file names on stdin." in done.stderr


def test_a_thousand_files_stream(satseg: Callable, scenes: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from satseg.workflows import info as workflow

    known, shown = workflow.info(scenes[0]), []

    def describe(path: str):
        shown.append(len(printed.getvalue().splitlines()))
        return known

    printed = io.StringIO()
    monkeypatch.setattr(workflow, "info", describe)
    monkeypatch.setattr("sys.stdin", io.StringIO("scene.tif\n" * 1000))
    monkeypatch.setattr("sys.stdout", printed)
    assert satseg("info", "-").code == 0
    assert max(np.diff(shown)) < 250  # of rows that are held back
    assert sum(str(scenes[0]) in line for line in printed.getvalue().splitlines()) == 1000


def test_values_are_counted_over_all_files(satseg: Callable, scenes: list[Path], tmp_path: Path) -> None:
    done = satseg("info", *scenes, tmp_path / "none.tif", "--values", "--json")
    found = json.loads(done.stdout)
    assert (done.code, found["files"]) == (1, 3)
    assert [(entry["value"], entry["count"]) for entry in found["values"]] == [("0", 32), ("1", 50), ("2", 72)]
    written = satseg("info", *scenes, "--class-map", "-").stdout.splitlines()
    assert [line.split(",")[:2] for line in written[1:]] == [["0", "class 0"], ["1", "class 1"], ["2", "class 2"]]


def test_values_of_features_are_counted_over_all_files(satseg: Callable, fields: Path, tmp_path: Path) -> None:
    done = satseg("info", fields, tmp_path / "fields.gpkg", "--class-field", "crop", "--json")
    values = json.loads(done.stdout)["values"]
    assert [(entry["value"], entry["count"]) for entry in values] == [("Rug", 2), ("Havre", 2)]
    assert values[0]["area_m2"] == pytest.approx(2 * 81, rel=0.01)


def test_values_of_features_and_pixels_do_not_add_up(satseg: Callable, scenes: list[Path], fields: Path) -> None:
    done = satseg("info", scenes[0], scenes[1], "--class-field", "crop")
    assert done.code == 1
    assert "is a raster; it has no attribute 'crop'" in done.stderr
    done = satseg("info", fields, scenes[0], "--values")
    assert done.code == 1
    assert "that holds the class is not named" in done.stderr


def test_parquet_has_the_layer_of_its_file(satseg: Callable, fields: Path) -> None:
    rows = [line.split(maxsplit=1) for line in satseg("info", fields).stdout.splitlines()]
    assert dict(rows)["layer"] == "fields"
    assert dict(rows)["geometry"] == "in the column geometry"
