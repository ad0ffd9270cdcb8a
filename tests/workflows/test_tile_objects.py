"""Tiles keep objects: instance ids beside their classes, unique in the tile set, those cut by an edge marked.

Covers ``tiles/tile``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from made_scenes import GRID, write_labels, write_scene
from rasterio.features import rasterize

from satseg.errors import ClassRasterError, OutputError, TileError
from satseg.tiles.tileset import TileSet
from satseg.tiling.settings import TileSettings
from satseg.workflows.check_tiles import check_tiles
from satseg.workflows.info import info
from satseg.workflows.tile import tile

SIDE = 128
# Two that touch, two that overlap, one across the tiles' common corner, one at the edge of the scene.
BOXES = [(4, 4, 20, 20), (20, 4, 36, 20), (70, 10, 90, 30), (80, 20, 100, 40), (50, 50, 80, 80), (100, 100, 128, 120)]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_place(number: int = 0) -> tuple[Path, Path]:
    """Write a scene and the same boxes on it; scenes lie side by side."""
    bands = np.random.default_rng(number).integers(0, 250, (2, SIDE, SIDE), dtype=np.uint8)
    moved = GRID * Affine.translation(200 * number, 0)
    scene = write_scene(Path(f"{number}.tif"), bands, transform=moved)
    shapes = [shapely.box(*(moved * (a, d)), *(moved * (c, b))) for a, b, c, d in BOXES]
    geopandas.GeoDataFrame({"kind": list("aabbab")}, geometry=shapes, crs="EPSG:32645").to_file(f"{number}.gpkg")
    return scene, Path(f"{number}.gpkg")


def keep(**more: Any) -> TileSettings:
    return TileSettings(**{"size": 64, "overlap": 0, "split": (1, 0, 0), "objects": True} | more)


def ids_in(folder: str, scene: str | None = None) -> np.ndarray:
    """Return the ids of the tiles of a scene of SIDE x SIDE px, put together; cut ones are negative."""
    found = np.full((SIDE, SIDE), 10**6, dtype=np.int64)
    tile_set = TileSet.open(folder)
    for row in tile_set.index.to_dict("records"):
        if scene in (None, row["scene"]):
            ids, cut = tile_set.tile(row).read_objects()
            rows, columns = (slice(row[at], row[at] + row[size]) for at, size in (("row", "height"), ("col", "width")))
            found[rows, columns] = np.where(cut, -ids, ids)
    assert (found < 10**6).all()
    return found


def burnt(numbers: list[int]) -> np.ndarray:
    """Return the number of the box at each pixel, from 1; later ones of the list lie on top."""
    found = np.zeros((SIDE, SIDE), dtype=np.int64)
    for number in numbers:
        left, top, right, bottom = BOXES[number - 1]
        found[top:bottom, left:right] = number
    return found


def contents(folder: str) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def test_a_tile_set_with_objects_may_be_replaced_by_one_without() -> None:
    scene, labels = write_place()
    tile([scene], labels=labels, output="tiles", settings=keep())
    tile([scene], labels=labels, output="tiles", settings=keep(overwrite=True))
    assert ids_in("tiles").any()
    tile([scene], labels=labels, output="tiles", settings=keep(objects=False, overwrite=True))
    assert not Path("tiles", "objects").exists()


def test_objects_that_touch_or_overlap_stay_apart_and_those_that_go_on_beyond_the_tile_are_marked() -> None:
    scene, labels = write_place()
    tile([scene], labels=labels, settings=keep())
    assert np.abs(ids_in("tiles")).tolist() == burnt([1, 2, 3, 4, 5, 6]).tolist()
    assert np.unique(ids_in("tiles")).tolist() == [-6, -5, 0, 1, 2, 3, 4]


def test_what_lies_on_top_is_decided_by_the_burn_order() -> None:
    scene, labels = write_place()
    frame = geopandas.read_file(labels)
    frame.assign(rank=[0, 0, 1, 0, 0, 0]).to_file(labels)
    tile([scene], labels=labels, settings=keep(burn_order="rank"))
    assert np.abs(ids_in("tiles")).tolist() == burnt([1, 2, 4, 3, 5, 6]).tolist()


def test_an_object_has_one_id_in_all_tiles_that_show_it() -> None:
    scene, labels = write_place()
    tile([scene], labels=labels, settings=keep(overlap=32))
    tile_set, whole = TileSet.open("tiles"), burnt([1, 2, 3, 4, 5, 6])
    for row in tile_set.index.to_dict("records"):
        top, left = row["row"], row["col"]
        ids, cut = tile_set.tile(row).read_objects()
        assert ids.tolist() == whole[top : top + 64, left : left + 64].tolist()
        outside = whole.copy()
        outside[top : top + 64, left : left + 64] = 0
        assert set(ids[cut].tolist()) - {6} == set(np.unique(ids)) & set(np.unique(outside)) - {0, 6}


def test_classes_are_those_of_a_tile_set_without_objects_which_says_nothing_about_them() -> None:
    scene, labels = write_place()
    tile([scene], labels=labels, output="with", settings=keep(class_field="kind", gsd="0.8m"))
    tile([scene], labels=labels, output="without", settings=keep(class_field="kind", gsd="0.8m", objects=False))
    kept, plain = contents("with"), contents("without")
    assert all(kept[name] == plain[name] for name in plain if name.endswith(".tif"))
    assert {name for name in kept if name not in plain} == {
        name.replace("labels", "objects") for name in plain if "labels" in name
    }
    assert "objects" not in json.loads(plain["tileset.json"])
    assert TileSet.open("without").objects is None
    assert [described.tiles and described.tiles.objects for described in map(info, ("with", "without"))] == [
        True,
        False,
    ]
    with pytest.raises(TileError, match="has no objects"):
        TileSet.open("without").tiles("train")[0].read_objects()
    for tile_ in TileSet.open("with").tiles("train"):
        assert ((tile_.read_objects()[0] > 0) == (tile_.read()[1] > 0)).all()


def test_a_polygon_of_a_multipolygon_is_an_object_by_itself_even_one_that_repairing_makes() -> None:
    scene, _ = write_place()
    a, b = (shapely.box(*(GRID * (left, 40)), *(GRID * (left + 20, 20))) for left in (10, 60))
    bow = shapely.Polygon([GRID * corner for corner in [(80, 80), (120, 120), (120, 80), (80, 120)]])
    geopandas.GeoDataFrame(geometry=[shapely.MultiPolygon([a, b]), bow], crs="EPSG:32645").to_file("parts.gpkg")
    summary = tile([scene], labels="parts.gpkg", settings=keep())
    ids = np.abs(ids_in("tiles"))
    assert (summary.repaired, TileSet.open("tiles").objects) == (1, (4,))
    assert (ids[30, 20], ids[30, 70]) == (1, 2)
    assert {ids[100, 82], ids[100, 118]} == {3, 4}


def test_polygons_of_background_and_ignored_ones_are_no_objects() -> None:
    scene, labels = write_place()
    class_map = "a=ignore,b=house"
    tile([scene], labels=labels, settings=keep(class_field="kind", class_map=class_map))
    assert np.unique(np.abs(ids_in("tiles"))).tolist() == [0, 3, 4, 6]
    tile([scene], labels=labels, output="b", settings=keep(class_field="kind", class_map="a=background,b=house"))
    assert np.unique(np.abs(ids_in("b"))).tolist() == [0, 3, 4, 6]


def test_a_class_of_boundaries_and_ignored_borders_leave_objects_as_they_are() -> None:
    scene, labels = write_place()
    tile([scene], labels=labels, settings=keep(boundary="2px", ignore_border="1px"))
    assert np.abs(ids_in("tiles")).tolist() == burnt([1, 2, 3, 4, 5, 6]).tolist()


def test_ids_are_unique_over_scenes_with_labels_of_their_own_and_over_all_calls_that_added_to_the_set() -> None:
    rows = [f"{scene},{labels}" for scene, labels in map(write_place, range(3))]
    Path("scenes.csv").write_text("\n".join(["scene,labels", *rows[:2]]) + "\n")
    Path("later.csv").write_text("\n".join(["scene,labels", rows[2]]) + "\n")
    tile(pairs="scenes.csv", settings=keep(split="train"))
    tile(pairs="later.csv", settings=TileSettings(append=True, split="train"))
    assert TileSet.open("tiles").objects == (12, 6)
    first, second, third = (np.abs(ids_in("tiles", f"{number}.tif")) for number in range(3))
    assert np.unique(first).tolist() == [0, *range(1, 7)]
    assert np.unique(second).tolist() == [0, *range(7, 13)]
    assert np.unique(third).tolist() == [0, *range(13, 19)]
    assert not check_tiles("tiles").problems


@pytest.mark.parametrize("moved", ["objects", "tileset.json", "index.parquet"])
def test_adding_objects_that_was_interrupted_ends_with_the_same_ids(
    moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scene, labels), (other, more) = write_place(0), write_place(1)
    replace = os.replace
    for output in ("whole", "stopped"):
        tile([scene], labels=labels, output=output, settings=keep())

    def stop(source: Path, target: Path) -> None:
        if moved in str(source) and "stopped" in str(target):
            raise KeyboardInterrupt
        replace(source, target)

    tile([other], labels=more, output="whole", settings=TileSettings(append=True, split=(1, 0, 0)))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("satseg.tiling.run.os.replace", stop)
        tile([other], labels=more, output="stopped", settings=TileSettings(append=True, split=(1, 0, 0)))
    tile([other], labels=more, output="stopped", settings=TileSettings(append=True, split=(1, 0, 0), resume=True))
    assert contents("stopped") == contents("whole")


def test_a_tile_set_has_objects_or_not() -> None:
    (scene, labels), (other, more) = write_place(0), write_place(1)
    tile([scene], labels=labels, output="with", settings=keep())
    tile([scene], labels=labels, output="without", settings=keep(objects=False))
    with pytest.raises(TileError, match="was made with `objects`"):
        tile([other], labels=more, output="with", settings=TileSettings(append=True, objects=False))
    with pytest.raises(TileError, match="was made without `objects`"):
        tile([other], labels=more, output="without", settings=TileSettings(append=True, objects=True))
    before = contents("with")
    classes = np.random.default_rng(0).integers(0, 3, (1, SIDE, SIDE), dtype=np.uint8)
    with pytest.raises(ClassRasterError, match="holds classes, not objects"):
        tile([other], labels=write_scene(Path("use.tif"), classes), output="with", settings=TileSettings(append=True))
    assert contents("with") == before


def test_a_run_is_not_resumed_with_objects_it_began_without() -> None:
    scene, labels = write_place()
    tile([scene], labels=labels, settings=keep(objects=False))
    with pytest.raises(OutputError, match=": objects "):
        tile([scene], labels=labels, settings=keep(resume=True))


def test_a_raster_of_ids_gives_the_same_objects_as_polygons_also_on_another_grid() -> None:
    scene, _ = write_place()
    numbers = np.array([0, 70_000, 5, 900, 31, 32, 6])  # ids need not follow each other
    write_scene(Path("ids.tif"), numbers[burnt([1, 2, 3, 4, 5, 6])].astype(np.int32)[None])
    fine = np.kron(numbers[burnt([1, 2, 3, 4, 5, 6])], np.ones((2, 2))).astype(np.uint32)
    write_scene(Path("fine.tif"), fine[None], transform=GRID * Affine.scale(0.5))
    order = np.array([0, 6, 1, 5, 3, 4, 2])  # of the numbers
    for name in ("ids", "fine"):
        tile([scene], labels=f"{name}.tif", output=name, settings=keep())
        assert np.abs(ids_in(name)).tolist() == order[burnt([1, 2, 3, 4, 5, 6])].tolist()
        assert np.unique(ids_in(name)[ids_in(name) < 0]).tolist() == [-4, -2]
        assert TileSet.open(name).classes.names == ("background", name)


def test_ids_lie_over_each_other_like_polygons() -> None:
    scene, _ = write_place()
    low, high = burnt([1, 2, 3]), np.where(burnt([4, 5, 6]) > 0, 1, 0)
    high[burnt([5, 6]) > 0] = 2
    high[100:, :] = 3
    for name, values in (("low", low), ("high", high)):
        write_scene(Path(f"{name}.tif"), values.astype(np.uint8)[None])
    geopandas.read_file(write_labels(Path("roof.gpkg"), (8, 8, 12, 12))).to_file("roof.gpkg")
    tile([scene], labels=["low.tif", "high.tif", "roof.gpkg"], settings=keep())
    expected = np.where(high > 0, high + 3, low)
    expected[8:12, 8:12] = 7
    assert np.abs(ids_in("tiles")).tolist() == expected.tolist()
    assert TileSet.open("tiles").classes.names == ("background", "low", "high", "roof")


def test_check_finds_objects_that_do_not_belong_to_their_tile() -> None:
    scene, labels = write_place()
    tile([scene], labels=labels, settings=keep())
    first, second, third, fourth = TileSet.open("tiles").tiles("train")
    assert None not in (first.objects, second.objects, third.objects, fourth.objects)
    with rasterio.open(first.objects, "r+") as dataset:
        dataset.write(np.full((1, 64, 64), 7, dtype=np.int32))
    second.objects.unlink()
    fourth.objects.write_bytes(third.objects.read_bytes())
    found = {(problem.tile, problem.problem) for problem in check_tiles("tiles").problems}
    empty = int((first.read()[1] == 0).sum())
    assert (first.name, "holds the object 7; ids end at 6") in found
    assert (first.name, f"has objects at {empty} pixels of background") in found
    assert any(name == second.name and "has no objects to use" in text for name, text in found)
    assert not any(name == third.name for name, _ in found)


def test_rasterized_ids_agree_with_a_rasterization_of_the_whole_scene(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    bands = rng.integers(0, 250, (1, 700, 700), dtype=np.uint8)
    scene = write_scene(tmp_path / "s.tif", bands)
    centres, radii = rng.uniform(0, 700, (300, 2)), rng.uniform(5, 30, 300)
    discs = [shapely.Point(GRID * tuple(c)).buffer(r * 0.5) for c, r in zip(centres, radii, strict=True)]
    geopandas.GeoDataFrame(geometry=discs, crs="EPSG:32645").to_file("discs.gpkg")
    tile([scene], labels="discs.gpkg", settings=keep(size=100))
    whole = rasterize(zip(discs, range(1, 301), strict=True), out_shape=(700, 700), transform=GRID, dtype="int32")
    tile_set = TileSet.open("tiles")
    for row in tile_set.index.to_dict("records"):
        ids, _ = tile_set.tile(row).read_objects()
        top, left = row["row"], row["col"]
        assert ids.tolist() == whole[top : top + 100, left : left + 100].tolist()
