"""Scenes or maps, each with labels of its own: scored together, as they are one by one.

Covers ``scored_pairs``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from made_scenes import GRID, write_scene
from sklearn.metrics import confusion_matrix
from typer.testing import CliRunner

from satseg.cli.app import app
from satseg.cli.evaluate import class_rows
from satseg.errors import LabelError, UsageError
from satseg.evaluation.confusion import score
from satseg.evaluation.settings import EvaluateSettings
from satseg.records import ProgressEvent
from satseg.tiling.settings import TileSettings
from satseg.training.settings import TrainSettings
from satseg.workflows.evaluate import evaluate
from satseg.workflows.tile import tile
from satseg.workflows.train import train

SIZE = 64


def place(number: int) -> Affine:
    """Return the transform of a chip beside those before."""
    return GRID * Affine.translation(2 * SIZE * number, 0)


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six chips of 64 px: ``images``, ``masks`` with -1, 0 and 1, ``maps`` of 0 and 1, and ``roofs`` as polygons."""
    folder = tmp_path_factory.mktemp("chips")
    rng = np.random.default_rng(0)
    for name in ("images", "masks", "maps", "roofs"):
        (folder / name).mkdir()
    for number in range(6):
        grid = {"transform": place(number)}
        truth = np.kron(rng.integers(-1, 2, (8, 8)), np.ones((8, 8))).astype(np.int16)
        truth[0, :3] = -1, 0, 1
        guess = np.where(rng.random((SIZE, SIZE)) < 0.2, 1 - np.abs(truth), np.abs(truth)).astype(np.uint8)
        bright = (rng.integers(1, 60, (2, SIZE, SIZE)) + 100 * (truth == 1)).astype(np.uint8)
        write_scene(folder / "images" / f"chip_{number}.tif", bright, **grid)
        write_scene(folder / "masks" / f"chip_{number}.tif", truth[None], **grid)
        write_scene(folder / "maps" / f"chip_{number}.tif", guess[None], **grid)
        boxes = [shapely.box(*(place(number) * (x, 20)), *(place(number) * (x + 10, 30))) for x in (10, 20, 40)]
        geopandas.GeoDataFrame(geometry=boxes, crs=32645).to_file(folder / "roofs" / f"chip_{number}.gpkg")
    return folder


@pytest.fixture(scope="module")
def run(chips: Path) -> Path:
    """A network that has seen the chips for two steps; it remembers that -1 is unlabelled."""
    pairs = [chips / "images", chips / "masks"]
    tile(
        pairs=pairs,
        output=chips / "tiles",
        settings=TileSettings(unlabelled=[-1], size=SIZE, overlap=0, split=(0.6, 0.2, 0.2)),
    )
    train(
        chips / "tiles",
        output=chips / "run",
        settings=TrainSettings(arch="erfnet", steps=2, batch_size=2, threads=1, pictures=False),
    )
    return chips / "run"


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def test_maps_and_their_labels_are_counted_as_scikit_learn_counts_them(chips: Path) -> None:
    seen: list[ProgressEvent] = []
    found = evaluate(
        pairs=[chips / "maps", chips / "masks"], settings=EvaluateSettings(unlabelled=[-1]), progress=seen.append
    )
    truth, guess = (
        np.concatenate([read(chips / name / f"chip_{i}.tif").ravel() for i in range(6)]) for name in ("masks", "maps")
    )
    known = truth >= 0
    expected = confusion_matrix(truth[known], guess[known])
    assert found.confusion == score(expected, ["class 0", "class 1"]).confusion
    assert found.unlabelled == (~known).sum()
    assert found.settings["units"] == 6
    done = [event.done for event in seen]
    assert done == sorted(done)
    assert (seen[-1].done, seen[-1].total) == (6 * SIZE**2, 6 * SIZE**2)


def test_scenes_of_a_network_are_scored_together_as_one_by_one(chips: Path, run: Path) -> None:
    how = {"window": 64, "overlap": 8, "threads": 1, "pixels_only": True, "bootstrap": 0}
    together = evaluate(run, pairs=[chips / "images", f"{chips}/masks/{{stem}}.tif"], settings=EvaluateSettings(**how))
    alone = [
        evaluate(
            run,
            chips / "images" / f"chip_{i}.tif",
            labels=chips / "masks" / f"chip_{i}.tif",
            settings=EvaluateSettings(**how),
        )
        for i in range(6)
    ]
    assert np.array_equal(together.confusion, sum(np.array(report.confusion) for report in alone))
    assert together.unlabelled == sum(report.unlabelled for report in alone) > 0


def test_ground_that_the_network_was_trained_on_is_told_of(
    chips: Path, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = geopandas.read_parquet(chips / "tiles" / "index.parquet")
    trained = set(index.scene[index.split == "train"].map(lambda name: Path(name).name))
    how = {"window": 64, "overlap": 8, "threads": 1, "pixels_only": True, "bootstrap": 0}
    for number in range(6):
        caplog.clear()
        evaluate(
            run,
            chips / "images" / f"chip_{number}.tif",
            labels=chips / "masks" / f"chip_{number}.tif",
            settings=EvaluateSettings(**how),
        )
        told = "trained on 100 % of the scored ground" in caplog.text
        assert told == (f"chip_{number}.tif" in trained)


def test_features_of_each_scene_are_its_objects(chips: Path) -> None:
    found = evaluate(pairs=[chips / "maps", chips / "roofs"])
    assert found.classes[1].label_objects == 6 * 3  # also two that touch
    assert found.pixels == 6 * SIZE**2


def test_a_table_with_splits_gives_those_of_one_split(chips: Path, tmp_path: Path) -> None:
    rows = [f"{chips}/maps/chip_{i}.tif,{chips}/masks/chip_{i}.tif,{'test' if i < 2 else 'train'}" for i in range(6)]
    table = tmp_path / "chips.csv"
    table.write_text("\n".join(["scene,labels,split", *rows]), encoding="utf-8")
    found = evaluate(pairs=table, settings=EvaluateSettings(unlabelled=[-1]))
    assert found.settings["units"] == 2
    assert evaluate(pairs=table, settings=EvaluateSettings(unlabelled=[-1], split="train")).settings["units"] == 4
    with pytest.raises(UsageError, match="No scene is in the split val; there are test, train"):
        evaluate(pairs=table, settings=EvaluateSettings(unlabelled=[-1], split="val"))


@pytest.mark.parametrize(("scenes", "kind"), [("images", "masks"), ("maps", "masks"), ("maps", "roofs")])
def test_swapped_pairs_are_refused_and_the_first_is_named(
    scenes: str, kind: str, chips: Path, run: Path, tmp_path: Path
) -> None:
    shutil.copytree(chips / kind, tmp_path / "swapped")
    one, other = sorted((tmp_path / "swapped").iterdir())[2:5:2]
    one.rename(tmp_path / "kept")
    other.rename(one)
    (tmp_path / "kept").rename(other)
    subject = run if scenes == "images" else None
    with pytest.raises(LabelError, match=rf"No label of {one} touches the scene .*chip_2\.tif") as caught:
        evaluate(
            subject, pairs=[chips / scenes, tmp_path / "swapped"], settings=EvaluateSettings(unlabelled=[-1], threads=1)
        )
    assert "1 more of 6 pairs" in caught.value.message


def test_a_class_raster_that_lies_elsewhere_is_told_before_the_network_runs(chips: Path, run: Path) -> None:
    seen: list[ProgressEvent] = []
    with pytest.raises(LabelError, match=r"No label of .*chip_4\.tif touches the scene .*chip_1\.tif"):
        evaluate(
            run,
            chips / "images" / "chip_1.tif",
            labels=chips / "masks" / "chip_4.tif",
            settings=EvaluateSettings(threads=1),
            progress=seen.append,
        )
    assert seen == []


def test_of_several_scenes_those_without_labels_are_passed_over_and_told(
    chips: Path, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = sorted((chips / "images").iterdir())
    mask = chips / "masks" / "chip_4.tif"
    how = {"window": 64, "overlap": 8, "threads": 1, "pixels_only": True, "bootstrap": 0}
    found = evaluate(run, images, labels=mask, settings=EvaluateSettings(**how))
    assert found == evaluate(run, images[4], labels=mask, settings=EvaluateSettings(**how))
    assert "5 scenes are not scored. First error: No label of" in caplog.text


def test_what_goes_not_with_pairs_is_wrong_usage(chips: Path) -> None:
    pairs = [chips / "maps", chips / "masks"]
    for words in (
        {"labels": chips / "masks" / "chip_0.tif"},
        {"data": chips / "images" / "chip_0.tif"},
        {"subject": chips / "maps" / "chip_0.tif"},
        {"settings": EvaluateSettings(rank=True)},
        {"settings": EvaluateSettings(bands="1")},
    ):
        with pytest.raises(UsageError):
            evaluate(pairs=pairs, **words)
    with pytest.raises(UsageError, match="nothing to score"):
        evaluate()


def test_scenes_without_a_network_are_no_maps_and_the_hint_says_how_to_name_one(chips: Path) -> None:
    with pytest.raises(LabelError, match="is not a class raster") as caught:
        evaluate(pairs=[chips / "images", chips / "masks"], settings=EvaluateSettings(unlabelled=[-1]))
    assert "`satseg.evaluate('RUN', pairs=" in str(caught.value.hint)


def test_values_that_could_mean_two_things_are_asked_about_with_an_option_that_there_is(chips: Path) -> None:
    with pytest.raises(LabelError, match="-1") as caught:
        evaluate(pairs=[chips / "maps", chips / "masks"])
    assert "`unlabelled=-1`" in str(caught.value.hint)


def test_pixels_of_the_classes_add_up_to_those_of_the_mean_though_the_map_leaves_some_out(
    chips: Path, tmp_path: Path
) -> None:
    with rasterio.open(chips / "maps" / "chip_0.tif") as source:
        guess = source.read()
    guess[:, :10] = 255
    write_scene(tmp_path / "map.tif", guess, transform=place(0), nodata=255)
    report = evaluate(
        tmp_path / "map.tif",
        labels=chips / "masks" / "chip_0.tif",
        settings=EvaluateSettings(unlabelled=[-1], bootstrap=0),
    )
    assert report.left_out > 0
    _, rows = class_rows(report)
    assert rows[-1][-1] == sum(row[-1] for row in rows[:-1]) == report.pixels + report.left_out


def test_maps_named_beside_pairs_are_answered_with_what_to_drop(chips: Path) -> None:
    maps = sorted((chips / "maps").iterdir())
    with pytest.raises(UsageError, match=r"chip_1.tif and `pairs` exclude each other") as caught:
        evaluate(maps[0], maps[1:], pairs=[chips / "maps", chips / "masks"])
    assert caught.value.hint is not None
    assert "Leave out the files" in caught.value.hint


def test_several_files_of_labels_lie_over_each_other_the_last_on_top(chips: Path, tmp_path: Path) -> None:
    with rasterio.open(chips / "masks" / "chip_0.tif") as source:
        truth = np.abs(source.read()).astype(np.uint8)
    below, above, both = truth.copy(), 1 - truth, truth.copy()
    above[:, :40] = 255
    both[:, 40:] = above[:, 40:]
    write_scene(tmp_path / "below.tif", below, transform=place(0))
    write_scene(tmp_path / "above.tif", above, transform=place(0), nodata=255)
    write_scene(tmp_path / "both.tif", both, transform=place(0))
    judged = chips / "maps" / "chip_0.tif"
    found = evaluate(
        judged, labels=[tmp_path / "below.tif", tmp_path / "above.tif"], settings=EvaluateSettings(bootstrap=0)
    )
    assert (
        found.confusion
        == evaluate(judged, labels=[tmp_path / "both.tif"], settings=EvaluateSettings(bootstrap=0)).confusion
    )
    files = [part for name in ("below", "above") for part in ("-l", str(tmp_path / f"{name}.tif"))]
    answer = CliRunner().invoke(app, ["evaluate", str(judged), *files, "--bootstrap", "0", "--json"])
    assert json.loads(answer.stdout)["confusion"] == [list(row) for row in found.confusion]


def test_polygons_are_compared_with_one_file_of_labels(chips: Path) -> None:
    roofs = sorted((chips / "roofs").iterdir())
    with pytest.raises(UsageError, match="single file of labels; 2 were given"):
        evaluate(roofs[0], labels=roofs[:2])
