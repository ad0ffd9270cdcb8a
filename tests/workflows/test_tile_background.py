"""Whether ground outside of all polygons is a class of its own."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from made_scenes import GRID, write_map, write_scene

from satseg.errors import UsageError
from satseg.labels.label_files import open_labels
from satseg.labels.settings import LabelSettings
from satseg.tiles.tileset import TileSet
from satseg.tiling.settings import TileSettings
from satseg.workflows.tile import tile

CROPS = ("barley", "rye", "wheat")


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    bands = np.random.default_rng(0).integers(0, 255, (1, 128, 128), dtype=np.uint8)
    return write_scene(tmp_path / "scene.tif", bands)


def write_fields(path: Path, side: int) -> Path:
    """Write fields every 16 px, of ``side`` px."""
    corners = [(x, y) for x in range(0, 128, 16) for y in range(0, 128, 16)]
    shapes = [
        shapely.Polygon([GRID * (x + a, y + b) for a, b in ((0, 0), (side, 0), (side, side), (0, side))])
        for x, y in corners
    ]
    crops = [CROPS[number % 3] for number in range(len(corners))]
    geopandas.GeoDataFrame({"crop": crops}, geometry=shapes, crs="EPSG:32645").to_file(path)
    return path


def painted(folder: Path) -> np.ndarray:
    """Return the class names of the 128 x 128 px, of tiles that do not overlap."""
    tiles = TileSet.open(folder)
    names = np.array([*tiles.classes.names, *["?"] * (255 - len(tiles.classes)), "ignore"], dtype=object)
    found = np.full((128, 128), "", dtype=object)
    for row in tiles.index.to_dict("records"):
        with rasterio.open(folder / row["labels"]) as dataset:
            found[row["row"] :, row["col"] :][: row["height"], : row["width"]] = names[dataset.read(1)]
    return found


def expected(side: int) -> np.ndarray:
    rows, columns = np.indices((128, 128))
    names = np.array(CROPS, dtype=object)[(columns // 16 * 8 + rows // 16) % 3]
    names[(rows % 16 >= side) | (columns % 16 >= side)] = "ignore"
    return names


LAID = {"size": 32, "overlap": 0, "class_field": "crop"}


@pytest.mark.parametrize("way", ["area", "outside"])
def test_polygons_may_be_all_that_is_known(tmp_path: Path, scene: Path, way: str) -> None:
    fields = write_fields(tmp_path / "fields.gpkg", 12)
    how = {"labelled_area": fields} if way == "area" else {"outside": "ignore"}
    summary = tile(scene, labels=fields, output=tmp_path / "tiles", settings=TileSettings(**LAID, **how))
    assert list(summary.pixels["train"]) == list(CROPS)
    assert TileSet.open(tmp_path / "tiles").classes.background is None
    assert np.array_equal(painted(tmp_path / "tiles"), expected(12))


def test_no_background_is_made_where_polygons_cover_all(
    tmp_path: Path, scene: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "satseg")
    fields = write_fields(tmp_path / "fields.gpkg", 16)
    tile(scene, labels=fields, output=tmp_path / "tiles", settings=TileSettings(**LAID))
    assert np.array_equal(painted(tmp_path / "tiles"), expected(16))
    assert "There is no class background, since no valid pixel lies outside of all polygons." in caplog.messages


def test_background_beside_several_classes_is_told_of(
    tmp_path: Path, scene: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "satseg")
    tile(
        scene,
        labels=write_fields(tmp_path / "fields.gpkg", 8),
        output=tmp_path / "tiles",
        settings=TileSettings(**LAID),
    )
    assert TileSet.open(tmp_path / "tiles").classes.names == ("background", *CROPS)
    told = "Pixels outside of all polygons (75%) are background; if they are unlabelled, use `outside='ignore'`."
    assert told in caplog.messages


def test_a_background_that_the_user_names_stays(tmp_path: Path, scene: Path) -> None:
    fields = write_fields(tmp_path / "fields.gpkg", 16)
    tile(scene, labels=fields, output=tmp_path / "a", settings=TileSettings(class_map="rye=background,*=crop", **LAID))
    tile(
        scene,
        labels=fields,
        output=tmp_path / "b",
        settings=TileSettings(class_map="rye=background,*=crop", outside="ignore", **LAID),
    )
    assert [TileSet.open(tmp_path / name).classes.names for name in "ab"] == [("background", "crop")] * 2


def test_ignored_polygons_leave_the_rest_background(tmp_path: Path, scene: Path) -> None:
    fields = write_fields(tmp_path / "fields.gpkg", 12)
    tile(scene, labels=fields, output=tmp_path / "tiles", settings=TileSettings(class_map="rye=rye,*=ignore", **LAID))
    found = np.where(np.isin(expected(12), ["barley", "wheat"]), "ignore", expected(12))
    found[expected(12) == "ignore"] = "background"
    assert np.array_equal(painted(tmp_path / "tiles"), found)


def test_one_class_alone_is_warned_of(tmp_path: Path, scene: Path, caplog: pytest.LogCaptureFixture) -> None:
    fields = write_fields(tmp_path / "fields.gpkg", 12)
    tile(scene, labels=fields, output=tmp_path / "tiles", settings=TileSettings(size=32, outside="ignore"))
    assert "All labelled pixels are fields, so a network learns to predict it everywhere." in caplog.text
    caplog.clear()
    tile(scene, labels=fields, output=tmp_path / "both", settings=TileSettings(size=32))
    assert "All labelled pixels" not in caplog.text


def test_a_class_raster_whose_values_are_all_mapped_has_no_background(tmp_path: Path, scene: Path) -> None:
    write_map(tmp_path / "use.tif", scene, np.indices((128, 128))[0].astype(np.uint8) // 16 % 3)
    tile(
        scene,
        labels=tmp_path / "use.tif",
        output=tmp_path / "tiles",
        settings=TileSettings(class_map="0=rye,1=oats,2=ignore", size=32),
    )
    assert TileSet.open(tmp_path / "tiles").classes.names == ("rye", "oats")


def test_outlines_are_the_same_with_a_background_and_without(tmp_path: Path, scene: Path) -> None:
    fields = write_fields(tmp_path / "fields.gpkg", 12)
    found = {}
    for name, outside in (("a", "background"), ("b", "ignore")):
        tile(
            scene, labels=fields, output=tmp_path / name, settings=TileSettings(outside=outside, boundary="1px", **LAID)
        )
        found[name] = painted(tmp_path / name)
    inside = expected(12) != "ignore"
    assert np.array_equal(found["a"][inside], found["b"][inside])
    assert (found["a"][inside] == "boundary").any()


def test_what_lies_outside_is_recorded_and_kept(tmp_path: Path, scene: Path) -> None:
    fields = write_fields(tmp_path / "fields.gpkg", 12)
    tile(scene, labels=fields, output=tmp_path / "tiles", settings=TileSettings(outside="ignore", **LAID))
    done = tile(
        scene, labels=fields, output=tmp_path / "tiles", settings=TileSettings(outside="ignore", resume=True, **LAID)
    )
    assert list(done.pixels["train"]) == list(CROPS)
    other = write_scene(tmp_path / "other.tif", np.full((1, 128, 128), 7, dtype=np.uint8))
    tile(other, labels=fields, output=tmp_path / "tiles", settings=TileSettings(append=True, class_field="crop"))
    entries = json.loads((tmp_path / "tiles" / "tileset.json").read_text())["provenance"]
    assert [entry["outside"] for entry in entries] == ["ignore", "ignore"]
    assert sum(TileSet.open(tmp_path / "tiles").pixels()["train"].values()) > sum(done.pixels["train"].values())


def test_nothing_else_lies_outside(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`outside` is 'nothing', not 'background' or 'ignore'"):
        open_labels(write_fields(tmp_path / "fields.gpkg", 12), LabelSettings(outside="nothing"))
