"""Scenes that come with their splits and weights: one split for a call, or a table that lists them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from made_scenes import GRID, write_scene

from satseg.errors import LabelError, OutputError, TileError, UsageError
from satseg.records import ProgressEvent
from satseg.tiles.tileset import TileSet
from satseg.tiling.settings import TileSettings
from satseg.workflows.check_tiles import check_tiles
from satseg.workflows.tile import tile


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_chips(folder: str, numbers: range, seed: int = 0, step: int = 40) -> tuple[str, str]:
    """Write a folder of images of 32 px and one of their masks of 0 and 1, side by side on the ground."""
    rng = np.random.default_rng([seed, numbers.start])
    for part in ("images", "masks"):
        (Path(folder) / part).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        grid = GRID * Affine.translation(step * number, 0)
        image = rng.integers(1, 200, (1, 32, 32), dtype=np.uint8)
        write_scene(Path(folder, "images", f"{number}.tif"), image, transform=grid)
        write_scene(Path(folder, "masks", f"{number}.tif"), (image > 99).astype(np.uint8), transform=grid)
    return f"{folder}/images", f"{folder}/masks"


def splits(folder: str = "tiles") -> dict[str, str]:
    """Return the split by the stem of each scene of a tile set."""
    index = TileSet.open(folder).index
    return {Path(scene).stem: split for scene, split in zip(index["scene"], index["split"], strict=True)}


def write_table(**columns: list[object]) -> str:
    rows = [columns.keys(), *zip(*columns.values(), strict=True)]
    Path("scenes.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    return "scenes.csv"


@pytest.mark.parametrize("order", [("train", "val"), ("val", "train")])
def test_data_sets_come_with_their_splits(order: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    chips = {"train": write_chips("train", range(5)), "val": write_chips("val", range(5, 8))}
    first, second = order
    tile(pairs=chips[first], settings=TileSettings(split=first, class_map="0=background,1=road"))
    with caplog.at_level(logging.INFO, "satseg"):
        summary = tile(pairs=chips[second], settings=TileSettings(split=second, append=True))
    assert splits() == {str(i): "train" if i < 5 else "val" for i in range(8)}
    assert summary.tiles == {"train": 5, "val": 3, "test": 0}
    assert summary.overlapping == 0
    assert TileSet.open("tiles").classes.names == ("background", "road")
    assert "Kept from tiles: `class_map='0=background,1=road'`." in caplog.text
    assert check_tiles("tiles").problems == ()


def test_a_class_that_only_earlier_tiles_hold_is_missed_without_a_count_of_blocks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tile(pairs=write_chips("train", range(2)), settings=TileSettings(split="train", class_map="0=background,1=road"))
    images, masks = write_chips("val", range(5, 6))
    write_scene(Path(masks, "5.tif"), np.ones((1, 32, 32), np.uint8), transform=GRID * Affine.translation(200, 0))
    tile(pairs=(images, masks), settings=TileSettings(split="val", append=True))
    assert "The split val has no pixel of background. Add scenes with that class to the split" in caplog.text


def test_scenes_that_share_labels_go_into_a_split_too() -> None:
    images, masks = write_chips("train", range(3))
    tile(
        [f"{images}/0.tif", f"{images}/1.tif"],
        labels=[f"{masks}/{i}.tif" for i in range(3)],
        settings=TileSettings(split="test"),
    )
    assert splits() == {"0": "test", "1": "test"}


def test_a_table_says_splits_and_weights() -> None:
    write_chips("all", range(4))
    paths = {
        name: [f"all/{part}/{i}.tif" for i in range(4)] for name, part in (("scene", "images"), ("labels", "masks"))
    }
    table = write_table(**paths, split=["train", "test", "Val", "train"], weight=[0, 1, 1, 2.5])
    tile(pairs=table)
    assert splits() == {"0": "train", "1": "test", "2": "val", "3": "train"}
    tiles = {Path(entry.name).name.split("_")[0]: entry.weight for entry in TileSet.open("tiles").tiles("train")}
    assert tiles == {"0": 0, "3": 2.5}
    values = TileSet.open("tiles").tiles("train")[1].read()[0]
    assert TileSet.open("tiles").statistics.mean[0] == pytest.approx(values.mean())  # weight 0 is left out


def test_given_splits_share_no_ground_and_no_copy(caplog: pytest.LogCaptureFixture) -> None:
    write_chips("a", range(4), step=24)  # neighbours share a quarter of their ground
    copy = Path("a/images/copy.tif")
    copy.write_bytes(Path("a/images/2.tif").read_bytes())
    scenes = ["a/images/0.tif", "a/images/1.tif", "a/images/2.tif", str(copy)]
    labels = ["a/masks/0.tif", "a/masks/1.tif", "a/masks/2.tif", "a/masks/2.tif"]
    table = write_table(scene=scenes, labels=labels, split=["train", "test", "train", "test"])
    with caplog.at_level(logging.INFO, "satseg"):
        summary = tile(pairs=table)
    assert splits() == {"1": "test", "copy": "test"}  # train gives way
    assert summary.kept_apart == 1
    told = "copies of other scenes, with their labels: 1, such as a/images/2.tif, a copy of a/images/copy.tif."
    assert told in caplog.text
    assert "No tile for train: their scenes have no labelled pixels, or only ones that overlap" in caplog.text


def test_scenes_that_are_there_already_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    chips = write_chips("a", range(3))
    tile(pairs=chips, settings=TileSettings(split="train"))
    with pytest.raises(TileError, match=r"a/images/0.tif is in tiles already"):
        tile(pairs=chips, settings=TileSettings(split="val", append=True))
    write_chips("a", range(3, 5))
    with caplog.at_level(logging.INFO, "satseg"):
        tile(pairs=chips, settings=TileSettings(split="val", append=True))
    assert splits() == {"0": "train", "1": "train", "2": "train", "3": "val", "4": "val"}
    assert "Skipping scenes that are in tiles already: 3, such as a/images/0.tif." in caplog.text


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"split": "valid"}, "`split` is 'valid', neither three numbers nor one of train, val, test"),
        (
            {"split": "val", "split_by": "block"},
            "`split='val'` assigns all scenes to one split; `split_by` divides them",
        ),
    ],
)
def test_a_split_that_makes_no_sense_is_told(options: dict[str, object], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        tile(pairs=write_chips("a", range(2)), settings=TileSettings(**options))


def test_a_table_and_options_do_not_contradict_each_other() -> None:
    write_chips("a", range(2))
    table = write_table(
        scene=["a/images/0.tif", "a/images/1.tif"], labels=["a/masks/0.tif", "a/masks/1.tif"], split=["train", "val"]
    )
    with pytest.raises(
        UsageError, match=r"`split='val'` contradicts scenes.csv, which assigns 1 of 2 scenes to other splits"
    ):
        tile(pairs=table, settings=TileSettings(split="val"))
    with pytest.raises(
        UsageError, match=r"scenes.csv assigns each scene to a split; `split` and `split_by` would divide them again"
    ):
        tile(pairs=table, settings=TileSettings(split_by="scene"))
    tile(pairs=table)
    images, masks = write_chips("b", range(5, 9))
    with pytest.raises(UsageError, match="were assigned to splits; these are not"):
        tile(pairs=(images, masks), settings=TileSettings(append=True))
    tile(pairs=(images, masks), settings=TileSettings(append=True, split=(0.5, 0.5, 0)))
    assert set(splits().values()) == {"train", "val"}


def test_a_table_that_has_changed_is_noticed_when_a_run_goes_on() -> None:
    write_chips("a", range(2))
    columns = {"scene": ["a/images/0.tif", "a/images/1.tif"], "labels": ["a/masks/0.tif", "a/masks/1.tif"]}
    made = tile(pairs=write_table(**columns, split=["train", "val"]))
    assert tile(pairs="scenes.csv", settings=TileSettings(resume=True)).tiles == made.tiles
    write_table(**columns, split=["val", "train"])
    with pytest.raises(OutputError, match="made from other list"):
        tile(pairs="scenes.csv", settings=TileSettings(resume=True))


def test_a_set_without_train_tiles_can_be_made_but_not_trained_on() -> None:
    tile(pairs=write_chips("a", range(2)), settings=TileSettings(split="test"))
    assert TileSet.open("tiles").bands.names == ("band_1",)
    with pytest.raises(TileError, match="no tile to train on"):
        _ = TileSet.open("tiles").statistics


def test_an_interrupted_table_goes_on_where_it_stood() -> None:
    write_chips("a", range(6))
    names = {"scene": [f"a/images/{i}.tif" for i in range(6)], "labels": [f"a/masks/{i}.tif" for i in range(6)]}
    table = write_table(**names, split=["train", "val", "test"] * 2, weight=[1, 1, 1, 3, 1, 1])

    def stop(event: ProgressEvent) -> None:
        if event.unit == "tile" and event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tile(pairs=table, output="tiles", settings=TileSettings(threads=1), progress=stop)
    tile(pairs=table, output="tiles", settings=TileSettings(resume=True))
    tile(pairs=table, output="whole")
    one, other = (TileSet.open(folder).index.drop(columns="geometry") for folder in ("tiles", "whole"))
    assert one.equals(other)
    assert splits() == {str(i): ("train", "val", "test")[i % 3] for i in range(6)}


def test_an_interrupted_addition_with_a_split_goes_on() -> None:
    tile(pairs=write_chips("train", range(2)), settings=TileSettings(split="train", class_map="0=dry,1=water"))
    chips = write_chips("val", range(2, 6))

    def stop(event: ProgressEvent) -> None:
        if event.unit == "tile" and event.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tile(pairs=chips, settings=TileSettings(split="val", append=True, threads=1), progress=stop)
    assert set(splits().values()) == {"train"}
    tile(pairs=chips, settings=TileSettings(split="val", append=True, resume=True))
    assert splits() == {str(i): "train" if i < 2 else "val" for i in range(6)}
    assert tile(pairs=chips, settings=TileSettings(split="val", append=True, resume=True)).tiles == {
        "train": 2,
        "val": 4,
        "test": 0,
    }


@pytest.mark.parametrize(("options", "warned"), [({}, True), ({"split_by": "scene"}, False), ({"split": "val"}, False)])
def test_splits_that_folders_name_are_not_dealt_anew_without_a_word(
    options: dict[str, str], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    write_chips("train", range(6))
    write_chips("test", range(6, 12))
    tile(
        pairs=("*/images/{stem}.tif", "*/masks/{stem}.tif"),
        settings=TileSettings(class_map="0=background,1=road", **options),
    )
    assert (
        "('test/images/{stem}.tif', 'test/masks/{stem}.tif')` `split='test'` `append=True`" in caplog.text
    ) == warned


def test_a_class_map_that_comes_too_late_is_told_what_works() -> None:
    first, second = write_chips("train", range(5)), write_chips("val", range(5, 8))
    tile(pairs=first, settings=TileSettings(split="train"))
    with pytest.raises(LabelError, match="has the class 'cleared', which is not among class 0, class 1") as caught:
        tile(pairs=second, settings=TileSettings(split="val", append=True, class_map="0=forest,1=cleared"))
    assert str(caught.value.hint).startswith("Use these names in `class_map`, or leave it out: class 0, class 1.")
    assert "`overwrite=True`, and `class_map` from the first call on" in str(caught.value.hint)
    tile(pairs=second, settings=TileSettings(split="val", append=True))
    assert TileSet.open("tiles").classes.names == ("class 0", "class 1")
