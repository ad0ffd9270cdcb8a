"""The index is the user's: it is edited, extended and checked, and all else goes by it.

Covers ``tiles/index``, ``tiles/check`` and ``check_tiles``.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine
from made_scenes import GRID, write_labels, write_scene

from satseg.errors import LabelError, TileError, UsageError
from satseg.tiles.tileset import INDEX, MOMENTS, TileSet
from satseg.tiling.settings import TileSettings
from satseg.workflows.check_tiles import check_tiles
from satseg.workflows.tile import tile


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    bands = np.random.default_rng(0).normal(1e4, 3, (2, 256, 384)).astype(np.float32)
    bands[0, 30:60, 10:90] = np.nan
    return write_scene(tmp_path / "scene.tif", bands)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_labels(tmp_path / "houses.gpkg", *((i, i, i + 20, i + 20) for i in range(0, 380, 40)))


@pytest.fixture
def tiles(tmp_path: Path, scene: Path, labels: Path) -> Path:
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, overlap=0, block=64))
    return tmp_path / "tiles"


def edit(folder: Path, change: Callable[[geopandas.GeoDataFrame], geopandas.GeoDataFrame]) -> TileSet:
    change(geopandas.read_parquet(folder / INDEX)).to_parquet(folder / INDEX)
    return TileSet.open(folder)


def pixels_in_train(tile_set: TileSet) -> np.ndarray:
    """Return (band, pixel) float64 of all that is trained on."""
    read = [tile.read() for tile in tile_set.tiles("train") if tile.weight > 0]
    return np.concatenate([bands[:, valid] for bands, _, valid in read], axis=1).astype(np.float64)


def test_statistics_are_those_of_the_valid_pixels_of_what_is_in_train_now(tiles: Path) -> None:
    def change(index: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
        index = index.sample(frac=1, random_state=3)  # sorted another way
        train = index.index[index["split"] == "train"]
        index.loc[train[:10], "split"] = "val"
        index.loc[index.index[index["split"] == "test"][:4], "split"] = "train"
        index.loc[train[10:13], "weight"] = 0
        return index.drop(train[13:20])

    before = TileSet.open(tiles).statistics
    tile_set = edit(tiles, change)
    values = pixels_in_train(tile_set)
    statistics = tile_set.statistics
    assert statistics != before
    assert statistics.count == values.shape[1]
    assert statistics.mean == pytest.approx(values.mean(axis=1), rel=1e-15)
    assert statistics.std == pytest.approx(values.std(axis=1), rel=1e-12)
    assert statistics.minimum == tuple(values.min(axis=1))
    assert statistics.maximum == tuple(values.max(axis=1))


def test_statistics_do_not_depend_on_the_order_of_the_index(tiles: Path) -> None:
    before = TileSet.open(tiles).statistics
    assert edit(tiles, lambda index: index.sample(frac=1, random_state=1)).statistics == before


def test_tiles_that_the_user_added_are_measured(tiles: Path) -> None:
    before = TileSet.open(tiles).statistics
    (tiles / MOMENTS).unlink()
    assert TileSet.open(tiles).statistics == before


def test_weights_left_empty_are_one(tiles: Path) -> None:
    tile_set = edit(tiles, lambda index: index.assign(weight=[None, 2.0] + [1.0] * (len(index) - 2)))
    assert tile_set.index["weight"].tolist()[:3] == [1.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index.assign(weight=-1.0), "weight of the tile .* is not a number of 0 or more"),
        (lambda index: index.drop(columns="split"), "lacks the column 'split'"),
        (lambda index: index.drop(columns="pixels_houses"), "lacks the column 'pixels_houses'"),
        (lambda index: index.assign(tile="one"), "The tile one is listed twice"),
        (lambda index: index.assign(weight=np.inf), "weight of the tile .* is not a number of 0 or more"),
        (lambda index: index.assign(weight="often"), "weight of the tile .* is not a number of 0 or more, but 'often'"),
        (lambda index: index.assign(row=2.5), "The row of the tile .* is not a whole number of 0 or more, but 2.5"),
        (lambda index: index.assign(col=-32), "The col of the tile .* is not a whole number of 0 or more, but -32"),
        (lambda index: index.assign(pixels_houses="many"), "The pixels_houses of the tile .* but 'many'"),
        (lambda index: index.assign(image=None), "Row 1 of the index .* has no image, but None"),
        (lambda index: index.assign(tile=[*index["tile"][:-1], ""]), r"Row \d+ of the index .* has no tile, but ''"),
        (lambda index: index.assign(tile=range(len(index))), "Row 1 of the index .* has no tile, but 0"),
    ],
)
def test_an_index_that_makes_no_sense_is_refused(
    tiles: Path, change: Callable[[geopandas.GeoDataFrame], geopandas.GeoDataFrame], message: str
) -> None:
    with pytest.raises(TileError, match=message):
        edit(tiles, change)


def add_row(tiles: Path, name: str, **entries: object) -> TileSet:
    """Add a row whose files are copies of those of the first one; what is not given is left empty."""

    def change(index: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
        own = {"tile": name, "image": f"images/{name}.tif", "labels": f"labels/{name}.tif", "split": "train"}
        row = dict.fromkeys(index.columns) | own | entries
        added = geopandas.GeoDataFrame([row], geometry="geometry", crs=index.crs)
        return pandas.concat([index, added], ignore_index=True)

    first = TileSet.open(tiles).tiles("train")[0]
    for kind, path in (("images", first.image), ("labels", first.labels)):
        shutil.copy(path, tiles / kind / f"{name}.tif")
    return edit(tiles, change)


def test_a_row_that_the_user_added_is_filled_from_its_files(tiles: Path) -> None:
    before = TileSet.open(tiles)
    tile_set = add_row(tiles, "my own/../tile 'ä'".replace("/", "-"))
    first, own = tile_set.tiles("train")[0], tile_set.tiles("train")[-1]
    assert (own.weight, own.pixels) == (1.0, first.pixels)
    row = tile_set.index.iloc[-1]
    assert (row["scene"], row["row"], row["col"], row["height"], row["width"]) == (row["image"], 0, 0, 32, 32)
    assert row["block"] < 0
    assert tile_set.leaks() == {}
    assert tile_set.statistics.count > before.statistics.count
    assert check_tiles(tiles).problems == ()


def test_rows_without_a_block_are_blocks_of_their_own(tiles: Path) -> None:
    tile_set = edit(tiles, lambda index: index.assign(block=index["block"].where(index.index > 2).astype("Float64")))
    assert tile_set.index["block"].nunique() == len(set(tile_set.index["block"][3:])) + 3
    assert TileSet.open(tiles).tiles("train")[0].read()[0].shape == (2, 32, 32)


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        (np.ones((3, 32, 32), dtype=np.float32), "holds 3 bands of float32, not 2 of float32"),
        (np.ones((2, 32, 32), dtype=np.uint8), "holds 2 bands of uint8, not 2 of float32"),
        (np.ones((2, 33, 40), dtype=np.float32), "is 40 x 33 px; tiles of this set have 32 px"),
    ],
)
def test_a_tile_of_the_users_own_that_does_not_fit_is_named(tiles: Path, bands: np.ndarray, message: str) -> None:
    add_row(tiles, "own")
    write_scene(tiles / "images" / "own.tif", bands)
    with pytest.raises(TileError, match=f"The image of the tile own in .* {message}"):
        TileSet.open(tiles)


def test_labels_of_the_users_own_with_other_ids_are_named(tiles: Path) -> None:
    add_row(tiles, "own")
    write_scene(tiles / "labels" / "own.tif", np.full((1, 32, 32), 9, dtype=np.int16))
    with pytest.raises(TileError, match=r"The labels of the tile own in .* hold 9; class ids end at 1"):
        TileSet.open(tiles)
    edit(tiles, lambda index: index.assign(pixels_background=1, pixels_houses=1, height=32, width=32))
    with pytest.raises(TileError, match="Tile own holds the class id 9; ids end at 1"):
        TileSet.open(tiles).tiles("train")[-1].read()


def test_a_row_of_no_split_needs_no_files(tiles: Path) -> None:
    add_row(tiles, "own", split=None)
    shutil.rmtree(tiles / "labels")
    assert "own" in TileSet.open(tiles).index["tile"].tolist()


def test_an_index_that_lost_its_geometries_is_still_one(tiles: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = TileSet.open(tiles)
    pandas.read_parquet(tiles / INDEX).iloc[:, ::-1].to_parquet(tiles / INDEX)
    with caplog.at_level(logging.WARNING, "satseg"):
        after = TileSet.open(tiles)
    assert "has no geometries" in caplog.text
    assert [t.pixels for t in after.tiles("train")] == [t.pixels for t in before.tiles("train")]


def test_an_index_that_gdal_wrote_is_read(tiles: Path) -> None:
    """As a GeoPackage in another CRS and back, with numbers as text and as floats."""
    before = TileSet.open(tiles)
    frame = before.index.assign(row=before.index["row"].astype(str), pixels_houses=before.index["pixels_houses"] * 1.0)
    frame.to_crs("EPSG:3857").to_file(tiles / "edited.gpkg")
    geopandas.read_file(tiles / "edited.gpkg").to_parquet(tiles / INDEX)
    after = TileSet.open(tiles)
    assert [t.pixels for t in after.tiles("val")] == [t.pixels for t in before.tiles("val")]
    assert after.leaks() == {}
    assert check_tiles(tiles).problems == ()


def test_tiles_of_other_splits_are_not_used(tiles: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "satseg"):
        tile_set = edit(tiles, lambda index: index.assign(split=index["split"].replace("test", "later")))
    assert tile_set.tiles("test") == []
    assert "whose split is not one of train, val, test, but 'later'" in caplog.text


def test_a_leak_that_the_user_made_is_warned_of(
    tmp_path: Path, scene: Path, labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tile(
        [scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, block=64)
    )  # train tiles overlap each other
    names = TileSet.open(tmp_path / "tiles").index.query("split == 'train'")["tile"].tolist()
    with caplog.at_level(logging.WARNING, "satseg"):
        moved = edit(
            tmp_path / "tiles", lambda index: index.assign(split=index["split"].where(index["tile"] != names[0], "val"))
        )
    assert "tiles overlap tiles of another split" in caplog.text
    found = check_tiles(tmp_path / "tiles").problems
    assert {problem.tile for problem in found} == set(moved.leaks())
    assert {problem.problem for problem in found} == {f"is in train and overlaps {names[0]}, which is in val"}


def test_copies_of_tiles_without_a_place_are_leaks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two sets of chips without a CRS, of which one was added by hand under another split and name."""
    rng = np.random.default_rng(0)
    for folder, top in (("images", 255), ("masks", 2)):
        (tmp_path / folder).mkdir()
        for number in range(6):
            bands = rng.integers(0, top, (1, 64, 64), dtype=np.uint8)
            write_scene(tmp_path / folder / f"{number}.tif", bands, crs=None, transform=Affine.identity())
    tile(pairs=(tmp_path / "images", tmp_path / "masks"), output=tmp_path / "tiles", settings=TileSettings(size=64))
    assert TileSet.open(tmp_path / "tiles").leaks() == {}

    def change(index: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
        copied = index[index["split"] == "train"].iloc[:1].assign(tile="copy", scene="elsewhere", split="test")
        return pandas.concat([index, copied], ignore_index=True)

    first = TileSet.open(tmp_path / "tiles").tiles("train")[0].name
    with caplog.at_level(logging.WARNING, "satseg"):
        tile_set = edit(tmp_path / "tiles", change)
    assert tile_set.leaks() == {first: "copy"}
    assert "1 tiles overlap tiles of another split" in caplog.text
    (problem,) = check_tiles(tmp_path / "tiles").problems
    assert problem.problem == "is in train and overlaps copy, which is in test"


def test_a_tile_set_as_it_was_cut_has_no_problem(tiles: Path) -> None:
    found = check_tiles(tiles)
    assert found.problems == ()
    assert found.tiles == len(TileSet.open(tiles).index)
    assert found.strays == 0


def test_every_kind_of_damage_is_found(tiles: Path) -> None:
    entries = TileSet.open(tiles).tiles("train")
    entries[0].image.unlink()
    entries[1].labels.write_bytes(entries[1].labels.read_bytes()[:100])
    with rasterio.open(entries[2].labels, "r+") as dataset:
        dataset.write(np.full((32, 32), 9, dtype=np.uint8), 1)
    with rasterio.open(entries[3].image, "r+") as dataset:
        dataset.write(dataset.read() + 1)
    shutil.copy(entries[5].labels, entries[4].labels)
    edit(tiles, lambda index: index[index["tile"] != entries[6].name])
    found = check_tiles(tiles)
    problems: dict[str, list[str]] = {}
    for problem in found.problems:
        problems.setdefault(problem.tile, []).append(problem.problem)
    assert "does not exist" in problems[entries[0].name][0]
    assert "cannot be read" in problems[entries[1].name][0]
    assert "holds the class id 9; ids end at 1" in problems[entries[2].name]
    assert problems[entries[3].name] == ["holds other values than when it was cut"]
    changed = entries[4].pixels != entries[5].pixels
    assert (entries[4].name in problems) == changed
    assert entries[6].name not in problems
    assert found.strays == 1


def test_scenes_are_added_without_touching_what_is_there(tmp_path: Path, tiles: Path, labels: Path) -> None:
    edit(tiles, lambda index: index.assign(weight=2.0, note="mine").iloc[3:])
    before = TileSet.open(tiles).index.reset_index(drop=True)
    other = write_scene(
        tmp_path / "other.tif",
        np.random.default_rng(1).normal(2e4, 3, (2, 256, 384)).astype(np.float32),
        transform=GRID * Affine.translation(200, 64),
    )
    summary = tile([other], labels=labels, output=tiles, settings=TileSettings(size=32, block=64, append=True))
    tile_set = TileSet.open(tiles)
    assert tile_set.index.iloc[: len(before)].drop(columns="geometry").equals(before.drop(columns="geometry"))
    assert len(tile_set.index) > len(before)
    assert summary.tiles == {split: len(tile_set.tiles(split)) for split in ("train", "val", "test")}
    assert summary.overlapping == 0
    assert summary.kept_apart > 0  # it lies askew over a part of the first
    values = pixels_in_train(tile_set)
    assert tile_set.statistics.mean == pytest.approx(values.mean(axis=1), rel=1e-14)
    assert tile_set.statistics.std == pytest.approx(values.std(axis=1), rel=1e-12)
    assert check_tiles(tiles).problems == ()
    assert [entry["source"] for entry in tile_set.provenance] == [[str(labels)]] * 2


def test_what_does_not_fit_is_not_added(tmp_path: Path, tiles: Path, scene: Path, labels: Path) -> None:
    with pytest.raises(TileError, match=r"scene.tif is in .*tiles already"):
        tile([scene], labels=labels, output=tiles, settings=TileSettings(size=32, append=True))
    with pytest.raises(UsageError, match="has tiles of 32 px; tiles of 64 px cannot be added"):
        tile([scene], labels=labels, output=tiles, settings=TileSettings(size=64, append=True))
    other = write_scene(tmp_path / "b.tif", np.ones((3, 64, 64), dtype=np.uint8))
    with pytest.raises(TileError, match=r"b.tif has 3 bands of uint8 .* but .*tiles has 2 bands of float32"):
        tile([other], labels=labels, output=tiles, settings=TileSettings(size=32, append=True))
    with pytest.raises(UsageError, match="Give one of them"):
        tile([scene], labels=labels, output=tiles, settings=TileSettings(append=True, overwrite=True))


def test_tiles_that_are_added_with_other_options_are_warned_of(
    tmp_path: Path, tiles: Path, caplog: pytest.LogCaptureFixture
) -> None:
    far = Affine.translation(5000, 0)
    other = write_scene(tmp_path / "b.tif", np.ones((2, 64, 64), dtype=np.float32), transform=GRID * far)
    labels = write_labels(tmp_path / "far" / "houses.gpkg", (5000, 0, 5020, 20))
    with pytest.raises(LabelError, match="no class 'boundary' among background, houses"):
        tile([other], labels=labels, output=tiles, settings=TileSettings(size=32, append=True, boundary="2px"))
    with caplog.at_level(logging.WARNING, "satseg"):
        tile([other], labels=labels, output=tiles, settings=TileSettings(size=32, append=True, ignore_border="1px"))
    assert "was made without `ignore_border`; the new tiles are made with `ignore_border='1px'`" in caplog.text


def test_other_programs_may_rewrite_the_index(tiles: Path) -> None:
    """QGIS writes no metadata of pandas, and integers as it likes."""
    before = TileSet.open(tiles)
    table = pq.read_table(tiles / INDEX)
    kept = {key: value for key, value in table.schema.metadata.items() if key == b"geo"}
    as_double = table.schema.get_field_index("row")
    table = table.set_column(as_double, "row", table["row"].cast("double"))
    pq.write_table(table.replace_schema_metadata(kept), tiles / INDEX)
    after = TileSet.open(tiles)
    assert [t.name for t in after.tiles("train")] == [t.name for t in before.tiles("train")]
    assert after.statistics == before.statistics
    assert after.leaks() == {}
