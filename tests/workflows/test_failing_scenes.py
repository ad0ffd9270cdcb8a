"""What fails in one scene stays there: the others are mapped, and the layer of all holds them whole.

Covers ``inference/crf_pass``.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from made_scenes import write_scene
from predictors import predictor_of, use_predictor
from torch import Tensor, nn

from satseg.classes import ClassTable
from satseg.errors import NetworkError, OutputError, SatsegError, UsageError
from satseg.inference.network import Network
from satseg.prediction.outputs import OutputPaths
from satseg.prediction.settings import PredictionSettings
from satseg.raster.source import SceneSource
from satseg.records import BandStatistics, MapLayer
from satseg.vectorization.scene import SceneTracer
from satseg.vectorization.settings import PolygonSettings
from satseg.workflows.predict import dry_run_scenes, predict_scenes

BAD = 177
SETTINGS = PredictionSettings(window=64, overlap=8, threads=1, polygons=PolygonSettings(keep_background=True))
FAILURES = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    KeyError("band"),
    RuntimeError("could not create a primitive"),
    OSError(5, "Input/output error", "/mnt/scene.tif"),
    ZeroDivisionError("division by zero"),
    NetworkError("The network is ill."),
    AssertionError(),
]


class Moody(nn.Module):
    """Class 1 where values are above 128; raises where it meets one value."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self.failure = failure

    def forward(self, images: Tensor) -> Tensor:
        if (images == BAD).any():
            raise self.failure
        return torch.cat([128 - images, images - 128], dim=1)


@pytest.fixture
def scenes(tmp_path: Path) -> list[Path]:
    """Three scenes, the second of which the network does not like."""
    values = np.zeros((1, 70, 80), dtype=np.uint8)
    values[:, 20:40, 30:60] = 200
    bad = values.copy()
    bad[:, 65, 70] = BAD
    return [write_scene(tmp_path / f"{name}.tif", bad if name == "b" else values) for name in "abc"]


def use(monkeypatch: pytest.MonkeyPatch, model: nn.Module, settings: PredictionSettings = SETTINGS) -> None:
    statistics = BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,))
    table = ClassTable.from_names(["background", "bright"])
    network = Network(model, classes=table, statistics=statistics, device=torch.device("cpu"))
    use_predictor(monkeypatch, predictor_of(network, settings))


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_an_exception_of_any_kind_is_the_error_of_its_scene_alone(
    tmp_path: Path, scenes: list[Path], monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    use(monkeypatch, Moody(failure))
    errors: list[SatsegError] = []
    outputs = [tmp_path / "all.parquet", str(tmp_path / "{stem}_map.tif")]
    maps = predict_scenes(scenes, model="moody", output=outputs, settings=SETTINGS, on_error=errors.append)
    assert [Path(summary.scene).stem for summary in maps] == ["a", "c"]
    (error,) = errors
    assert "b.tif" in error.message
    assert error is failure or error.__cause__ is failure
    assert set(geopandas.read_parquet(tmp_path / "all.parquet")["scene"]) == {"a.tif", "c.tif"}
    assert not (tmp_path / "b_map.tif").exists()


@pytest.mark.parametrize("where", ["push", "tabulate"])
def test_a_scene_whose_polygons_fail_leaves_nothing_in_the_layer_of_all(
    tmp_path: Path, scenes: list[Path], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Scenes are of several strips and batches here, so that some of its polygons are there before it fails."""
    use(monkeypatch, Moody(MemoryError()))
    scenes[1] = write_scene(tmp_path / "b.tif", np.kron(np.eye(150), np.full((1, 4, 4), 200)).astype(np.uint8))
    original, calls = getattr(SceneTracer, where), []

    def failing(self: SceneTracer, *args: Any) -> Any:
        if "b.tif" in self._scene.path:
            calls.append(1)
            if len(calls) > 1 or where == "tabulate":
                raise ZeroDivisionError
        return original(self, *args)

    alone = tmp_path / "alone.parquet"
    list(predict_scenes([scenes[0], scenes[2]], model="moody", output=alone, settings=SETTINGS))
    monkeypatch.setattr(SceneTracer, where, failing)
    errors: list[SatsegError] = []
    stream = io.StringIO()
    maps = predict_scenes(
        scenes,
        model="moody",
        output=["-", tmp_path / "all.parquet"],
        settings=SETTINGS,
        stream=stream,
        on_error=errors.append,
    )
    assert [Path(summary.scene).stem for summary in maps] == ["a", "c"]
    assert len(errors) == 1
    found, expected = (geopandas.read_parquet(path) for path in (tmp_path / "all.parquet", alone))
    assert found.equals(expected)  # numbers of regions, too
    assert stream.getvalue().count('"Feature"') == len(expected)


def test_a_layer_that_cannot_be_written_is_not_left_half(
    tmp_path: Path, scenes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OutputError("The disk is full.")

    use(monkeypatch, Moody(MemoryError()))
    monkeypatch.setattr("satseg.vectorization.parquet_writer.ParquetWriter.write", full)
    errors: list[SatsegError] = []
    layer = tmp_path / "all.parquet"
    maps = predict_scenes(
        [scenes[0], scenes[2]], model="moody", output=layer, settings=SETTINGS, on_error=errors.append
    )
    assert not list(maps)
    assert errors[0].message.endswith("a.tif: The disk is full.")
    assert not layer.exists()


def test_a_dry_run_goes_on_after_a_scene_that_fails(
    tmp_path: Path, scenes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Moody(KeyError("x")))
    errors: list[SatsegError] = []
    asked = [tmp_path / "none.tif", scenes[2]]
    outputs = str(tmp_path / "{stem}_map.tif")
    told = dry_run_scenes(asked, model="moody", output=outputs, settings=SETTINGS, on_error=errors.append)
    assert [Path(one.scene).stem for one in told] == ["c"]
    assert ["none.tif does not exist" in error.message for error in errors] == [True]


def test_a_class_named_nodata_keeps_its_count(tmp_path: Path) -> None:
    values = np.zeros((1, 70, 80), dtype=np.uint8)
    values[:, :10] = 200
    values[:, 60:] = 255
    scene = write_scene(tmp_path / "scene.tif", values, nodata=255)
    statistics = BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,))
    table = ClassTable.from_names(["field", "nodata"])
    network = Network(Moody(KeyError()), classes=table, statistics=statistics, device=torch.device("cpu"))
    summary = predictor_of(network, SETTINGS).predict(SceneSource.of(scene), OutputPaths.of_files(tmp_path / "map.tif"))
    assert summary.pixels == {"field": 50 * 80, "nodata": 10 * 80, "no data": 10 * 80}


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"batch_size": -1}, {"threads": 0}, {"devices": 0}, {"overlap": -1}, {"sieve": -1}]
)
def test_numbers_that_make_no_sense_are_refused_and_not_taken_for_auto(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(UsageError, match=f"`{name}` is {wrong[name]}; it must be at least"):
        PredictionSettings(window="auto", **wrong)


@pytest.mark.parametrize("blocks", [{"tiled": True, "blockxsize": 64, "blockysize": 64}, {"blockysize": 16}])
def test_a_crf_leaves_out_what_cannot_be_read(tmp_path: Path, blocks: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    values = rng.choice([100, 200], (1, 200, 190)).astype(np.uint8)
    scene = write_scene(tmp_path / "scene.tif", values, compress="deflate", **blocks)
    with rasterio.open(scene) as dataset:
        block = "BLOCK_OFFSET_1_1" if "tiled" in blocks else "BLOCK_OFFSET_0_5"
        place = dataset.get_tag_item(block, "TIFF", bidx=1)
    with scene.open("r+b") as file:
        file.seek(int(place))
        file.write(b"\xff" * 16)
    damaged = np.zeros((200, 190), dtype=bool)
    damaged[(slice(64, 128), slice(64, 128)) if "tiled" in blocks else slice(80, 96)] = True
    statistics = BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,))
    table = ClassTable.from_names(["dark", "bright"])
    network = Network(Moody(KeyError()), classes=table, statistics=statistics, device=torch.device("cpu"))
    settings = PredictionSettings(window=64, overlap=8, threads=1, crf=True, on_read_error="nodata")
    layers = ((MapLayer.CLASSES, tmp_path / "map.tif"), (MapLayer.CONFIDENCE, tmp_path / "sure.tif"))
    predictor_of(network, settings).predict(SceneSource.of(scene), OutputPaths(layers))
    for _, path in layers:
        with rasterio.open(path) as dataset:
            assert ((dataset.read(1) == 255) == damaged).all()


def test_a_scene_that_cannot_even_be_looked_at_before_any_work_fails_in_its_turn(
    tmp_path: Path, scenes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenes of one layer are opened to compare their CRSs first."""
    original = SceneSource.open

    def odd(self: SceneSource) -> Any:
        if "b.tif" in self.name:
            raise KeyError("crs")
        return original(self)

    use(monkeypatch, Moody(MemoryError()))
    monkeypatch.setattr(SceneSource, "open", odd)
    errors: list[SatsegError] = []
    layer = tmp_path / "all.parquet"
    maps = predict_scenes(scenes, model="moody", output=layer, settings=SETTINGS, on_error=errors.append)
    assert [Path(summary.scene).stem for summary in maps] == ["a", "c"]
    assert [error.message for error in errors] == [f"Mapping {scenes[1]} failed by KeyError: 'crs'."]
