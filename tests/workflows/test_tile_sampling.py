"""Which tiles the tile filter keeps.

Covers ``tiling/cut`` and ``tiling/label_source``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_scenes import write_labels, write_map, write_scene

from satseg.errors import UsageError
from satseg.tiles.tileset import TileSet
from satseg.tiling.settings import TileSettings
from satseg.workflows.tile import tile


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    bands = np.random.default_rng(0).integers(1, 255, (1, 512, 640), dtype=np.uint8)
    return write_scene(tmp_path / "scene.tif", bands)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Houses in the upper half, of one and of 100 pixels."""
    small = [(i, i // 2, i + 1, i // 2 + 1) for i in range(0, 480, 32)]
    return write_labels(tmp_path / "houses.gpkg", *small, (200, 20, 210, 30), (420, 40, 430, 50))


def test_random_tiles_lie_in_their_blocks_anywhere(tmp_path: Path, scene: Path, labels: Path) -> None:
    grid = tile([scene], labels=labels, output=tmp_path / "grid", settings=TileSettings(size=32, overlap=0, block=128))
    summary = tile(
        [scene],
        labels=labels,
        output=tmp_path / "tiles",
        settings=TileSettings(size=32, overlap=0, block=128, sampling="random"),
    )
    index = TileSet.open(tmp_path / "tiles").index
    train = index[index["split"] == "train"]
    assert 0.9 * grid.tiles["train"] < summary.tiles["train"] <= grid.tiles["train"]
    assert len(set(train["col"] % 16)) > 8
    assert (train["row"] // 128 == (train["row"] + 31) // 128).all()
    assert (train["col"] // 128 == (train["col"] + 31) // 128).all()
    assert summary.tiles["val"] == grid.tiles["val"]
    assert summary.overlapping == 0


def test_a_share_of_the_empty_tiles_is_kept(tmp_path: Path, scene: Path, labels: Path) -> None:
    every = tile([scene], labels=labels, output=tmp_path / "all", settings=TileSettings(size=32, overlap=0, block=128))
    some = tile(
        [scene],
        labels=labels,
        output=tmp_path / "some",
        settings=TileSettings(size=32, overlap=0, block=128, keep_empty=0.25),
    )
    none = tile(
        [scene],
        labels=labels,
        output=tmp_path / "none",
        settings=TileSettings(size=32, overlap=0, block=128, keep_empty=0),
    )
    for summary in (some, none):
        assert summary.pixels["train"]["houses"] == every.pixels["train"]["houses"]
        assert summary.tiles["val"] == every.tiles["val"]
        assert summary.pixels["test"] == every.pixels["test"]
    empty = every.tiles["train"] - none.tiles["train"]
    assert some.tiles["train"] - none.tiles["train"] == pytest.approx(0.25 * empty, abs=0.07 * empty)
    assert (TileSet.open(tmp_path / "none").index.query("split == 'train'")["pixels_houses"] > 0).all()


def test_a_training_tile_may_need_pixels_of_a_class(tmp_path: Path, scene: Path, labels: Path) -> None:
    tile(
        [scene],
        labels=labels,
        output=tmp_path / "tiles",
        settings=TileSettings(size=32, overlap=0, block=128, min_pixels={"houses": 50}),
    )
    index = TileSet.open(tmp_path / "tiles").index
    assert (index.query("split == 'train'")["pixels_houses"] >= 50).all()
    assert (index.query("split != 'train'")["pixels_houses"] < 50).any()
    with pytest.raises(UsageError, match="names a class 'house'; the labels have background, houses"):
        tile([scene], labels=labels, output=tmp_path / "b", settings=TileSettings(size=32, min_pixels={"house": 50}))


def test_tiles_need_a_share_of_valid_pixels(tmp_path: Path, labels: Path) -> None:
    bands = np.ones((1, 256, 256), dtype=np.uint8)
    bands[:, :, 72:] = 0
    path = write_scene(tmp_path / "scene.tif", bands, nodata=0)
    options = {"size": 64, "overlap": 0, "split": (1, 0, 0)}
    tile([path], labels=labels, output=tmp_path / "all", settings=TileSettings(**options))
    tile([path], labels=labels, output=tmp_path / "some", settings=TileSettings(min_valid=0.5, **options))
    assert sorted(set(TileSet.open(tmp_path / "all").index["valid_share"])) == [0.125, 1.0]
    assert set(TileSet.open(tmp_path / "some").index["valid_share"]) == {1.0}


def test_the_number_of_tiles_is_limited(tmp_path: Path, scene: Path, labels: Path) -> None:
    summary = tile(
        [scene],
        labels=labels,
        output=tmp_path / "tiles",
        settings=TileSettings(size=32, block=128, limit=40, keep_empty=0),
    )
    assert sum(summary.tiles.values()) == 40
    assert summary.tiles["train"] == pytest.approx(0.7 * 40, abs=3)
    assert (TileSet.open(tmp_path / "tiles").index.query("split == 'train'")["pixels_houses"] > 0).all()
    again = tile(
        [scene],
        labels=labels,
        output=tmp_path / "again",
        settings=TileSettings(size=32, block=128, limit=40, keep_empty=0),
    )
    assert again.pixels == summary.pixels


def test_fewer_tiles_than_the_limit_are_all_of_them(tmp_path: Path, scene: Path, labels: Path) -> None:
    every = tile([scene], labels=labels, output=tmp_path / "all", settings=TileSettings(size=64))
    assert (
        tile([scene], labels=labels, output=tmp_path / "limited", settings=TileSettings(size=64, limit=10_000)).tiles
        == every.tiles
    )


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 40])
def test_a_limit_is_never_passed(tmp_path: Path, scene: Path, labels: Path, limit: int) -> None:
    summary = tile(
        [scene],
        labels=labels,
        output=tmp_path / "tiles",
        settings=TileSettings(size=32, overlap=0, block=128, limit=limit),
    )
    assert sum(summary.tiles.values()) == limit
    assert sum(count > 0 for count in summary.tiles.values()) == min(limit, 3)
    assert summary.tiles["train"] >= summary.tiles["val"] >= summary.tiles["test"]


def test_empty_tiles_of_a_raster_of_0_and_1_are_known(tmp_path: Path, scene: Path) -> None:
    ids = np.zeros((512, 640), dtype=np.uint8)
    ids[::80, ::80] = 1
    mask = write_map(tmp_path / "mask.tif", scene, ids)
    options = {"size": 32, "overlap": 0, "block": 128}
    every = tile([scene], labels=mask, output=tmp_path / "all", settings=TileSettings(**options))
    none = tile([scene], labels=mask, output=tmp_path / "none", settings=TileSettings(keep_empty=0, **options))
    assert none.tiles["train"] < every.tiles["train"]
    ones = [list(summary.pixels["train"].values())[1] for summary in (every, none)]
    assert ones[0] == ones[1] > 0
    assert (TileSet.open(tmp_path / "none").index.query("split == 'train'").filter(like="pixels_").iloc[:, 1] > 0).all()
    with pytest.raises(UsageError, match=r"`keep_empty=0.5` needs a class background; the labels have tree, roof"):
        tile(
            [scene],
            labels=mask,
            output=tmp_path / "b",
            settings=TileSettings(keep_empty=0.5, class_map="0=tree,1=roof", **options),
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": (0.7, float("nan"), 0.15)}, "shares of train, val and test must be three numbers"),
        ({"keep_empty": float("nan")}, "`keep_empty` is nan; it must be at least 0"),
        ({"min_valid": 1.5}, "`min_valid` is 1.5; it must be at least 0 and at most 1"),
        ({"limit": 0}, "`limit` is 0; it must be at least 1"),
        ({"threads": -1}, "`threads` is -1; it must be at least 1"),
        ({"seed": -1}, "`seed` is -1; it must be at least 0"),
        ({"min_pixels": {"houses": -3}}, "`min_pixels` is {'houses': -3}; it takes a number of pixels of 0 or more"),
        ({"boundary": "0.4px"}, r"`boundary='0.4px'` is 0.4 px of .*scene.tif; widths along outlines are 1 to 256 px"),
        ({"boundary": "0.4m"}, r"`boundary='0.4m'` is 0.8 px"),
        ({"ignore_border": "0.9px"}, r"`ignore_border='0.9px'` is 0.9 px"),
        ({"ignore_border": "1000m"}, r"`ignore_border='1000m'` is 2e\+03 px"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    tmp_path: Path, scene: Path, labels: Path, options: dict, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, **options))
    assert not (tmp_path / "tiles").exists()


def test_a_boundary_of_no_width_is_none(tmp_path: Path, scene: Path, labels: Path) -> None:
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64, boundary="0px"))
    assert TileSet.open(tmp_path / "tiles").classes.names == ("background", "houses")
