"""A nodata value that the file does not declare is noticed from tiles to maps: all is as if it had been declared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from made_scenes import write_labels, write_scene
from training_runs import run, weights

from satseg.evaluation.settings import EvaluateSettings
from satseg.prediction.settings import PredictionSettings
from satseg.raster.values import spell
from satseg.tiles.tileset import MOMENTS, TileSet
from satseg.tiling.settings import TileSettings
from satseg.workflows.evaluate import evaluate
from satseg.workflows.predict import predict
from satseg.workflows.tile import tile

VALUE = -3.4028234663852886e38


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders, with the value declared and not: a scene, its labels, tiles and a short run on them."""
    rng = np.random.default_rng(0)
    bands = rng.normal(0.2, 0.05, (2, 128, 192)).astype(np.float32)
    bands[:, 30:60, 40:90] += 0.3
    bands[0, 64, 70] = bands[1, 10:14, 150] = VALUE
    made = []
    for name, profile in (("declared", {"nodata": VALUE}), ("not", {})):
        folder = tmp_path_factory.mktemp(name)
        scene = write_scene(folder / "scene.tif", bands, **profile)
        labels = write_labels(folder / "labels.gpkg", (40, 30, 90, 60))
        tile([scene], labels=labels, output=folder / "tiles", settings=TileSettings(size=32, overlap=0, block=32))
        run(folder / "tiles", folder / "run", steps=2)
        made.append(folder)
    return made[0], made[1]


def test_statistics_and_samples_are_those_of_measured_pixels(folders: tuple[Path, Path]) -> None:
    declared, undeclared = (TileSet.open(folder / "tiles") for folder in folders)
    assert undeclared.statistics == declared.statistics
    assert min(undeclared.statistics.minimum) > -1
    for split in ("train", "val", "test"):
        for one, other in zip(declared.tiles(split), undeclared.tiles(split), strict=True):
            assert all((a == b).all() for a, b in zip(one.read(), other.read(), strict=True))


def test_training_ends_with_the_same_weights(folders: tuple[Path, Path]) -> None:
    one, other = (weights(folder / "run") for folder in folders)
    assert one == other


@pytest.mark.parametrize("settings", [{}, {"tta": "flips", "scales": (0.5,)}, {"crf": True}])
def test_maps_are_the_same_and_say_what_was_left_out(
    folders: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, settings: dict[str, object]
) -> None:
    maps = []
    for folder in folders:
        caplog.clear()
        predict(
            folder / "scene.tif",
            output=tmp_path / "map.tif",
            model=folder / "run",
            settings=PredictionSettings(window=64, overlap=16, threads=1, **settings),  # type: ignore[arg-type]
        )
        with rasterio.open(tmp_path / "map.tif") as dataset:
            maps.append(dataset.read(1))
    assert (maps[0] == maps[1]).all()
    assert (maps[1] == 255).sum() == 5
    (told,) = [line for line in caplog.messages if "out of range" in line]
    assert "5 px hold values far out of range, such as -3.4028235e+38 in band_2 at row 10, column 150" in told
    assert "gdal_edit.py -a_nodata -3.4028235e+38" in told


def test_scores_are_the_same(folders: tuple[Path, Path]) -> None:
    for inputs in ([], ["scene.tif"]):
        declared, undeclared = (
            evaluate(
                folder / "run" / "best.safetensors",
                [folder / name for name in inputs] or [folder / "tiles"],
                labels=folder / "labels.gpkg" if inputs else None,
                settings=EvaluateSettings(threads=1),
            )
            for folder in folders
        )
        assert undeclared.confusion == declared.confusion


def test_cutting_tiles_says_what_was_left_out(folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    _, folder = folders
    tile(
        [folder / "scene.tif"],
        labels=folder / "labels.gpkg",
        output=folder / "again",
        settings=TileSettings(size=64, overlap=0, block=64),
    )
    (told,) = [line for line in caplog.messages if "out of range" in line]
    assert "scene.tif: 5 px hold values far out of range" in told


def test_a_band_that_is_constant_in_training_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bands = np.random.default_rng(0).integers(0, 4000, (2, 96, 96), dtype=np.uint16)
    bands[1] = 7
    scene = write_scene(tmp_path / "scene.tif", bands)
    labels = write_labels(tmp_path / "labels.gpkg", (10, 10, 50, 50))
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, overlap=0, block=32))
    assert any("band_2 is 7 everywhere" in line for line in caplog.messages)
    caplog.clear()
    run(tmp_path / "tiles", tmp_path / "run", steps=1)
    assert any("band_2 is 7 everywhere" in line for line in caplog.messages)


def test_a_customary_nodata_value_is_asked_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bands = np.random.default_rng(0).normal(300, 20, (1, 96, 96)).astype(np.float32)
    bands[0, :10, :40] = -9999
    scene = write_scene(tmp_path / "scene.tif", bands)
    labels = write_labels(tmp_path / "labels.gpkg", (10, 10, 50, 50))
    tile(
        [scene],
        labels=labels,
        output=tmp_path / "tiles",
        settings=TileSettings(size=32, overlap=0, block=32, split=(1, 0, 0)),
    )
    (told,) = [line for line in caplog.messages if "far from all other values" in line]
    assert told.startswith("In 2 of 9 train tiles, band_1 holds -9999, far")
    assert "gdal_edit.py -a_nodata -9999 FILE" in told


def test_moments_that_were_taken_with_such_values_are_taken_anew(folders: tuple[Path, Path]) -> None:
    _, folder = folders
    index = TileSet.open(folder / "tiles").statistics
    table = pq.read_table(folder / "tiles" / MOMENTS)
    spoilt = [[VALUE, *values[1:]] for values in table["minimum"].to_pylist()]
    column = table.schema.get_field_index("minimum")
    pq.write_table(table.set_column(column, table.schema.field(column), [spoilt]), folder / "tiles" / MOMENTS)
    assert TileSet.open(folder / "tiles").statistics == index


@pytest.mark.parametrize("gsd", ["1m", "0.7m", "0.3m"])
@pytest.mark.parametrize("value", [VALUE, 1e20])
def test_such_values_are_not_mixed_in_where_scenes_are_resampled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, gsd: str, value: float
) -> None:
    bands = np.random.default_rng(0).normal(0.2, 0.05, (1, 80, 80)).astype(np.float32)
    bands[0, 5, 5] = bands[0, 40:43, 17] = value
    labels = write_labels(tmp_path / "labels.gpkg", (10, 10, 50, 50))
    sets = []
    for name, profile in (("declared", {"nodata": value}), ("not", {})):
        caplog.clear()
        scene = write_scene(tmp_path / f"{name}.tif", bands, **profile)
        options = {"size": 32, "overlap": 0, "block": 32, "split": (1, 0, 0)}
        tile([scene], labels=labels, output=tmp_path / name, settings=TileSettings(gsd=gsd, **options))
        sets.append(TileSet.open(tmp_path / name))
    assert sets[1].statistics == sets[0].statistics
    for one, other in zip(*(tiles.tiles("train") for tiles in sets), strict=True):
        assert all((a == b).all() for a, b in zip(one.read(), other.read(), strict=True))
    (told,) = [line for line in caplog.messages if "out of range" in line]
    assert f"{spell(float(np.float32(value)))} in band_1 at row 5, column 5" in told
