"""Public data sets as they come, from their files to a tile set: one command, or one for each split."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine

from satseg.tiles.tileset import TileSet

if TYPE_CHECKING:
    from conftest import Outcome

_Satseg = Callable[..., "Outcome"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(path: str, values: np.ndarray, grid: Affine, crs: str, names: tuple[str, ...] = ()) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2]}
    profile |= {"photometric": "minisblack"}  # the fourth of four byte bands would be alpha
    with rasterio.open(path, "w", dtype=values.dtype.name, crs=crs, transform=grid, **profile) as dataset:
        dataset.write(values)
        dataset.descriptions = names or dataset.descriptions


@pytest.fixture
def radar() -> None:
    """Chips of two bands with NaN; their labels are -1 (nobody looked), 0 and 1."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("Bolivia_103757", "Bolivia_10", "Ghana_1033", "Sri-Lanka_12", "USA_1", "Mekong_7")):
        grid = Affine(1e-4, 0, 10 + number, 0, -1e-4, 40)
        water = (rng.random((1, 32, 32)) < 0.4).astype(np.int16)
        decibels = rng.normal(-10, 2, (2, 32, 32)).astype(np.float32) - 8 * water
        decibels[:, :2] = np.nan
        water[:, :, -3:] = -1
        write(f"S1/{name}_S1Hand.tif", decibels, grid, "EPSG:4326", ("VV", "VH"))
        write(f"labels/{name}_LabelHand.tif", water, grid, "EPSG:4326")


@pytest.fixture
def forest() -> None:
    """44 pairs in three folders of splits; each chip names its bands by itself."""
    rng = np.random.default_rng(0)
    for number in range(44):
        split = "train" if number < 30 else "val" if number < 38 else "test"
        grid = Affine(0.2, 0, 500_000 + 50 * number, 0, -0.2, 5_000_000)
        trees = (rng.random((1, 32, 32)) < 0.4).astype(np.uint8)
        bands = rng.integers(0, 90, (4, 32, 32), dtype=np.uint8) + 90 * trees
        name = f"plot_{number:02d}"
        write(f"{split}/images/{name}.tif", bands, grid, "EPSG:25832", tuple(f"{name}_{band}" for band in "RGBN"))
        write(f"{split}/masks/{name}.tif", trees, grid, "EPSG:25832")


_RADAR = ("tile", "--pairs", "S1/{stem}_S1Hand.tif", "labels/{stem}_LabelHand.tif")


@pytest.mark.usefixtures("radar")
def test_radar_chips_are_asked_about_once_and_cut_by_the_line_that_is_told(satseg: _Satseg) -> None:
    asked = satseg(*_RADAR)
    assert asked.code == 1
    assert f"5 more, holds negative values, which may be classes, or mean unlabelled: -1 ({6 * 96} px)" in asked.stderr
    assert "hint: Use --unlabelled -1, or --class-map -1=ignore,0=NAME,1=NAME" in asked.stderr
    done = satseg(*_RADAR, "--class-map", "-1=ignore,0=dry,1=water", "--json")
    assert done.code == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["scenes"] == 6
    assert all(summary["tiles"].values())
    assert sum(sum(counts.values()) for counts in summary["pixels"].values()) == 6 * 30 * 29  # without NaN and -1
    assert "warning" not in done.stderr


@pytest.mark.usefixtures("forest")
def test_a_data_set_in_three_folders_is_three_commands(satseg: _Satseg) -> None:
    first = satseg("tile", "--pairs", "train/images", "train/masks", "--split", "train", "--class-map", "0=bare,1=tree")
    assert (first.code, first.stderr.count("warning")) == (0, 0), first.stderr
    for split in ("val", "test"):
        done = satseg("tile", "--pairs", f"{split}/images", f"{split}/masks", "--append", "--split", split, "--json")
        assert (done.code, done.stderr.count("warning")) == (0, 0), done.stderr
    summary = json.loads(done.stdout)
    assert summary["tiles"] == {"train": 30, "val": 8, "test": 6}
    assert list(summary["pixels"]["val"]) == ["bare", "tree"]
    assert TileSet.open("tiles").bands.names == ("R", "G", "B", "N")


@pytest.mark.usefixtures("forest")
def test_a_list_of_all_of_it_is_one_command(satseg: _Satseg) -> None:
    rows = [
        f"{path};{path.replace('images', 'masks')};{path.split('/')[0]}"
        for path in map(str, sorted(Path().glob("*/images/*.tif")))
    ]
    Path("plots.csv").write_text("\ufeffScene;Labels;Split\r\n" + "\r\n".join(rows), encoding="utf-8")
    done = satseg("tile", "--scene-list", "plots.csv", "--class-map", "0=bare,1=tree", "--json")
    assert (done.code, done.stderr.count("warning")) == (0, 0), done.stderr
    assert json.loads(done.stdout)["tiles"] == {"train": 30, "val": 8, "test": 6}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--pairs", "list.csv", "-o", "x"), "Pass a table by --scene-list list.csv"),
        (("--pairs", "a", "b", "--scene-list", "list.csv"), "--pairs and --scene-list exclude each other"),
        (("--pairs", "a", "b", "--pairs", "c", "d"), "--pairs is given 2 times"),
        (("a.tif", "--split", "validation"), "neither three numbers nor one of train, val, test"),
        (("--scene-list", "list.csv"), "The table of scenes list.csv cannot be read: it does not exist"),
    ],
)
def test_what_makes_no_sense_is_told_at_once(satseg: _Satseg, words: tuple[str, ...], told: str) -> None:
    Path("a.tif").touch()
    done = satseg("tile", *words)
    assert done.code == 2
    assert told in done.stderr
