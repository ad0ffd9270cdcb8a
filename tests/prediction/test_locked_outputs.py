"""Two runs, one output: the second is told who has it, whichever of its outputs that is, and writes nothing.

Covers ``outputs``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_scenes import write_labels
from test_predict_options import make_predictor, ramp, write_scene
from training_runs import run

from satseg.errors import OutputError
from satseg.outputs.lock import locked
from satseg.prediction.outputs import OutputPaths
from satseg.raster.source import SceneSource
from satseg.records import MapLayer
from satseg.tiling.settings import TileSettings
from satseg.training.settings import TrainSettings
from satseg.workflows.benchmark import benchmark
from satseg.workflows.tile import tile
from satseg.workflows.train import train
from satseg.workflows.vectorize import vectorize


def vectors(folder: Path) -> object:
    raster = write_scene(folder / "classes.tif", np.ones((8, 8), np.uint8))
    return vectorize(raster, output=[folder / "a.fgb", folder / "b.gpkg", folder / "c.parquet"])


def maps(folder: Path) -> object:
    scene = write_scene(folder / "scene.tif", ramp(40, 40))
    rasters = ((MapLayer.CLASSES, folder / "a.tif"), (MapLayer.CONFIDENCE, folder / "sure.tif"))
    return make_predictor().predict(SceneSource.of(scene), OutputPaths(rasters, (folder / "b.gpkg",)))


def layer(folder: Path) -> object:
    with make_predictor().open_layer(OutputPaths(vectors=(folder / "a.fgb", folder / "b.gpkg"))) as shared:
        return shared.close()


def tiles(folder: Path) -> object:
    scene = write_scene(folder / "scene.tif", np.ones((1, 128, 128), np.uint8))
    labels = write_labels(folder / "labels.gpkg", (0, 0, 90, 90))
    return tile([scene], labels=labels, output=folder / "tiles", settings=TileSettings(size=32, overlap=0))


def picture(folder: Path) -> object:
    return benchmark("erfnet", output=folder / "speed.png", size=64, repeats=1, num_classes=2)


@pytest.mark.parametrize(
    ("work", "taken"),
    [
        (vectors, "b.gpkg"),
        (vectors, "c.parquet"),
        (maps, "a.tif"),
        (maps, "sure.tif"),
        (maps, "b.gpkg"),
        (layer, "b.gpkg"),
        (tiles, "tiles"),
        (picture, "speed.png"),
    ],
)
def test_no_output_is_written_while_another_run_makes_one(
    tmp_path: Path, work: Callable[[Path], object], taken: str
) -> None:
    with locked(tmp_path / taken):
        with pytest.raises(OutputError, match=rf"{taken} is being written by process \d+ \("):
            work(tmp_path)
        left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"scene.tif", "classes.tif", "labels.gpkg", f".{taken}.satseg"}


def test_a_run_trains_alone_in_its_folder(tmp_path: Path, bright_tiles: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(OutputError, match="run is being written"):
        train(
            bright_tiles,
            output=tmp_path / "run",
            settings=TrainSettings(arch="erfnet", steps=1, threads=1, pictures=False),
        )
    assert not (tmp_path / "run").exists()
    run(bright_tiles, tmp_path / "run", steps=1)
    with locked(tmp_path / "run"), pytest.raises(OutputError, match="run is being written"):
        run(bright_tiles, tmp_path / "run", steps=1, resume=True)
