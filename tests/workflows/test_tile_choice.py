"""Tile sets of small scenes: tiles and blocks that fill all splits are chosen, told, recorded, and kept.

Covers ``tiling/request`` and ``tiling/warnings``.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from made_scenes import GRID, write_labels, write_map, write_scene

from satseg.errors import OutputError, TileError, UsageError
from satseg.records import ProgressEvent
from satseg.tiles.tileset import TileSet
from satseg.tiling.settings import TileSettings
from satseg.workflows.tile import tile


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    bands = np.random.default_rng(0).integers(0, 255, (1, 413, 452), dtype=np.uint8)
    return write_scene(tmp_path / "scene.tif", bands)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_labels(
        tmp_path / "houses.gpkg", *((x, y, x + 20, y + 20) for x in range(0, 440, 40) for y in range(0, 400, 40))
    )


def provenance(folder: Path) -> dict[str, object]:
    return dict(TileSet.open(folder).provenance[-1])


def test_a_small_scene_fills_all_splits(
    tmp_path: Path, scene: Path, labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "satseg")
    summary = tile(scene, labels=labels, output=tmp_path / "tiles")
    assert all(summary.tiles.values())
    told = [record.message for record in caplog.records if record.name == "satseg"]
    assert told == ["Chose tiles of 128 px and blocks of 256 px for the splits."]
    made = provenance(tmp_path / "tiles")
    assert (made["size"], made["overlap"], made["block"]) == (128, 64, 256)
    assert made["chosen"] == ["size", "overlap", "block"]
    assert TileSet.open(tmp_path / "tiles").tile_size == 128


def test_the_options_that_are_named_fill_the_splits(
    tmp_path: Path, scene: Path, labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tile(scene, labels=labels, output=tmp_path / "a", settings=TileSettings(size=256, block=512))
    assert caplog.messages == ["No tile for val and test: `size=128` `block=256` would fill train, val and test."]
    summary = tile(scene, labels=labels, output=tmp_path / "b", settings=TileSettings(size=128, block=256))
    assert all(summary.tiles.values())
    assert len(caplog.messages) == 1


def test_what_was_chosen_is_chosen_again(tmp_path: Path, scene: Path, labels: Path) -> None:
    done = tile(scene, labels=labels, output=tmp_path / "tiles")
    again = tile(scene, labels=labels, output=tmp_path / "tiles", settings=TileSettings(resume=True))
    assert again.tiles == done.tiles
    assert (done.finished_before, again.finished_before) == (False, True)
    assert (again.size, again.block) == (done.size, done.block) == (128, 256)
    with pytest.raises(OutputError, match="with other arguments"):
        tile(scene, labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=128, block=256, resume=True))
    with pytest.raises(OutputError, match=r"with other arguments: .*limit none, not 7"):
        tile(scene, labels=labels, output=tmp_path / "tiles", settings=TileSettings(limit=7, resume=True))

    def stop(event: ProgressEvent) -> None:
        if event.task == "Cutting tiles" and event.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tile(scene, labels=labels, output=tmp_path / "cut", settings=TileSettings(threads=1), progress=stop)
    tile(scene, labels=labels, output=tmp_path / "cut", settings=TileSettings(resume=True))
    whole, resumed = ((tmp_path / name / "index.parquet").read_bytes() for name in ("tiles", "cut"))
    assert whole == resumed
    assert json.loads((tmp_path / "cut" / "tileset.json").read_text())["provenance"][0]["chosen"]


def test_tiles_that_are_added_are_like_those_that_are_there(tmp_path: Path, scene: Path, labels: Path) -> None:
    tile(scene, labels=labels, output=tmp_path / "tiles")
    grid = GRID * Affine.translation(0, -700)
    more = write_scene(tmp_path / "more.tif", np.ones((1, 600, 600), dtype=np.uint8), transform=grid)
    write_map(tmp_path / "more_labels.tif", more, np.indices((600, 600))[0].astype(np.uint8) // 100 % 2)
    tile(
        more,
        labels=tmp_path / "more_labels.tif",
        output=tmp_path / "tiles",
        settings=TileSettings(class_map="0=background,1=houses", append=True),
    )
    made = provenance(tmp_path / "tiles")
    assert (made["size"], made["block"]) == (128, 256)
    assert "chosen" not in made
    with pytest.raises(UsageError, match="has tiles of 128 px; tiles of 256 px cannot be added"):
        tile(more, labels=labels, output=tmp_path / "tiles", settings=TileSettings(append=True, size=256))


def test_a_buffer_that_leaves_nothing_to_train_on_is_told_before_any_work(
    tmp_path: Path, scene: Path, labels: Path
) -> None:
    told = r"No tile is left for training: no size of tiles and blocks fills all splits with a buffer of 150 px\."
    with pytest.raises(TileError, match=told):
        tile(scene, labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64, block=128, buffer="150px"))
    assert not (tmp_path / "tiles").exists()
    told = r"No tile is left for training: `size=\d+` `block=\d+` would fill train, val and test\."
    with pytest.raises(TileError, match=told):
        tile(scene, labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64, block=64, buffer="70px"))


def test_one_scene_that_is_dealt_as_a_whole_is_told_of(
    tmp_path: Path, scene: Path, labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tile(scene, labels=labels, output=tmp_path / "tiles", settings=TileSettings(split_by="scene"))
    assert "`size=128` `block=256` `split_by='block'` would fill train, val and test." in caplog.text


def test_two_pairs_are_dealt_in_blocks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "satseg")
    for number in range(2):
        grid = GRID * Affine.translation(300 * number, 0)
        bands = np.full((1, 256, 256), 50 * number, dtype=np.uint8) + np.indices((256, 256), np.uint8)[0] // 2
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
        image = write_scene(tmp_path / "images" / f"{number}.tif", bands, transform=grid)
        write_map(tmp_path / "masks" / f"{number}.tif", image, np.indices((256, 256))[1].astype(np.uint8) // 16 % 2)
    folders = (tmp_path / "images", tmp_path / "masks")
    summary = tile(pairs=folders, output=tmp_path / "tiles", settings=TileSettings(class_map="0=background,1=road"))
    assert all(summary.tiles.values())
    assert "Chose tiles of 128 px and blocks of 128 px for the splits." in caplog.messages
    assert provenance(tmp_path / "tiles")["whole_scenes"] is False


def test_a_split_that_lacks_many_classes_is_told_of_in_one_line(
    tmp_path: Path, scene: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.zeros((413, 452), dtype=np.uint8)
    values[:30, :40] = np.arange(1200, dtype=np.uint8).reshape(30, 40) % 30  # 30 classes that only one block holds
    write_map(tmp_path / "many.tif", scene, values)
    class_map = ",".join(f"{value}=crop {value}" for value in range(30)) + ",77=rye,78=oats"
    tile(scene, labels=tmp_path / "many.tif", output=tmp_path / "tiles", settings=TileSettings(class_map=class_map))
    lines = [line for line in caplog.messages if "has none of these values" not in line]
    assert lines[0].startswith("No tile has a pixel of rye, oats. Networks will have an output for each")
    assert len(lines) == 3
    for line, split in zip(lines[1:], ("val", "test"), strict=True):
        assert line.startswith(f"The split {split} has no pixel of crop 1 (in 1 block of all splits), crop 2 (in 1), ")
        assert ", crop 12 (in 1) and 17 more. Try a smaller" in line
