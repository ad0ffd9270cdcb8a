"""How blocks, scenes and drawn regions become train, val and test, and that nothing leaks."""

from __future__ import annotations

import logging
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from made_scenes import GRID, write_labels, write_scene

from satseg.errors import LabelError, UsageError
from satseg.tiles.tileset import TileSet
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

    summary = tile([scene], labels=labels, output=tmp_path / "tiles", size=32, block=128, buffer="20px")
    index = TileSet.open(tmp_path / "tiles").index
    others = painted(index, "val") + painted(index, "test") > 0
    apart = distance_transform_cdt(~others, metric="chessboard")  # 1: the next pixel
    assert apart[painted(index, "train") > 0].min() > 20
    assert summary.kept_apart > 0
    assert summary.overlapping == 0


def test_a_buffer_can_be_given_in_metres(tmp_path: Path, scene: Path, labels: Path) -> None:
    for name, buffer in (("a", "10m"), ("b", "20px")):  # half a metre a pixel
        tile([scene], labels=labels, output=tmp_path / name, size=32, overlap=0, block=128, buffer=buffer)
    assert list(TileSet.open(tmp_path / "a").index["tile"]) == list(TileSet.open(tmp_path / "b").index["tile"])


def test_whole_scenes_can_be_dealt(tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "road.gpkg", (3, 0, 9, 600))
    rng = np.random.default_rng(1)
    scenes = []
    for i in range(6):
        grid = GRID * Affine.translation(0, 64 * i)
        bands = rng.integers(0, 255, (1, 64, 96), dtype=np.uint8)
        scenes.append(write_scene(tmp_path / f"s{i}.tif", bands, transform=grid))
    tile(scenes, labels=labels, output=tmp_path / "tiles", size=32, split_by="scene", shares=(4, 1, 1))
    index = TileSet.open(tmp_path / "tiles").index
    assert (index.groupby("scene")["split"].nunique() == 1).all()
    assert index.groupby("split")["scene"].nunique().to_dict() == {"train": 4, "val": 1, "test": 1}


def test_scenes_of_the_same_ground_get_the_same_splits(tmp_path: Path, scene: Path, labels: Path) -> None:
    later = write_scene(tmp_path / "later.tif", np.ones((1, 512, 640), dtype=np.uint8))
    summary = tile([scene, later], labels=labels, output=tmp_path / "tiles", size=64, block=128)
    index = TileSet.open(tmp_path / "tiles").index
    by_place = index.groupby(["row", "col"])["split"].nunique()
    assert len(set(index["scene"])) == 2
    assert (by_place == 1).all()
    assert summary.kept_apart == 0


def test_scenes_that_overlap_askew_do_not_leak(tmp_path: Path, scene: Path, labels: Path) -> None:
    askew = GRID * Affine.translation(200, 60) * Affine.rotation(7)
    other = write_scene(tmp_path / "askew.tif", np.ones((1, 400, 400), dtype=np.uint8), transform=askew)
    summary = tile([scene, other], labels=labels, output=tmp_path / "tiles", size=32, overlap=8, block=96)
    index = TileSet.open(tmp_path / "tiles").index
    train = shapely.union_all(index.geometry[index["split"] == "train"].to_numpy())
    rest = index.geometry[index["split"] != "train"].to_numpy()
    assert shapely.area(shapely.intersection(train, rest)).max() < 1e-2 * 256
    assert summary.kept_apart > 0
    assert summary.overlapping == 0


def write_regions(path: Path, **boxes: tuple[int, int, int, int]) -> Path:
    shapes = [shapely.Polygon([GRID * c for c in [(a, b), (c, b), (c, d), (a, d)]]) for a, b, c, d in boxes.values()]
    regions = geopandas.GeoDataFrame({"split": [name.rstrip("0123456789") for name in boxes]}, geometry=shapes)
    regions.set_crs("EPSG:32645").to_file(path)
    return path


def test_drawn_regions_decide(tmp_path: Path, scene: Path, labels: Path) -> None:
    regions = write_regions(
        tmp_path / "regions.gpkg", train=(0, 0, 300, 512), val=(300, 0, 400, 512), test=(400, 100, 600, 300)
    )
    tile([scene], labels=labels, output=tmp_path / "tiles", size=64, split_by=f"{regions}:split")
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
        [scene], labels=labels, output=tmp_path / "tiles", size=64, split_by=f"{tmp_path}/halves.geojson:use"
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


def test_regions_of_other_splits_are_left_out(
    tmp_path: Path, scene: Path, labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    regions = write_regions(tmp_path / "regions.gpkg", train=(0, 0, 200, 512), later=(300, 0, 640, 512))
    with caplog.at_level(logging.WARNING, "satseg"):
        summary = tile([scene], labels=labels, output=tmp_path / "tiles", size=64, split_by=f"{regions}:split")
    assert "polygons whose split is 'later' are not used" in caplog.text
    assert summary.tiles["val"] == summary.tiles["test"] == 0


def test_what_cannot_decide_splits_is_refused(tmp_path: Path, scene: Path, labels: Path) -> None:
    regions = write_regions(tmp_path / "regions.gpkg", red=(0, 0, 200, 512))
    with pytest.raises(LabelError, match=r"No polygon of .* has train, val or test for 'split'"):
        tile([scene], labels=labels, output=tmp_path / "tiles", split_by=f"{regions}:split")
    with pytest.raises(LabelError, match="no attribute 'splits'"):
        tile([scene], labels=labels, output=tmp_path / "tiles", split_by=f"{regions}:splits")
    with pytest.raises(UsageError, match="takes block, scene, or a file and its attribute, not 'blocks'"):
        tile([scene], labels=labels, output=tmp_path / "tiles", split_by="blocks")


def test_missing_classes_are_warned_of(tmp_path: Path, scene: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = write_labels(tmp_path / "pond.gpkg", (3, 3, 9, 9))
    with caplog.at_level(logging.WARNING, "satseg"):
        summary = tile([scene], labels=labels, output=tmp_path / "tiles", size=64, block=128)
    empty = [split for split, pixels in summary.pixels.items() if not pixels["pond"]]
    assert len(empty) == 2
    assert all(f"The split {split} has no pixel of pond" in caplog.text for split in empty)
    assert sum(summary.shares.values()) == pytest.approx(1)
