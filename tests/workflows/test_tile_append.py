"""What a tile set keeps for the scenes that are added to it, and what cannot differ.

Covers ``tiling/appending``.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from made_scenes import GRID, write_scene

from satseg.errors import LabelError, SatsegError, TileError, UsageError
from satseg.tiles.tileset import TileSet
from satseg.tiling.settings import TileSettings
from satseg.workflows.tile import tile


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_place(number: int, size: int = 64, names: tuple[str, ...] = ("blue", "green", "red")) -> str:
    """Write a scene whose band k holds k, and fields of two kinds on it; scenes lie side by side."""
    grid = GRID * Affine.translation(200 * number, 0)
    noise = np.random.default_rng(number).integers(0, 2, (1, size, size), dtype=np.uint8) * 100
    bands = np.arange(1, len(names) + 1, dtype=np.uint8)[:, None, None] + noise
    scene = write_scene(Path(f"{number}.tif"), bands, transform=grid, photometric="minisblack")
    with rasterio.open(scene, "r+") as dataset:
        dataset.descriptions = names
    shapes = [shapely.box(*(grid * (4, 20)), *(grid * (20, 4))), shapely.box(*(grid * (30, 60)), *(grid * (60, 30)))]
    frame = geopandas.GeoDataFrame({"crop": ["Rug", "Byg"], "year": [2020, 2024]}, geometry=shapes, crs="EPSG:32645")
    frame.to_file(f"{number}.gpkg")
    return str(scene)


def made(number: int) -> dict[str, Any]:
    """Return what is on file of the tiles that were added by one call."""
    return json.loads(Path("tiles/tileset.json").read_text())["provenance"][number]


_WHOLE = {"split": (1, 0, 0), "size": 64}


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("class_field", "crop", "`class_field='crop'`"),
        ("bands", ["3", "1"], "`bands='3,1'`"),
        ("gsd", "1m", "`gsd='1m'`"),
        ("where", "year > 2022", "`where='year > 2022'`"),
        ("burn_order", "area", "`burn_order='area'`"),
        ("all_touched", True, "`all_touched=True`"),
        ("ignore_border", "2px", "`ignore_border='2px'`"),
        ("boundary", "2px", "`boundary='2px'`"),
        ("objects", True, "`objects=True`"),
        ("sampling", "random", "`sampling='random'`"),
        ("min_valid", 0.5, "`min_valid='0.5'`"),
        ("keep_empty", 0.0, "`keep_empty='0.0'`"),
        ("min_pixels", {"objects": 5}, "`min_pixels='objects=5'`"),
        ("limit", 3, "`limit='3'`"),
        ("buffer", "7px", "`buffer='7px'`"),
        ("seed", 4, "`seed='4'`"),
        ("extra", "0.tif", "`extra='0.tif'`"),
        ("labelled_area", "area.gpkg", "`labelled_area='area.gpkg'`"),
        ("overlap", 8, None),
    ],
)
def test_options_of_a_tile_set_are_kept(
    option: str, value: Any, told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = write_place(0), write_place(1)
    area = geopandas.GeoDataFrame(geometry=[shapely.box(*(GRID * (-9, 999)), *(GRID * (999, -9)))], crs="EPSG:32645")
    area.to_file("area.gpkg")
    class_map = {"class_map": "*=objects"} if option == "min_pixels" else {}
    tile(first, labels="0.gpkg", settings=TileSettings(**{**_WHOLE, **class_map, option: value}))
    with caplog.at_level(logging.INFO, "satseg"):
        if option == "extra":
            with pytest.raises(SatsegError):  # it does not reach there
                tile(second, labels="1.gpkg", settings=TileSettings(append=True))
        else:
            tile(second, labels="1.gpkg", settings=TileSettings(append=True))
            assert made(1)[option] == made(0)[option]
    assert (told or "Kept from tiles: `") in caplog.text
    assert "the new tiles are made with" not in caplog.text


def test_size_bands_and_classes_are_those_of_the_set() -> None:
    tile(
        write_place(0),
        labels="0.gpkg",
        settings=TileSettings(class_field="crop", class_map="Rug=rye,Byg=barley", size=32, block=64),
    )
    tile(write_place(1, names=("red", "nir", "green", "blue")), labels="1.gpkg", settings=TileSettings(append=True))
    tile_set = TileSet.open("tiles")
    assert set(zip(tile_set.index["height"], tile_set.index["width"], strict=True)) == {(32, 32)}
    assert tile_set.bands.names == ("blue", "green", "red")
    assert all((entry.read()[0][:, 0, 0] % 100)[0] in (4, 1) for entry in tile_set.tiles("train"))
    assert tile_set.classes.names == ("background", "rye", "barley")


def test_options_that_are_given_again_replace_those_of_the_set(caplog: pytest.LogCaptureFixture) -> None:
    tile(write_place(0), labels="0.gpkg", settings=TileSettings(class_field="crop", where="year > 2022", **_WHOLE))
    with pytest.raises(LabelError, match="has the class 'Rug', which is not among background, Byg") as caught:
        tile(write_place(1), labels="1.gpkg", settings=TileSettings(where="year > 2000", append=True))
    assert "Map them to classes: `class_map=" in str(caught.value.hint)
    assert "Rug=NAME" in str(caught.value.hint)
    with pytest.raises(LabelError, match="has the class 'rye', which is not among background, Byg") as caught:
        tile(
            "1.tif",
            labels="1.gpkg",
            settings=TileSettings(where="year > 2000", class_map="Rug=rye,Byg=Byg", append=True),
        )
    assert caught.value.hint == (
        "Use these names in `class_map`: background, Byg. Other names need a new tile set: use `overwrite=True`, and "
        "`class_map` from the first call on."
    )
    tile("1.tif", labels="1.gpkg", settings=TileSettings(where="year > 2000", class_map="Rug=Byg,Byg=Byg", append=True))
    assert made(1)["where"] == "year > 2000"
    assert made(1)["class_field"] == "crop"


def test_a_class_map_adds_to_that_of_the_set(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        write_place(number)
        frame = geopandas.read_file(f"{number}.gpkg")
        frame["crop"] = ["Rug", "Byg", "Havre"][number]
        frame.to_file(f"{number}.gpkg")
    tile("0.tif", labels="0.gpkg", settings=TileSettings(class_field="crop", class_map="Rug=cereal,Sø=water", **_WHOLE))
    with pytest.raises(LabelError, match=r"1.gpkg holds the value Byg \(2 features\), which `class_map` does not name"):
        tile("1.tif", labels="1.gpkg", settings=TileSettings(append=True))
    with caplog.at_level(logging.WARNING, "satseg"):
        tile("1.tif", labels="1.gpkg", settings=TileSettings(append=True, class_map="Byg=cereal"))
        assert "the new tiles are made with" not in caplog.text
        tile(
            "2.tif", labels="2.gpkg", settings=TileSettings(append=True, class_map={"Havre": "cereal", "Rug": "water"})
        )
    assert made(2)["class_map"] == "Havre=cereal,Rug=water,Byg=cereal,Sø=water"
    assert "was made with `class_map='Rug=cereal,Sø=water'`; the new tiles" in caplog.text


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"size": 32}, "tiles has tiles of 64 px; tiles of 32 px cannot be added to it"),
        ({"gsd": "2m"}, "tiles has `gsd='1m'`; tiles of `gsd='2m'` cannot be added to it"),
        ({"bands": ["1"]}, r"1\.tif has 1 bands of uint8 \(blue\), but tiles has 2 bands of uint8 \(red, blue\)"),
    ],
)
def test_what_cannot_differ_is_refused_with_both_values(options: dict[str, Any], match: str) -> None:
    tile(write_place(0), labels="0.gpkg", settings=TileSettings(gsd="1m", bands=["3", "1"], **_WHOLE))
    with pytest.raises((TileError, UsageError), match=match):
        tile(write_place(1), labels="1.gpkg", settings=TileSettings(append=True, **options))


def test_a_tile_set_at_its_own_resolution_takes_scenes_that_are_brought_to_it() -> None:
    tile(write_place(0), labels="0.gpkg", settings=TileSettings(**_WHOLE))
    gsd = TileSet.open("tiles").gsd
    assert gsd is not None
    with pytest.raises(TileError, match=r"tiles has 0\.5 m per pixel; tiles of `gsd='1m'` cannot be added to it"):
        tile(write_place(1), labels="1.gpkg", settings=TileSettings(gsd="1m", append=True))
    tile("1.tif", labels="1.gpkg", settings=TileSettings(gsd="0.5m", append=True))


def test_unlabelled_values_and_class_maps_of_masks_are_kept() -> None:
    for number in range(2):
        write_place(number)
        with rasterio.open(f"{number}.tif") as scene:
            grid = scene.transform
        values = np.arange(-1, 2, dtype=np.int16).repeat(64 * 64 // 3 + 1)[: 64 * 64].reshape(1, 64, 64)
        write_scene(Path(f"mask{number}.tif"), values, transform=grid)
    tile("0.tif", labels="mask0.tif", settings=TileSettings(unlabelled=[-1], class_map="0=dry,1=water", **_WHOLE))
    tile("1.tif", labels="mask1.tif", settings=TileSettings(append=True))
    assert made(1)["unlabelled"] == [-1]
    assert TileSet.open("tiles").classes.names == ("dry", "water")


def test_what_a_tile_set_was_made_from_stays_small() -> None:
    write_place(0)
    for folder in ("images", "masks"):
        Path(folder).mkdir()
    for number in range(12):
        grid = GRID * Affine.translation(40 * number, 0)
        values = np.random.default_rng(number).integers(0, 2, (1, 32, 32), dtype=np.uint8)
        for folder in ("images", "masks"):
            write_scene(Path(folder, f"{number}.tif"), values, transform=grid)
    tile(pairs=("images/{stem}.tif", "masks/{stem}.tif"), settings=TileSettings(split=(1, 0, 0)))
    assert made(0)["pairs"] == ["images/{stem}.tif", "masks/{stem}.tif"]
    assert len(json.dumps(made(0))) < 1000
