"""How blocks, scenes and drawn regions become train, val and test, and that nothing leaks.

Covers ``tiling/split_regions``.
"""

from __future__ import annotations

import logging
from itertools import combinations
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from made_scenes import GRID, write_labels, write_scene
from rasterio import warp

from satseg.errors import LabelError, UsageError
from satseg.tiles.tileset import TileSet
from satseg.tiling.settings import TileSettings
from satseg.workflows.tile import tile


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    bands = np.random.default_rng(0).integers(0, 255, (1, 512, 640), dtype=np.uint8)
    return write_scene(tmp_path / "scene.tif", bands)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_labels(tmp_path / "houses.gpkg", *((i, i, i + 20, i + 20) for i in range(0, 500, 40)))


def painted(index: geopandas.GeoDataFrame, split: str, shape: tuple[int, int] = (512, 640)) -> np.ndarray:
    """Return how many tiles of a split cover each pixel."""
    covered = np.zeros(shape, dtype=int)
    for row in index[index["split"] == split].to_dict("records"):
        covered[row["row"] : row["row"] + row["height"], row["col"] : row["col"] + row["width"]] += 1
    return covered


def test_a_buffer_keeps_training_away_from_the_others(tmp_path: Path, scene: Path, labels: Path) -> None:
    from scipy.ndimage import distance_transform_cdt

    summary = tile(
        [scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, block=128, buffer="20px")
    )
    index = TileSet.open(tmp_path / "tiles").index
    others = painted(index, "val") + painted(index, "test") > 0
    apart = distance_transform_cdt(~others, metric="chessboard")  # 1: the next pixel
    assert apart[painted(index, "train") > 0].min() > 20
    assert summary.kept_apart > 0
    assert summary.overlapping == 0


def test_a_buffer_can_be_given_in_metres(tmp_path: Path, scene: Path, labels: Path) -> None:
    for name, buffer in (("a", "10m"), ("b", "20px")):  # half a metre a pixel
        tile(
            [scene],
            labels=labels,
            output=tmp_path / name,
            settings=TileSettings(size=32, overlap=0, block=128, buffer=buffer),
        )
    assert list(TileSet.open(tmp_path / "a").index["tile"]) == list(TileSet.open(tmp_path / "b").index["tile"])


def test_whole_scenes_can_be_dealt(tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "road.gpkg", (3, 0, 9, 600))
    rng = np.random.default_rng(1)
    scenes = []
    for i in range(6):
        grid = GRID * Affine.translation(0, 64 * i)
        bands = rng.integers(0, 255, (1, 64, 96), dtype=np.uint8)
        scenes.append(write_scene(tmp_path / f"s{i}.tif", bands, transform=grid))
    tile(
        scenes,
        labels=labels,
        output=tmp_path / "tiles",
        settings=TileSettings(size=32, split_by="scene", split=(4, 1, 1)),
    )
    index = TileSet.open(tmp_path / "tiles").index
    assert (index.groupby("scene")["split"].nunique() == 1).all()
    assert index.groupby("split")["scene"].nunique().to_dict() == {"train": 4, "val": 1, "test": 1}


def test_scenes_of_the_same_ground_get_the_same_splits(tmp_path: Path, scene: Path, labels: Path) -> None:
    later = write_scene(tmp_path / "later.tif", np.ones((1, 512, 640), dtype=np.uint8))
    summary = tile([scene, later], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64, block=128))
    index = TileSet.open(tmp_path / "tiles").index
    by_place = index.groupby(["row", "col"])["split"].nunique()
    assert len(set(index["scene"])) == 2
    assert (by_place == 1).all()
    assert summary.kept_apart == 0


def test_scenes_that_overlap_askew_do_not_leak(tmp_path: Path, scene: Path, labels: Path) -> None:
    askew = GRID * Affine.translation(200, 60) * Affine.rotation(7)
    other = write_scene(tmp_path / "askew.tif", np.ones((1, 400, 400), dtype=np.uint8), transform=askew)
    summary = tile(
        [scene, other], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, overlap=8, block=96)
    )
    index = TileSet.open(tmp_path / "tiles").index
    train = shapely.union_all(index.geometry[index["split"] == "train"].to_numpy())
    rest = index.geometry[index["split"] != "train"].to_numpy()
    assert shapely.area(shapely.intersection(train, rest)).max() < 1e-2 * 256
    assert summary.kept_apart > 0
    assert summary.overlapping == 0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("split_by", ["block", "scene"])
def test_no_two_splits_share_ground(tmp_path: Path, labels: Path, seed: int, split_by: str) -> None:
    rng = np.random.default_rng(0)
    scenes = []
    for number, (right, down) in enumerate([(0, 0), (150, 100), (290, 230)]):
        bands = rng.integers(0, 255, (1, 160, 160), dtype=np.uint8)
        grid = GRID * Affine.translation(right, down)
        scenes.append(write_scene(tmp_path / f"{number}.tif", bands, transform=grid))
    options = {"size": 32, "overlap": 0, "block": 64, "split": (1, 1, 1), "seed": seed, "split_by": split_by}
    summary = tile(scenes, labels=labels, output=tmp_path / "tiles", settings=TileSettings(**options))
    index = TileSet.open(tmp_path / "tiles").index
    ground = [shapely.union_all(index.geometry[index["split"] == split].to_numpy()) for split in summary.tiles]
    assert all(summary.tiles.values())
    assert [one.intersection(other).area for one, other in combinations(ground, 2)] == pytest.approx([0, 0, 0])
    assert summary.overlapping == 0


def test_scenes_of_two_zones_do_not_leak(tmp_path: Path, scene: Path, labels: Path) -> None:
    """One has its ground in UTM 45, the other in 44, at the same place."""
    with rasterio.open(scene) as dataset:
        x, y = warp.transform("EPSG:32645", "EPSG:32644", *([c] for c in dataset.xy(256, 320)))
    grid = Affine(0.5, 0, x[0] - 100, 0, -0.5, y[0] + 100)
    bands = np.ones((1, 400, 400), dtype=np.uint8)
    other = write_scene(tmp_path / "other.tif", bands, transform=grid, crs="EPSG:32644")
    summary = tile(
        [scene, other], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, overlap=0, block=96)
    )
    index = TileSet.open(tmp_path / "tiles").index
    assert index.crs == "OGC:CRS84"
    ground = {split: shapely.union_all(index.geometry[index["split"] == split].to_numpy()) for split in summary.tiles}
    for one, other_ground in combinations(ground.values(), 2):
        assert one.intersection(other_ground).area < 0.01 * index.geometry.iloc[0].area
    assert index.groupby("split")["scene"].nunique().to_dict() == {"train": 2, "val": 2, "test": 2}
    assert (summary.overlapping, summary.unplaced) == (0, 0)


def test_a_scene_in_another_hemisphere_can_be_added(tmp_path: Path, scene: Path, labels: Path) -> None:
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64, block=128))
    far = Affine(0.5, 0, 400_000, 0, -0.5, 7_000_000)
    other = write_scene(tmp_path / "far.tif", np.ones((1, 256, 256), np.uint8), transform=far, crs="EPSG:32756")
    place = geopandas.GeoDataFrame(geometry=[shapely.box(400_010, 6_999_900, 400_050, 6_999_990)], crs="EPSG:32756")
    (tmp_path / "far").mkdir()
    place.to_file(tmp_path / "far" / "houses.gpkg")
    tile(
        [other],
        labels=tmp_path / "far" / "houses.gpkg",
        output=tmp_path / "tiles",
        settings=TileSettings(size=64, block=128, append=True),
    )
    index = TileSet.open(tmp_path / "tiles").index
    lon, lat = index.geometry.bounds["minx"], index.geometry.bounds["miny"]
    assert sorted({(round(x), round(y)) for x, y in zip(lon, lat, strict=True)}) == [(85, 27), (152, -27)]


def test_scenes_without_a_crs_are_said_not_to_be_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder, top in (("images", 255), ("masks", 2)):
        (tmp_path / folder).mkdir()
        for number in range(4):
            bands = rng.integers(0, top, (1, 64, 64), dtype=np.uint8)
            write_scene(tmp_path / folder / f"{number}.tif", bands, crs=None, transform=Affine.identity())
    pairs = (tmp_path / "images", tmp_path / "masks")
    summary = tile(pairs=pairs, output=tmp_path / "tiles", settings=TileSettings(size=64))
    assert (summary.overlapping, summary.unplaced) == (0, 4)


def test_each_split_holds_every_class_where_that_can_be(tmp_path: Path, scene: Path) -> None:
    """Three small houses in 20 blocks: one for each split, whatever the seed."""
    labels = write_labels(tmp_path / "houses.gpkg", (3, 3, 9, 9), (300, 140, 310, 150), (600, 400, 610, 410))
    for seed in range(5):
        options = {"size": 64, "block": 128, "overlap": 0, "split": (0.6, 0.2, 0.2), "seed": seed}
        summary = tile([scene], labels=labels, output=tmp_path / f"tiles{seed}", settings=TileSettings(**options))
        assert all(pixels["houses"] for pixels in summary.pixels.values())


def write_regions(path: Path, **boxes: tuple[int, int, int, int]) -> Path:
    shapes = [shapely.Polygon([GRID * c for c in [(a, b), (c, b), (c, d), (a, d)]]) for a, b, c, d in boxes.values()]
    regions = geopandas.GeoDataFrame({"split": [name.rstrip("0123456789") for name in boxes]}, geometry=shapes)
    regions.set_crs("EPSG:32645").to_file(path)
    return path


def test_drawn_regions_decide(tmp_path: Path, scene: Path, labels: Path) -> None:
    regions = write_regions(
        tmp_path / "regions.gpkg", train=(0, 0, 300, 512), val=(300, 0, 400, 512), test=(400, 100, 600, 300)
    )
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64, split_by=f"{regions}:split"))
    index = TileSet.open(tmp_path / "tiles").index
    for split, (left, top, right, bottom) in {
        "train": (0, 0, 300, 512),
        "val": (300, 0, 400, 512),
        "test": (400, 100, 600, 300),
    }.items():
        expected = np.zeros((512, 640), dtype=bool)
        expected[top:bottom, left:right] = True
        assert ((painted(index, split) > 0) == expected).all()


def test_pixels_outside_of_a_slanted_region_are_ignored_and_nothing_leaks(
    tmp_path: Path, scene: Path, labels: Path
) -> None:
    halves = [[(0, 0), (640, 0), (0, 512)], [(640, 0), (640, 512), (0, 512)]]
    shapes = [shapely.Polygon([GRID * corner for corner in half]) for half in halves]
    frame = geopandas.GeoDataFrame({"use": ["train", "test"]}, geometry=shapes, crs="EPSG:32645")
    frame.to_crs("EPSG:4326").to_file(tmp_path / "halves.geojson")
    summary = tile(
        [scene],
        labels=labels,
        output=tmp_path / "tiles",
        settings=TileSettings(size=64, split_by=f"{tmp_path}/halves.geojson:use"),
    )
    tiles = TileSet.open(tmp_path / "tiles")
    row, col = np.mgrid[:512, :640] + 0.5
    known = np.zeros((512, 640), dtype=int)
    for entry in tiles.index[tiles.index["split"] == "test"].to_dict("records"):
        _, classes, _ = tiles.tile(entry).read()
        known[entry["row"] : entry["row"] + 64, entry["col"] : entry["col"] + 64] += classes != 255
    diagonal = np.abs(row / 512 + col / 640 - 1) < 1e-3
    assert (known == (row / 512 + col / 640 > 1))[~diagonal].all()
    assert summary.overlapping == 0
    assert summary.kept_apart > 0


def test_regions_of_one_bounding_window_give_tiles_of_their_own(tmp_path: Path, scene: Path, labels: Path) -> None:
    """Two halves of a square, both in train: each place has two tiles, of which each knows its half."""
    halves = [[(0, 0), (256, 0), (0, 256)], [(256, 0), (256, 256), (0, 256)], [(400, 0), (640, 0), (640, 512)]]
    shapes = [shapely.Polygon([GRID * corner for corner in half]) for half in halves]
    frame = geopandas.GeoDataFrame({"use": ["train", "train", "val"]}, geometry=shapes, crs="EPSG:32645")
    frame.to_file(tmp_path / "halves.gpkg")
    options = {"size": 64, "overlap": 0, "split_by": f"{tmp_path}/halves.gpkg:use"}
    summary = tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(**options))
    tiles = TileSet.open(tmp_path / "tiles")
    train = tiles.index[tiles.index["split"] == "train"]
    assert {name for name in train["tile"] if "-" in name} == {f"scene_{64 * i}_{192 - 64 * i}-1" for i in range(4)}
    assert sum(summary.pixels["train"].values()) == 256 * 256
    known = np.zeros((256, 256), dtype=int)
    for entry in train.to_dict("records"):
        _, classes, _ = tiles.tile(entry).read()
        known[entry["row"] : entry["row"] + 64, entry["col"] : entry["col"] + 64] += classes != 255
    assert (known == 1).all()
    later = write_scene(tmp_path / "later.tif", np.ones((1, 512, 640), dtype=np.uint8))
    tile([later], labels=labels, output=tmp_path / "tiles", settings=TileSettings(append=True, **options))
    assert len(TileSet.open(tmp_path / "tiles").index) > len(tiles.index)


def test_regions_of_other_splits_are_left_out(
    tmp_path: Path, scene: Path, labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    regions = write_regions(tmp_path / "regions.gpkg", train=(0, 0, 200, 512), later=(300, 0, 640, 512))
    with caplog.at_level(logging.WARNING, "satseg"):
        summary = tile(
            [scene],
            labels=labels,
            output=tmp_path / "tiles",
            settings=TileSettings(size=64, split_by=f"{regions}:split"),
        )
    assert "ignoring polygons whose split is 'later'" in caplog.text
    assert summary.tiles["val"] == summary.tiles["test"] == 0


def test_what_cannot_decide_splits_is_refused(tmp_path: Path, scene: Path, labels: Path) -> None:
    regions = write_regions(tmp_path / "regions.gpkg", red=(0, 0, 200, 512))
    with pytest.raises(LabelError, match=r"No polygon of .* has train, val or test for 'split'"):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(split_by=f"{regions}:split"))
    away = write_regions(tmp_path / "away.gpkg", train=(9000, 0, 9200, 512))
    with pytest.raises(LabelError, match=r"No polygon of .*away.gpkg touches the scene .*scene.tif"):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(split_by=f"{away}:split"))
    with pytest.raises(LabelError, match="no attribute 'splits'"):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(split_by=f"{regions}:splits"))
    with pytest.raises(UsageError, match="takes block, scene, or a vector file and its attribute, not 'blocks'"):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(split_by="blocks"))


def test_missing_classes_are_warned_of(tmp_path: Path, scene: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = write_labels(tmp_path / "pond.gpkg", (3, 3, 9, 9))
    with caplog.at_level(logging.WARNING, "satseg"):
        summary = tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64, block=128))
    empty = [split for split, pixels in summary.pixels.items() if not pixels["pond"]]
    assert len(empty) == 2
    assert all(
        f"The split {split} has no pixel of pond (in 1 block of all splits). Try" in caplog.text for split in empty
    )
    assert sum(summary.shares.values()) == pytest.approx(1)
