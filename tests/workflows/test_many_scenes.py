"""What a scene more costs does not grow with the number of scenes: calls are counted, since time would not be told.

Covers ``progress``.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import resource
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from satseg import TileSettings, predict_scenes, tile, train, vectorize
from satseg.evaluation.settings import EvaluateSettings
from satseg.geo.grid import doubt, ground_sampling_distance
from satseg.records import Progress, ProgressEvent, no_progress
from satseg.training.settings import TrainSettings
from satseg.vectorization.settings import VectorizeSettings
from satseg.workflows.check_tiles import check_tiles
from satseg.workflows.evaluate import evaluate
from satseg.workflows.info import info

SIDE = 64
MOST = 12
COUNTS = (2, 5, MOST)
NETWORK = """
from torch import nn


def pointwise(*, in_channels, num_classes):
    return nn.Conv2d(in_channels, num_classes, 1)
"""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of scenes with their masks, their polygons, a network and the tile sets of some of them."""
    folder = tmp_path_factory.mktemp("scenes")
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    rng = np.random.default_rng(0)
    for number in range(MOST):
        classes = rng.integers(0, 2, (8, 8), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        image = rng.integers(1, 100, (3, SIDE, SIDE), dtype=np.uint8) + 100 * classes
        grid = {"crs": "EPSG:32645", "transform": Affine(0.5, 0, 300_000 + 40 * number, 0, -0.5, 3_000_000)}
        for kind, bands in (("images", image), ("masks", classes[None])):
            profile = {"count": len(bands), "height": SIDE, "width": SIDE, "dtype": "uint8", **grid}
            with rasterio.open(folder / kind / f"s{number:02}.tif", "w", driver="GTiff", **profile) as dataset:
                dataset.write(bands)
    (folder / "network.py").write_text(NETWORK)
    vectorize(
        named(folder, "masks", MOST),
        output=folder / "labels.gpkg",
        settings=VectorizeSettings(class_map={"0": "background", "1": "roof"}),
    )
    for count in COUNTS:
        cut(folder, folder / f"tiles-{count}", count)
    train(
        folder / "tiles-5",
        output=folder / "run",
        settings=TrainSettings(arch=arch(folder), steps=2, threads=1, pictures=False),
    )
    return folder


def named(folder: Path, kind: str, count: int) -> list[Path]:
    return [folder / kind / f"s{number:02}.tif" for number in range(count)]


def arch(folder: Path) -> str:
    return f"{folder / 'network.py'}:pointwise"


def cut(folder: Path, output: Path, count: int, first: int = 0, **options: object) -> None:
    names = named(folder, "images", count)[first:]
    settings = TileSettings(size=32, overlap=0, block=32, threads=1, class_field="class_name", **options)
    tile(names, labels=folder / "labels.gpkg", output=output, settings=settings)


def tile_pairs(folder: Path, count: int, out: Path) -> None:
    for kind in ("images", "masks"):
        (out / kind).mkdir()
        for name in named(folder, kind, count):
            os.link(name, out / kind / name.name)
    pairs = (out / "images", out / "masks")
    tile(
        pairs=pairs,
        output=out / "tiles",
        settings=TileSettings(size=32, overlap=0, split_by="block", block=32, threads=1),
    )


def tile_append(folder: Path, count: int, out: Path) -> None:
    cut(folder, out / "tiles", 1)
    cut(folder, out / "tiles", count, first=1, append=True)


def predict_files(folder: Path, count: int, out: Path) -> None:
    names = named(folder, "images", count)
    outputs = [out / "{stem}.tif", out / "{stem}.gpkg"]
    assert len([*predict_scenes(names, output=outputs, model=folder / "run", arch=arch(folder))]) == count


def predict_layer(folder: Path, count: int, out: Path, progress: Progress = no_progress) -> None:
    names = named(folder, "images", count)
    maps = predict_scenes(names, output=out / "all.gpkg", model=folder / "run", arch=arch(folder), progress=progress)
    assert len([*maps]) == count


def evaluate_scenes(folder: Path, count: int, out: Path, progress: Progress = no_progress) -> None:
    evaluate(
        folder / "run",
        named(folder, "images", count),
        labels=folder / "labels.gpkg",
        settings=EvaluateSettings(class_field="class_name", arch=arch(folder)),
        progress=progress,
    )


def vectorize_layer(folder: Path, count: int, out: Path, progress: Progress = no_progress) -> None:
    vectorize(named(folder, "masks", count), output=out / "all.gpkg", progress=progress)


def train_tiles(folder: Path, count: int, out: Path) -> None:
    train(
        folder / f"tiles-{count}",
        output=out / "run",
        settings=TrainSettings(arch=arch(folder), steps=2, threads=1, pictures=False),
    )


COMMANDS: dict[str, Callable[[Path, int, Path], object]] = {
    "tile": lambda folder, count, out: cut(folder, out / "tiles", count),
    "tile --pairs": tile_pairs,
    "tile --append": tile_append,
    "tile --resume": lambda folder, count, out: cut(folder, folder / f"tiles-{count}", count, resume=True),
    "tile --check": lambda folder, count, out: check_tiles(folder / f"tiles-{count}"),
    "train": train_tiles,
    "predict, a layer": predict_layer,
    "predict, files": predict_files,
    "evaluate, scenes": evaluate_scenes,
    "evaluate, tiles": lambda folder, count, out: evaluate(
        folder / "run", folder / f"tiles-{count}", settings=EvaluateSettings(split="train", arch=arch(folder))
    ),
    "vectorize": vectorize_layer,
    "info": lambda folder, count, out: [info(name) for name in named(folder, "images", count)],
}


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> Callable[[Path, int, Path], object]:
    return COMMANDS[request.param]


def test_no_function_is_called_more_often_for_each_of_many_scenes(
    command: Callable[[Path, int, Path], object],
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def calls(count: int, out: str) -> dict[tuple[str, int, str], int]:
        (tmp_path / out).mkdir()
        for remembered in (doubt, ground_sampling_distance):  # some of the grids, from the tests before
            remembered.cache_clear()
        monkeypatch.setattr(sys, "argv", ["satseg", *map(str, named(scenes, "images", count))])
        urllib.parse.clear_cache()  # earlier runs have filled it with the addresses of some scenes
        profile = cProfile.Profile()
        profile.runcall(command, scenes, count, tmp_path / out)
        counted = {where: entry[1] for where, entry in pstats.Stats(profile).stats.items()}
        return {where: number for where, number in counted.items() if not _waits(where)}

    calls(COUNTS[0], "imports")
    few, some, many = (calls(count, str(count)) for count in COUNTS)
    grown = {
        where: (first, last)
        for where, number in many.items()
        if (first := (some.get(where, 0) - few.get(where, 0)) / (COUNTS[1] - COUNTS[0])) >= 0
        and (last := (number - some.get(where, 0)) / (COUNTS[2] - COUNTS[1])) > 1.5 * first + 5
    }
    assert grown == {}


def _waits(where: tuple[str, int, str]) -> bool:
    """Tell functions that are called as often as threads happen to wait for each other."""
    file, _, name = where
    return "_thread." in name or "time.monotonic" in name or Path(file).name == "threading.py"


@contextmanager
def _open_files(most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_file_stays_open_for_each_scene(
    command: Callable[[Path, int, Path], object], scenes: Path, tmp_path: Path
) -> None:
    (tmp_path / "first").mkdir()
    command(scenes, COUNTS[0], tmp_path / "first")
    (tmp_path / "most").mkdir()
    with _open_files(max(map(int, os.listdir("/dev/fd"))) + 16):  # a descriptor is the lowest number that is free
        command(scenes, MOST, tmp_path / "most")


@pytest.mark.parametrize("command", [predict_layer, evaluate_scenes, vectorize_layer])
def test_the_progress_of_many_scenes_is_one_that_does_not_begin_anew(
    command: Callable[..., None], scenes: Path, tmp_path: Path
) -> None:
    events: list[ProgressEvent] = []
    command(scenes, 3, tmp_path, progress=events.append)
    assert events
    for task in {event.task for event in events}:
        mine = [event for event in events if event.task == task]
        done, (total,) = [event.done for event in mine], {event.total for event in mine}
        assert done == sorted(done)
        assert len(set(done)) >= 3
        assert done[-1] == total
