from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

if TYPE_CHECKING:
    from conftest import Outcome

GRID = Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``a.tif`` and ``b.tif`` side by side, ``houses.gpkg`` over both."""
    for name, offset in (("a", 0), ("b", 128)):
        values = np.random.default_rng(offset).integers(0, 255, (3, 128, 128), dtype=np.uint8)
        grid = GRID * Affine.translation(offset, 0)
        profile = {"count": 3, "height": 128, "width": 128, "dtype": "uint8", "crs": "EPSG:32645", "transform": grid}
        with rasterio.open(tmp_path / f"{name}.tif", "w", driver="GTiff", **profile) as dataset:
            dataset.write(values)
    boxes = [shapely.box(*(GRID * (i, 20)), *(GRID * (i + 20, 90))) for i in range(4, 250, 30)]
    kinds = ["hut", "barn", "shed"] * 3
    geopandas.GeoDataFrame({"kind": kinds}, geometry=boxes, crs="EPSG:32645").to_file(tmp_path / "houses.gpkg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_scenes_come_from_stdin_and_options_reach_the_tiles(
    folder: Path, satseg: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a.tif\nb.tif\n"))
    done = satseg(
        *(
            "tile",
            "-",
            "-l",
            "houses.gpkg",
            "--class-field",
            "kind",
            "--class-map",
            "hut=building,barn=building,*=ignore",
        ),
        *("--size", "32", "--block", "64", "--overlap", "0", "--min-pixels", "building=1", "--bands", "3,1", "--json"),
    )
    assert done.code == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["scenes"] == 2
    assert list(summary["pixels"]["train"]) == ["background", "building"]
    assert summary["overlapping"] == 0
    header = json.loads((folder / "tiles" / "tileset.json").read_text())
    assert header["bands"]["names"] == ["blue", "red"]


def test_the_table_says_that_splits_were_checked(folder: Path, satseg: Callable[..., Outcome]) -> None:
    done = satseg("tile", "a.tif", "-l", "houses.gpkg", "--size", "32", "--block", "64")
    assert done.code == 0, done.stderr
    assert "tiles that overlap a tile of another split (checked)  0" in done.stderr
    assert done.stdout == ""


def test_a_check_that_finds_something_fails(folder: Path, satseg: Callable[..., Outcome]) -> None:
    assert satseg("tile", "a.tif", "-l", "houses.gpkg", "--size", "32", "-q").code == 0
    assert satseg("tile", "--check").code == 0
    next((folder / "tiles" / "labels").iterdir()).unlink()
    done = satseg("tile", "tiles", "--check", "--json")
    assert done.code == 1
    assert len(json.loads(done.stdout)["problems"]) == 1
    assert "tiles has 1 problem" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["a.tif"],
        ["-l", "houses.gpkg"],
        ["a.tif", "-l", "houses.gpkg", "--class-map", "hut"],
        ["a.tif", "-l", "houses.gpkg", "--min-pixels", "hut"],
        ["a.tif", "-l", "houses.gpkg", "--sampling", "often"],
        ["a.tif", "-l", "houses.gpkg", "--buffer", "wide"],
        ["a.tif", "-l", "houses.gpkg", "--gsd", "0"],
        ["a.tif", "-l", "houses.gpkg", "--split-by", "region"],
    ],
)
def test_wrong_usage_is_told_apart_and_leaves_nothing(
    folder: Path, satseg: Callable[..., Outcome], words: list[str]
) -> None:
    before = sorted(folder.iterdir())
    done = satseg("tile", *words)
    assert done.code == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert sorted(folder.iterdir()) == before


def test_a_stack_has_two_files_or_more(satseg: Callable[..., Outcome], folder: Path) -> None:
    done = satseg("tile", "--stack", "a.tif", "-l", "houses.gpkg")
    assert done.code == 2
    assert "does not list the files of a scene" in done.stderr


def test_a_class_map_comes_from_files_and_options_together(folder: Path, satseg: Callable[..., Outcome]) -> None:
    features = geopandas.read_file("houses.gpkg")
    features["kind"] = ["Kartofler, spise-", "Vinterhvede", "Vinterbyg"] * 3
    features.to_file("houses.gpkg")
    (folder / "classes.csv").write_text("value;class;colour\nKartofler, spise-;potato;#aa0000\n", encoding="utf-8-sig")
    common = ("tile", "a.tif", "b.tif", "-l", "houses.gpkg", "--class-field", "kind", "--size", "32", "--block", "64")
    done = satseg(*common, "--class-map", "classes.csv", "--class-map", "Vinter*=winter", "-q")
    assert done.code == 0, done.stderr
    header = json.loads((folder / "tiles" / "tileset.json").read_text())
    assert [entry["name"] for entry in header["classes"]["classes"]] == ["background", "potato", "winter"]
    assert header["classes"]["classes"][1]["colour"] == "#aa0000"
    asked = (*common, "--class-map", '"Kartofler, spise-"=potato,Vinter*=winter', "-q", "-o")
    assert satseg(*asked, "again").code == 0
    assert sorted(path.name for path in (folder / "again" / "labels").iterdir()) == sorted(
        path.name for path in (folder / "tiles" / "labels").iterdir()
    )


def test_a_class_map_that_changed_is_noticed_by_resume(folder: Path, satseg: Callable[..., Outcome]) -> None:
    command = ("tile", "a.tif", "-l", "houses.gpkg", "--class-field", "kind", "--size", "32", "-q")
    (folder / "classes.csv").write_text("value,class\n*,house\n")
    assert satseg(*command, "--class-map", "classes.csv").code == 0
    assert satseg(*command, "--class-map", "classes.csv", "--resume").code == 0
    (folder / "classes.csv").write_text("value,class\nhut,hut\n*,house\n")
    done = satseg(*command, "--class-map", "classes.csv", "--resume")
    assert done.code == 1
    assert "with other arguments" in done.stderr
