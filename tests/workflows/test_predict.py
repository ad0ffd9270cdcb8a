from __future__ import annotations

import io
import json
import logging
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Literal

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from predictors import predictor_of
from rasterio.features import rasterize
from torch import Tensor, nn

from satseg.backend import create_model
from satseg.checkpoint import ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.errors import CheckpointError, OutputError, SatsegError, SceneError, UsageError
from satseg.inference.network import Network
from satseg.prediction.outputs import OutputPaths
from satseg.prediction.predictor import Predictor
from satseg.prediction.settings import OutputNames, PredictionSettings
from satseg.raster.scene import Scene
from satseg.raster.source import SceneSource
from satseg.records import BandSpec, BandStatistics, PredictionSummary, Progress, ProgressEvent, no_progress
from satseg.vectorization.settings import PolygonSettings
from satseg.workflows.predict import predict, predict_scenes

GRID = Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)
TABLE = ClassTable.from_names(["background", "grey", "bright"])
SMALL = PredictionSettings(window=64, threads=1)


class Thresholds(nn.Module):
    """The oracle: three classes by the value of the first band."""

    def forward(self, images: Tensor) -> Tensor:
        value = images[:, :1]
        return torch.cat([80 - value, 40 - (value - 120).abs(), value - 160], dim=1) * 10


def oracle(num_bands: int = 1, *, window: int = 64) -> Predictor:
    statistics = BandStatistics(1, (0.0,) * num_bands, (1.0,) * num_bands, (0.0,) * num_bands, (255.0,) * num_bands)
    network = Network(Thresholds(), classes=TABLE, statistics=statistics, device=torch.device("cpu"))
    return predictor_of(network, PredictionSettings(window=window, threads=1))


def map_scene(predictor: Predictor, path: Path, *files: Path, progress: Progress = no_progress) -> PredictionSummary:
    return predictor.predict(SceneSource.of(path), OutputPaths.of_files(*files), progress=progress)


def write_scene(path: Path, values: np.ndarray, **profile: object) -> Path:
    options: dict[str, object] = {"driver": "GTiff", "crs": "EPSG:32645", "transform": GRID} | profile
    with rasterio.open(
        path, "w", count=1, height=values.shape[0], width=values.shape[1], dtype=values.dtype.name, **options
    ) as dataset:
        dataset.write(values, 1)
    return path


def blobs(height: int = 150, width: int = 170) -> np.ndarray:
    """Connected patches of three levels, some of them touching."""
    coarse = np.random.default_rng(4).choice([20, 120, 240], (height // 10 + 1, width // 10 + 1))
    return np.kron(coarse, np.ones((10, 10)))[:height, :width].astype(np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "best.safetensors"
    card = ModelCard(
        arch="erfnet",
        classes=TABLE,
        bands=BandSpec(("band_1",), "uint8", (1.0,), (0.0,)),
        statistics=BandStatistics(9, (120.0,), (80.0,), (0.0,), (255.0,)),
        gsd=(0.5, 0.5),
        tile_size=64,
    )
    torch.manual_seed(0)
    save_checkpoint(path, create_model("erfnet", in_channels=1, num_classes=3).state_dict(), card)
    return path


@pytest.mark.parametrize("transform", [GRID, GRID * Affine.rotation(25), Affine(0.5, 0, 300_000, 0, 0.5, 2_999_900)])
def test_polygons_burnt_back_are_the_class_raster(tmp_path: Path, transform: Affine) -> None:
    path = write_scene(tmp_path / "scene.tif", blobs(), transform=transform)
    outputs = [tmp_path / "map.tif", tmp_path / "map.gpkg"]
    summary = map_scene(oracle(), path, *outputs)
    with rasterio.open(outputs[0]) as dataset:
        classes = dataset.read(1)
    assert (classes == np.digitize(blobs(), [80, 160])).all()
    frame = geopandas.read_file(outputs[1])
    assert frame.geometry.is_valid.all()
    assert shapely.coverage_is_valid(frame.geometry.to_numpy())
    burnt = rasterize(
        zip(frame.geometry, frame["class_id"], strict=True), out_shape=classes.shape, transform=transform, fill=0
    )
    assert (burnt == classes).all()
    assert summary.pixels == {
        "background": int((classes == 0).sum()),
        "grey": int((classes == 1).sum()),
        "bright": int((classes == 2).sum()),
        "nodata": 0,
    }
    assert summary.polygons == frame["class_name"].value_counts().reindex(summary.polygons).to_dict()


def test_areas_are_those_of_the_pixels(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", blobs())
    summary = map_scene(oracle(), path, tmp_path / "map.parquet")
    frame = geopandas.read_parquet(tmp_path / "map.parquet")
    bright = frame[frame["class_name"] == "bright"]
    assert bright["area_m2"].sum() == pytest.approx(summary.pixels["bright"] * 0.25, rel=0.002)


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", blobs())
    suffixes = (".tif", ".gpkg", ".parquet", ".fgb", ".geojson", ".geojsonl")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        map_scene(oracle(), path, *(tmp_path / name / f"map{suffix}" for suffix in suffixes))
    for suffix in suffixes:
        assert (tmp_path / "a" / f"map{suffix}").read_bytes() == (tmp_path / "b" / f"map{suffix}").read_bytes(), suffix


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SceneError("broken")])
def test_an_interruption_leaves_what_was_there_before(tmp_path: Path, interruption: BaseException) -> None:
    path = write_scene(tmp_path / "scene.tif", blobs(300, 300))
    (tmp_path / "map.tif").write_text("before")
    before = sorted(tmp_path.iterdir())

    def interrupt(event: ProgressEvent) -> None:
        if event.done > event.total / 2:  # type: ignore[operator]
            raise interruption

    with pytest.raises((KeyboardInterrupt, SceneError)):
        map_scene(oracle(), path, tmp_path / "map.tif", tmp_path / "map.gpkg", progress=interrupt)
    assert (tmp_path / "map.tif").read_text() == "before"
    assert sorted(tmp_path.iterdir()) == before


def test_every_awkward_raster_is_mapped_or_refused_in_one_sentence(tmp_path: Path, real_files: Path) -> None:
    refused = []
    for path in sorted((real_files / "rasters").iterdir()):
        try:
            with Scene.open(path) as scene:
                bands = len(scene.info.bands)
                _, valid = scene.read(_whole(scene))
            map_scene(oracle(bands, window=512), path, tmp_path / f"{path.name}.tif")
        except SceneError as error:
            refused.append(path.name)
            assert path.name in error.message
            assert not (tmp_path / f"{path.name}.tif").exists()
        else:
            with rasterio.open(tmp_path / f"{path.name}.tif") as dataset:
                assert ((dataset.read(1) == 255) == ~valid).all()
    assert refused == ["RGB.byte.rpc.vrt", "RGB.byte.tif.aux.xml", "corrupt.tif"]


def _whole(scene: Scene) -> rasterio.windows.Window:
    return rasterio.windows.Window(0, 0, scene.info.width, scene.info.height)


def test_one_scene_with_a_checkpoint(tmp_path: Path, checkpoint: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", blobs())
    summary = predict(path, model=checkpoint, output=[tmp_path / "map.tif"], settings=SMALL)
    assert sum(summary.pixels.values()) == 150 * 170
    with rasterio.open(tmp_path / "map.tif") as dataset:
        tags = dataset.tags()
    assert tags["SATSEG_MODEL"].startswith("best.safetensors sha256:")
    assert "--window 64" in tags["SATSEG_COMMAND"]


def test_outputs_tell_the_whole_command_and_their_scenes_by_name(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "it's b").mkdir()
    scenes = [write_scene(tmp_path / name, blobs(70, 80)) for name in ("a.tif", "it's b/a.tif")]
    output = [str(tmp_path / "all.gpkg"), str(tmp_path / "it's b" / "{stem} map.tif"), str(tmp_path / "b.parquet")]
    settings = replace(SMALL, polygons=PolygonSettings(raw=True), resume=True)
    list(predict_scenes(scenes[1:], model=checkpoint, output=output, settings=settings))
    expected = ["-m", str(checkpoint)] + [word for name in output for word in ("-o", name)]
    expected += ["--window", "64", "--threads", "1", "--raw"]
    with rasterio.open(tmp_path / "it's b" / "a map.tif") as dataset:
        tags = dataset.tags()
    assert shlex.split(tags["SATSEG_COMMAND"]) == ["satseg", "predict", str(scenes[1]), *expected]
    assert (
        pyogrio.read_info(tmp_path / "all.gpkg")["layer_metadata"].items()
        >= {
            "SATSEG_COMMAND": tags["SATSEG_COMMAND"],
            "SATSEG_SCENE": str(scenes[1]),
        }.items()
    )
    assert set(geopandas.read_file(tmp_path / "all.gpkg").scene) == {"a.tif"}
    output = output[:1]
    list(predict_scenes(scenes, model=checkpoint, output=output, settings=SMALL))
    told = pyogrio.read_info(tmp_path / "all.gpkg")["layer_metadata"]
    assert shlex.split(told["SATSEG_COMMAND"])[:4] == ["satseg", "predict", *map(str, scenes)]
    assert told["SATSEG_SCENE"] == f"{scenes[0]}, {scenes[1]}"
    assert set(geopandas.read_file(tmp_path / "all.gpkg").scene) == {f"{tmp_path.name}/a.tif", "it's b/a.tif"}
    list(predict_scenes(iter(scenes), model=checkpoint, output=output, settings=SMALL))
    assert set(geopandas.read_file(tmp_path / "all.gpkg").scene) == {"a.tif", "it's b/a.tif"}


def test_many_scenes_have_an_output_each(tmp_path: Path, checkpoint: Path) -> None:
    scenes = [write_scene(tmp_path / f"{name}.tif", blobs()) for name in ("a", "b")]
    output = str(tmp_path / "{stem}_map.tif")
    assert len(list(predict_scenes(iter(scenes), model=checkpoint, output=[output], settings=SMALL))) == 2
    assert (tmp_path / "a_map.tif").exists()
    assert (tmp_path / "b_map.tif").exists()


def test_many_scenes_do_not_overwrite_each_other(tmp_path: Path, checkpoint: Path) -> None:
    scenes = [write_scene(tmp_path / f"{name}.tif", blobs()) for name in ("a", "b")]
    with pytest.raises(UsageError, match="would both be written to"):
        list(predict_scenes(scenes, model=checkpoint, output=[tmp_path / "map.tif"], settings=SMALL))


def test_a_scene_that_fails_does_not_stop_the_others(tmp_path: Path, checkpoint: Path) -> None:
    good = write_scene(tmp_path / "good.tif", blobs())
    errors: list[SatsegError] = []
    found = predict_scenes(
        [tmp_path / "none.tif", good],
        model=checkpoint,
        output=[str(tmp_path / "{stem}_map.tif")],
        settings=SMALL,
        on_error=errors.append,
    )
    assert [summary.scene for summary in found] == [str(good)]
    assert "none.tif does not exist" in errors[0].message


def test_polygons_stream_as_geojson_sequence(tmp_path: Path, checkpoint: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", blobs())
    stream = io.StringIO()
    settings = PredictionSettings(window=64, threads=1, polygons=PolygonSettings(keep_background=True))
    (summary,) = predict_scenes([path], model=checkpoint, output=["-"], stream=stream, settings=settings)
    features = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(features) == sum((summary.polygons or {}).values()) > 0
    assert all(-180 <= shapely.geometry.shape(f["geometry"]).bounds[0] <= 180 for f in features)


def test_a_scene_that_does_not_fit_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", blobs().astype(np.uint16))
    with pytest.raises(CheckpointError, match="its dtype is uint16, but the network was trained on uint8"):
        predict(path, model=checkpoint, output=[tmp_path / "map.tif"])
    assert not (tmp_path / "map.tif").exists()


def test_a_scene_unlike_the_training_scenes_is_remarked(
    tmp_path: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_scene(tmp_path / "scene.tif", np.full((80, 80), 3, np.uint8), transform=GRID * Affine.scale(3))
    with caplog.at_level(logging.INFO, "satseg"):
        predict(path, model=checkpoint, output=[tmp_path / "map.tif"], settings=SMALL)
    assert "looks unlike the training scenes: band_1 3 ± 0 here, 120 ± 80 in training" in caplog.text
    told = "has 1.5 m per pixel and the network was trained at 0.5 m: the scene is resampled"
    assert [record.levelname for record in caplog.records if told in record.message] == ["INFO"]  # as it should be


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(("gsd", "told"), [("model", 1), ("scene", 0)])
def test_pixels_of_unknown_size_are_remarked(
    gsd: Literal["model", "scene"], told: int, tmp_path: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with rasterio.open(tmp_path / "scene.png", "w", driver="PNG", width=80, height=80, count=1, dtype="uint8") as png:
        png.write(blobs()[..., :80, :80].reshape(1, 80, 80))
    with caplog.at_level(logging.WARNING, "satseg"):
        predict(
            tmp_path / "scene.png", model=checkpoint, output=[tmp_path / "map.tif"], settings=replace(SMALL, gsd=gsd)
        )
    assert caplog.text.count("does not state the size of its pixels") == told


@pytest.mark.parametrize("output", ["map", "map.jpg", "map.tiff.zip"])
def test_an_output_of_unknown_kind_is_refused_before_any_work(tmp_path: Path, output: str) -> None:
    with pytest.raises(UsageError, match="has no known suffix"):
        predict(tmp_path / "none.tif", model=tmp_path / "none", output=[tmp_path / output])


def test_the_scene_is_not_overwritten(tmp_path: Path, checkpoint: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", blobs())
    with pytest.raises(UsageError, match="is also an input: it would be overwritten"):
        predict(path, model=checkpoint, output=[path])


def test_without_a_model_and_a_run_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        predict("scene.tif", output=["map.tif"])


def test_outputs_that_collide_are_refused_before_any_scene_is_mapped(tmp_path: Path, checkpoint: Path) -> None:
    scenes = [write_scene(tmp_path / f"{name}.tif", blobs()) for name in ("a", "b")]
    with pytest.raises(UsageError, match="would both be written to"):
        next(predict_scenes(scenes, model=checkpoint, output=[tmp_path / "map.tif"], settings=SMALL))
    assert not (tmp_path / "map.tif").exists()


def test_a_run_folder_stands_for_its_best_checkpoint(tmp_path: Path, checkpoint: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", blobs())
    assert predict(path, model=checkpoint.parent, output=tmp_path / "map.tif", settings=SMALL).outputs


def test_polygons_are_cleaned_and_simplified_while_the_map_streams(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", blobs())
    polygons = PolygonSettings(keep_background=True, simplify="2px", min_area="50m2")
    shaped = replace(oracle(), settings=PredictionSettings(window=64, threads=1, polygons=polygons))
    map_scene(shaped, path, tmp_path / "map.gpkg")
    map_scene(oracle(), path, tmp_path / "plain.gpkg")
    frame, plain = geopandas.read_file(tmp_path / "map.gpkg"), geopandas.read_file(tmp_path / "plain.gpkg")
    assert shapely.coverage_is_valid(frame.geometry.to_numpy())
    assert (frame["pixels"] * 0.25 >= 50).all()
    assert (plain["pixels"] * 0.25 < 50).any()


def test_no_output_is_written_twice_or_over_an_input(tmp_path: Path, checkpoint: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", blobs())
    twice = OutputNames(output=(str(tmp_path / "map.tif"),), confidence=str(tmp_path / "x" / ".." / "map.tif"))
    with pytest.raises(UsageError, match="is named twice"):
        predict(path, model=checkpoint, output=twice, settings=SMALL)
    with pytest.raises(UsageError, match="is also an input"):
        predict(path, model=checkpoint, output="area.gpkg", settings=replace(SMALL, aoi="area.gpkg"))
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        predict(path, model=checkpoint, output=tmp_path / "folder.tif", settings=SMALL)
    with pytest.raises(OutputError, match="which is not a folder"):
        predict(path, model=checkpoint, output=path / "map.tif", settings=SMALL)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder.tif", "scene.tif"]


def test_a_scene_goes_into_a_layer_once_by_whatever_name(tmp_path: Path, checkpoint: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", blobs())
    (tmp_path / "link.tif").symlink_to(path)
    for again, called in ((path, ""), (tmp_path / "link.tif", ", also as")):
        with pytest.raises(UsageError, match=rf"\.tif is named twice{called}.* twice in all\.gpkg"):
            list(predict_scenes([path, again], model=checkpoint, output=tmp_path / "all.gpkg", settings=SMALL))
    each = tmp_path / "{stem}_map.tif"
    with pytest.raises(UsageError, match=r"scene\.tif is named twice, and has one map only"):
        list(predict_scenes([path, path], model=checkpoint, output=each, settings=SMALL))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.tif", "scene.tif"]


def test_a_layer_of_several_scenes_takes_each_once_and_all_anew(tmp_path: Path, checkpoint: Path) -> None:
    scenes = [write_scene(tmp_path / f"{name}.tif", blobs()) for name in ("a", "b")]
    with pytest.raises(UsageError, match=r"would be twice in all\.gpkg"):
        list(predict_scenes([*scenes, scenes[0]], model=checkpoint, output=tmp_path / "all.gpkg", settings=SMALL))
    passing = replace(SMALL, skip_existing=True)
    with pytest.raises(UsageError, match="cannot go into one layer"):
        list(predict_scenes(scenes, model=checkpoint, output=tmp_path / "all.gpkg", settings=passing))


def test_scenes_of_several_crs_are_refused_for_one_layer_before_any_is_mapped(tmp_path: Path, checkpoint: Path) -> None:
    scenes = [write_scene(tmp_path / f"{name}.tif", blobs()) for name in ("a", "b")]
    with rasterio.open(scenes[1], "r+") as dataset:
        dataset.crs = "EPSG:32633"
    done: list[ProgressEvent] = []
    options = {"model": checkpoint, "output": tmp_path / "all.gpkg", "settings": SMALL, "progress": done.append}
    with pytest.raises(UsageError, match=r"b\.tif is in EPSG:32633, but .*a\.tif in EPSG:"):
        list(predict_scenes(scenes, **options))
    failed: list[SatsegError] = []
    assert len(list(predict_scenes(iter(scenes), on_error=failed.append, **options))) == 1
    assert "b.tif is in EPSG:32633" in failed[0].message


def test_an_interruption_in_the_second_scene_of_a_layer_names_what_resuming_uses(
    tmp_path: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scenes = [write_scene(tmp_path / f"{name}.tif", blobs()) for name in ("a", "b")]
    found = predict_scenes(scenes, model=checkpoint, output=tmp_path / "all.gpkg", settings=SMALL)
    next(found)
    with pytest.raises(KeyboardInterrupt):
        found.throw(KeyboardInterrupt)
    told = [record.message for record in caplog.records if "`resume=True`" in record.message]
    assert told == [f"The maps begun so far are kept in {tmp_path / '.all.gpkg.satseg'}: continue with `resume=True`."]


def test_scenes_whose_outputs_are_there_can_be_passed_over(tmp_path: Path, checkpoint: Path) -> None:
    scenes = [write_scene(tmp_path / f"{name}.tif", blobs()) for name in ("a", "b")]
    (tmp_path / "a_map.tif").write_text("there")
    passing = replace(SMALL, skip_existing=True)
    outputs = str(tmp_path / "{stem}_map.tif")
    found = predict_scenes(scenes, model=checkpoint, output=outputs, settings=passing)
    assert [summary.scene for summary in found] == [str(scenes[1])]
    assert (tmp_path / "a_map.tif").read_text() == "there"
    assert predict(scenes[0], model=checkpoint, output=outputs, settings=passing) is None
    assert (tmp_path / "a_map.tif").read_text() == "there"


def test_without_any_scene_that_can_be_mapped_there_is_no_layer(tmp_path: Path, checkpoint: Path) -> None:
    errors: list[SatsegError] = []
    scenes = [tmp_path / "none.tif", tmp_path / "nowhere.tif"]
    layer = tmp_path / "all.gpkg"
    assert not list(predict_scenes(scenes, model=checkpoint, output=layer, settings=SMALL, on_error=errors.append))
    assert [error.message.split()[-1] for error in errors] == ["exist.", "exist."]
    assert not list(tmp_path.iterdir())


def test_an_array_and_a_dataset_are_mapped_as_their_file_is(tmp_path: Path, checkpoint: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", blobs(70, 80))
    array = SceneSource.from_array(blobs(70, 80), transform=GRID, crs="EPSG:32645", stem="array")
    with rasterio.open(path) as dataset:
        for scene, name in ((path, "file"), (array, "array"), (dataset, "dataset")):
            output = "{stem}.tif" if name == "array" else f"{name}.tif"
            assert predict(scene, output=tmp_path / output, model=checkpoint, settings=SMALL) is not None
    maps = []
    for name in ("file", "array", "dataset"):
        with rasterio.open(tmp_path / f"{name}.tif") as written:
            maps.append(written.read(1))
            assert written.transform == GRID
    assert (maps[0] == maps[1]).all()
    assert (maps[0] == maps[2]).all()


def test_a_dictionary_of_thresholds_is_what_is_typed(tmp_path: Path, checkpoint: Path) -> None:
    path, maps = write_scene(tmp_path / "scene.tif", blobs(70, 80)), []
    for threshold in ({"grey": 0.3}, "grey=0.3"):
        settings = replace(SMALL, threshold=threshold)
        predict(path, output=tmp_path / "map.tif", model=checkpoint, settings=settings)
        maps.append((tmp_path / "map.tif").read_bytes())
    assert maps[0] == maps[1]
