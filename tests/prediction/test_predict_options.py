"""What users can ask of a map, with an oracle in place of a network.

Covers ``predictor``, ``fitting``, ``map_layers``, ``streaming``, ``settings`` and ``inference/planning``.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from predictors import checkpoint_of, predictor_of, use_predictor
from ranged_server import RangedServer
from torch import Tensor, nn
from torch.nn import functional

from satseg.classes import ClassTable
from satseg.errors import AreaError, OutputError, SatsegError, SceneError, UsageError
from satseg.inference.network import Network
from satseg.inference.views import Views
from satseg.prediction.outputs import OutputPaths
from satseg.prediction.predictor import Predictor
from satseg.prediction.settings import PredictionSettings
from satseg.raster.source import SceneSource
from satseg.records import BandStatistics, MapLayer, ProgressEvent
from satseg.vectorization.settings import PolygonSettings
from satseg.workflows.predict import predict_scenes

GRID = Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)
TABLE = ClassTable.from_names(["background", "grey", "bright"])


class Levels(nn.Module):
    """Probabilities by the value of the first band: background falls, bright rises, grey is 0.2 throughout."""

    def forward(self, images: Tensor) -> Tensor:
        bright = 0.8 * images[:, :1] / 255
        return torch.cat([0.8 - bright, torch.full_like(bright, 0.2), bright], dim=1).clamp_min(1e-9).log()


def make_predictor(bands: int = 1, **settings: Any) -> Predictor:
    statistics = BandStatistics(1, (0.0,) * bands, (1.0,) * bands, (0.0,) * bands, (255.0,) * bands)
    views = Views(settings.get("tta", "none"), settings.get("scales", (1.0,)))
    network = Network(Levels(), classes=TABLE, statistics=statistics, device=torch.device("cpu"), views=views)
    return predictor_of(network, PredictionSettings(**{"window": 64, "threads": 1, **settings}))


def write_scene(path: Path, values: np.ndarray, **profile: Any) -> Path:
    options = {"driver": "GTiff", "crs": "EPSG:32645", "transform": GRID} | profile
    values = values[None] if values.ndim == 2 else values
    bands, height, width = values.shape
    with rasterio.open(path, "w", count=bands, height=height, width=width, dtype=values.dtype, **options) as dataset:
        dataset.write(values)
    return path


def ramp(height: int = 150, width: int = 255) -> np.ndarray:
    return np.tile(np.arange(width), (height, 1)).astype(np.uint8)


def classes_of(made: Predictor, scene: Path | SceneSource, folder: Path) -> np.ndarray:
    made.predict(SceneSource.of(scene), OutputPaths.of_files(folder / "map.tif"))
    with rasterio.open(folder / "map.tif") as dataset:
        found: np.ndarray = dataset.read(1)
    return found


def test_shares_are_written_beside_the_classes(tmp_path: Path) -> None:
    values = ramp()
    values[:5] = 0
    scene = write_scene(tmp_path / "scene.tif", values, nodata=0)
    layers = (MapLayer.CLASSES, MapLayer.CONFIDENCE, MapLayer.PROBABILITIES, MapLayer.DISAGREEMENT)
    outputs = OutputPaths(tuple((layer, tmp_path / f"{layer.value}.tif") for layer in layers))
    make_predictor().predict(SceneSource.of(scene), outputs)
    read = {layer: rasterio.open(tmp_path / f"{layer.value}.tif").read() for layer in layers}
    valid = values > 0
    bright = 0.8 * values / 255
    expected = np.stack([0.8 - bright, np.full(bright.shape, 0.2), bright])
    for found, probability in zip(read[MapLayer.PROBABILITIES], expected, strict=True):
        assert np.abs(found[valid] / 254 - probability[valid]).max() <= 0.5 / 254 + 1e-4
    assert (read[MapLayer.CLASSES][0][valid] == expected.argmax(0)[valid]).all()
    assert np.abs(read[MapLayer.CONFIDENCE][0][valid] / 254 - expected.max(0)[valid]).max() <= 0.5 / 254 + 1e-4
    assert (read[MapLayer.DISAGREEMENT][0][valid] <= 1).all()
    assert all((layer[:, ~valid] == 255).all() for layer in read.values())


def test_a_class_with_a_threshold_is_given_just_where_it_reaches_it(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", ramp())
    bright = 0.8 * ramp() / 255
    early = classes_of(make_predictor(threshold=("bright=0.1",)), scene, tmp_path)
    assert ((early == 2) == (bright >= 0.1)).mean() > 0.999
    late = classes_of(make_predictor(threshold=("bright=0.75",)), scene, tmp_path)
    assert ((late == 2) == (bright >= 0.75)).mean() > 0.999
    assert (late[(bright > 0.62) & (bright < 0.74)] == 1).all()


@pytest.mark.parametrize("threshold", ["bright", "bright=2", "sky=0.5", "bright=x"])
def test_a_threshold_that_makes_no_sense_is_refused(tmp_path: Path, threshold: str) -> None:
    scene = write_scene(tmp_path / "scene.tif", ramp())
    with pytest.raises(UsageError, match="threshold"):
        classes_of(make_predictor(threshold=(threshold,)), scene, tmp_path)
    assert not (tmp_path / "map.tif").exists()


@pytest.mark.parametrize("views", [{"tta": "flips"}, {"tta": "d4"}, {"tta": "d4", "scales": (0.5, 1.0)}])
def test_a_pixelwise_oracle_says_the_same_in_all_views(tmp_path: Path, views: dict[str, Any]) -> None:
    values = np.kron(np.random.default_rng(0).choice([20, 240], (10, 12)), np.ones((16, 16))).astype(np.uint8)
    scene = write_scene(tmp_path / "scene.tif", values)
    found = classes_of(make_predictor(**views), scene, tmp_path)
    inside = np.kron(np.ones((10, 12)), np.pad(np.ones((12, 12)), 2)).astype(bool)  # resizing blurs the edges
    assert (found == np.where(values > 100, 2, 0))[inside].all()


def test_a_sieve_dissolves_small_regions_and_never_into_nodata(tmp_path: Path) -> None:
    values = np.full((90, 100), 10, np.uint8)
    values[10:12, 10:12] = 250  # 4 px
    values[40:50, 40:50] = 250  # 100 px
    values[70:, :] = 255
    values[80:82, 80:82] = 10  # an island in nodata
    scene = write_scene(tmp_path / "scene.tif", values, nodata=255)
    outputs = OutputPaths.of_files(tmp_path / "map.tif", tmp_path / "map.gpkg")
    summary = make_predictor(sieve=9).predict(SceneSource.of(scene), outputs)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        found = dataset.read(1)
    assert (found[10:12, 10:12] == 0).all()
    assert (found[40:50, 40:50] == 2).all()
    assert (found[70:] == 255).all()
    assert summary.pixels == {"background": 70 * 100 - 100, "grey": 0, "bright": 100, "nodata": 2000}
    assert summary.polygons == {"background": 0, "grey": 0, "bright": 1} or summary.polygons == {"grey": 0, "bright": 1}


def test_an_area_of_interest_in_any_crs_confines_the_map(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", np.full((300, 400), 250, np.uint8))
    outline = shapely.box(300_020, 2_999_900, 300_070, 2_999_980)
    geopandas.GeoSeries([outline], crs="EPSG:32645").to_crs("EPSG:4326").to_file(tmp_path / "area.gpkg")
    found = classes_of(make_predictor(aoi=str(tmp_path / "area.gpkg")), scene, tmp_path)
    inside = np.zeros(found.shape, dtype=bool)
    inside[40:200, 40:140] = True
    assert ((found != 255) == inside).mean() > 0.995  # straight edges are not the same lines in both


def test_the_map_inside_an_area_does_not_depend_on_its_outline(tmp_path: Path) -> None:
    """The network sees what lies around a pixel, in the area or not."""

    class Around(Levels):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(functional.avg_pool2d(images, 15, stride=1, padding=7))

    scene = write_scene(tmp_path / "scene.tif", np.random.default_rng(0).choice([0, 250], (150, 170)).astype(np.uint8))
    outline = shapely.box(*(GRID * (40, 130)), *(GRID * (120, 30)))
    geopandas.GeoSeries([outline], crs="EPSG:32645").to_file(tmp_path / "area.gpkg")
    statistics = BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,))
    network = Network(Around(), classes=TABLE, statistics=statistics, device=torch.device("cpu"))
    whole = classes_of(replace(make_predictor(), network=network), scene, tmp_path)
    inside = classes_of(replace(make_predictor(aoi=str(tmp_path / "area.gpkg")), network=network), scene, tmp_path)
    assert len(np.unique(whole)) > 1
    assert (inside[30:130, 40:120] == whole[30:130, 40:120]).all()
    inside[30:130, 40:120] = 255
    assert (inside == 255).all()


def test_an_area_elsewhere_is_refused(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", ramp())
    geopandas.GeoSeries([shapely.box(0, 0, 1, 1)], crs="EPSG:4326").to_file(tmp_path / "area.gpkg")
    with pytest.raises(AreaError, match="does not overlap"):
        classes_of(make_predictor(aoi=str(tmp_path / "area.gpkg")), scene, tmp_path)


def test_single_band_files_are_stacked(tmp_path: Path) -> None:
    files = [write_scene(tmp_path / f"B0{i}.tif", np.full((80, 90), 250 * (i == 2), np.uint8)) for i in (1, 2, 3)]
    source = SceneSource((str(files[1]), str(files[0]), str(files[2])))
    assert (classes_of(make_predictor(3), source, tmp_path) == 2).all()


def test_coarser_pixels_than_in_training_are_shown_enlarged(tmp_path: Path) -> None:
    """Blocks of four pixels in a scene of twice the resolution: the map of the coarse scene comes out."""
    seen: list[tuple[int, ...]] = []

    class Watching(Levels):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(tuple(images.shape[-2:]))
            return super().forward(images)

    values = np.kron(np.random.default_rng(1).choice([20, 240], (8, 9)), np.ones((20, 20))).astype(np.uint8)
    scene = write_scene(tmp_path / "scene.tif", values, transform=GRID * Affine.scale(2))
    statistics = BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,))
    network = Network(Watching(), classes=TABLE, statistics=statistics, device=torch.device("cpu"))
    checkpoint = checkpoint_of(network, gsd=(0.5, 0.5))
    found = classes_of(replace(make_predictor(), network=network, checkpoint=checkpoint), scene, tmp_path)
    inside = np.kron(np.ones((8, 9)), np.pad(np.ones((16, 16)), 2)).astype(bool)
    assert (found == np.where(values > 100, 2, 0))[inside].all()
    assert set(seen) == {(64, 64), (128, 128)}  # windows, and what measured the receptive field


def test_pixels_far_from_those_in_training_are_refused_with_the_way_out(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", np.zeros((64, 64), np.uint8), transform=GRID * Affine.scale(60))
    made = replace(make_predictor(), checkpoint=checkpoint_of(make_predictor().network, gsd=(0.5, 0.5)))
    with pytest.raises(SceneError, match=r"30 m per pixel .* trained at 0\.5 m: too far apart") as caught:
        classes_of(made, scene, tmp_path)
    assert "`gsd='scene'`" in caught.value.hint
    tall = write_scene(tmp_path / "tall.tif", np.zeros((64, 64), np.uint8), transform=GRID * Affine.scale(1, 60))
    with pytest.raises(SceneError, match=r"30 m per pixel .* trained at 0\.5 m"):
        classes_of(made, tall, tmp_path)


def test_what_cannot_be_read_fails_or_becomes_nodata(
    tmp_path: Path, real_files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = real_files / "rasters" / "corrupt.tif"
    with rasterio.open(scene) as dataset:
        bands = dataset.count
    with pytest.raises(SceneError, match="cannot be read at rows"):
        classes_of(make_predictor(bands), scene, tmp_path)
    with caplog.at_level(logging.WARNING, "satseg"):
        found = classes_of(make_predictor(bands, on_read_error="nodata"), scene, tmp_path)
    assert "It becomes nodata" in caplog.text
    assert (found[128:, 128:] == 255).all()
    assert (found == 255).sum() == 128 * 128  # the damaged block alone


def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_scene(tmp_path / "scene.tif", ramp())
    (tmp_path / "map.tif").write_text("before")

    class Full(FileIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("satseg.mapfile.work_raster.FileIO", Full)
    with pytest.raises(OutputError, match="No space left on device"):
        classes_of(make_predictor(), scene, tmp_path)
    assert (tmp_path / "map.tif").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif", "scene.tif"]


def test_a_disk_that_is_too_small_is_noticed_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_scene(tmp_path / "scene.tif", ramp())
    monkeypatch.setattr("satseg.files.disk_space.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(OutputError, match="not enough disk space"):
        classes_of(make_predictor(), scene, tmp_path)


def test_each_block_of_a_remote_scene_is_fetched_once(tmp_path: Path, ranged_server: RangedServer) -> None:
    values = np.random.default_rng(0).integers(0, 255, (900, 1100)).astype(np.uint8)
    layout = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    scene = write_scene(ranged_server.folder / "scene.tif", values, **layout)
    found = classes_of(make_predictor(window=200), SceneSource((ranged_server.url("scene.tif"),)), tmp_path)
    assert (found == classes_of(make_predictor(window=200), scene, tmp_path)).all()
    times = ranged_server.times_fetched("scene.tif")
    assert times.mean() < 1.05  # GDAL fetches pages of 16 kB, which neighbouring blocks may share
    assert times.max() <= 2
    assert len(ranged_server.requests()) < 15


def test_a_dry_run_writes_nothing_and_tells_what_the_map_takes(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", ramp())
    outputs = OutputPaths.of_files(tmp_path / "map.tif", tmp_path / "map.gpkg")
    told = make_predictor().dry_run(SceneSource.of(scene), outputs)
    summary = make_predictor().predict(SceneSource.of(scene), outputs)
    assert told.plan == summary.plan
    assert (told.width, told.height) == (255, 150)
    assert told.to_dict()["plan"]["window"] == {"width": 64, "height": 64}
    assert told.work_bytes == round(150 * 255 * 4 / 3)  # with the overviews, before they are compressed
    assert told.seconds > 0
    size = sum(path.stat().st_size for path in outputs.files)
    assert told.output_bytes < size  # of so small a map, most are headers


@pytest.mark.parametrize(
    "options", [{"tta": "rot"}, {"gsd": "x"}, {"on_read_error": "skip"}, {"memory": 0}, {"window": 5}, {"overlap": 60}]
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    scene = write_scene(tmp_path / "scene.tif", ramp())
    with pytest.raises(SatsegError):
        classes_of(make_predictor(**options), scene, tmp_path)
    assert not (tmp_path / "map.tif").exists()


def test_a_crf_refines_in_a_second_pass_and_can_be_continued(tmp_path: Path) -> None:
    """Noise goes where the image has none; the bytes do not depend on where the map was broken off."""
    rng = np.random.default_rng(0)
    sides = np.where(np.arange(90) < 45, 60, 200)
    values = np.clip(sides + rng.normal(0, 45, (600, 90)), 1, 255).astype(np.uint8)
    scene = write_scene(tmp_path / "scene.tif", values)
    plain = classes_of(make_predictor(), scene, tmp_path)
    layers = ((MapLayer.CLASSES, tmp_path / "map.tif"), (MapLayer.DISAGREEMENT, tmp_path / "apart.tif"))
    make_predictor(crf=True).predict(SceneSource.of(scene), OutputPaths(layers))
    with rasterio.open(tmp_path / "map.tif") as dataset:
        refined = dataset.read(1)
    truth = np.where(np.arange(90) < 45, 0, 2)
    assert (refined == truth).mean() > (plain == truth).mean() + 0.02
    unbroken = {path: path.read_bytes() for _, path in layers}

    def interrupt(event: ProgressEvent) -> None:
        seen.append(event.done)
        if len(seen) > 1 and event.done < max(seen):  # in the second pass
            raise KeyboardInterrupt

    seen: list[float] = []
    with pytest.raises(KeyboardInterrupt):
        make_predictor(crf=True, resume=True).predict(SceneSource.of(scene), OutputPaths(layers), progress=interrupt)
    seen.clear()
    make_predictor(crf=True, resume=True).predict(
        SceneSource.of(scene), OutputPaths(layers), progress=lambda event: seen.append(event.done)
    )
    assert seen == sorted(seen)  # the first pass is not run again
    assert {path: path.read_bytes() for _, path in layers} == unbroken


def test_polygons_tell_how_sure_they_are_when_that_is_asked_for(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", np.full((70, 80), 255, np.uint8))
    wanted = PolygonSettings(attributes=("class_name", "confidence_mean", "confidence_min"))
    make_predictor(polygons=wanted).predict(SceneSource.of(scene), OutputPaths.of_files(tmp_path / "map.parquet"))
    frame = geopandas.read_parquet(tmp_path / "map.parquet")
    assert list(frame.columns[:3]) == ["class_name", "confidence_mean", "confidence_min"]
    assert frame["confidence_mean"].tolist() == pytest.approx([0.8], abs=0.5 / 254)
    make_predictor().predict(SceneSource.of(scene), OutputPaths.of_files(tmp_path / "plain.parquet"))
    assert not any("confidence" in name for name in geopandas.read_parquet(tmp_path / "plain.parquet").columns)


def test_polygons_of_many_scenes_go_into_one_layer_without_those_that_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [write_scene(tmp_path / f"{name}.tif", ramp(60 + 10 * i)) for i, name in enumerate("ab")]
    use_predictor(monkeypatch, make_predictor())
    errors: list[SatsegError] = []
    found = predict_scenes(
        [scenes[0], tmp_path / "none.tif", scenes[1]],
        model="not loaded",
        output=[tmp_path / "all.gpkg", str(tmp_path / "{stem}_map.tif")],
        settings=PredictionSettings(window=64, threads=1),
        on_error=errors.append,
    )
    assert [Path(summary.scene).stem for summary in found] == ["a", "b"]
    assert len(errors) == 1
    frame = geopandas.read_file(tmp_path / "all.gpkg", layer="all")
    assert set(frame["scene"]) == {"a.tif", "b.tif"}
    assert (frame["region_id"].value_counts() == 1).all()
    noted = ".all.gpkg.satseg"  # that a scene is missing: the layer is not finished
    maps = [f"{stem}_map.tif{suffix}" for stem in "ab" for suffix in ("", ".aux.xml")]
    expected = sorted([noted, "a.tif", "b.tif", "all.gpkg", "all.qml", *maps])
    assert sorted(path.name for path in tmp_path.iterdir()) == expected


@pytest.mark.parametrize("shared", [False, True])
def test_pixels_that_a_sieve_gives_to_another_class_have_no_confidence(tmp_path: Path, *, shared: bool) -> None:
    values = np.full((90, 100), 10, np.uint8)  # background, 0.77
    values[10:12, 10:12] = 250  # bright, 4 px that dissolve
    values[40:50, 40:50] = 220  # bright, 100 px that stay
    values[44, 44] = 10  # background, 1 px in it
    scene = write_scene(tmp_path / "scene.tif", values)
    layers = ((MapLayer.CLASSES, tmp_path / "map.tif"), (MapLayer.CONFIDENCE, tmp_path / "sure.tif"))
    made = make_predictor(sieve=9, polygons=PolygonSettings(keep_background=True))
    if shared:
        with made.open_layer(OutputPaths(vectors=(tmp_path / "map.parquet",))) as layer:
            made.predict(SceneSource.of(scene), OutputPaths(layers), layer=layer)
            layer.close()
    else:
        made.predict(SceneSource.of(scene), OutputPaths(layers, (tmp_path / "map.parquet",)))
    with rasterio.open(tmp_path / "map.tif") as classes, rasterio.open(tmp_path / "sure.tif") as sure:
        found, confidence = classes.read(1), sure.read(1)
    dissolved = np.zeros(values.shape, dtype=bool)
    dissolved[10:12, 10:12] = dissolved[44, 44] = True
    stays = (values == 220) | (dissolved & (values == 10))
    assert (found == np.where(stays, 2, 0)).all()
    bright = 0.8 * values / 255
    own = np.maximum(bright, 0.8 - bright)
    assert (confidence[dissolved] == 255).all()
    assert np.abs(confidence[~dissolved] / 254 - own[~dissolved]).max() <= 0.5 / 254 + 1e-6
    table = geopandas.read_parquet(tmp_path / "map.parquet").set_index("class_name")
    for name, part in (("background", (found == 0) & ~dissolved), ("bright", (found == 2) & ~dissolved)):
        assert table.loc[name, "confidence_mean"] == pytest.approx(own[part].mean(), abs=0.5 / 254)
        assert table.loc[name, "confidence_min"] == pytest.approx(own[part].min(), abs=0.5 / 254)


@pytest.mark.parametrize("settings", [{"threshold": ("grey=0.19", "bright=0.7")}, {"crf": True}])
def test_confidence_is_the_probability_of_the_class_that_is_written(tmp_path: Path, settings: dict[str, Any]) -> None:
    scene = write_scene(tmp_path / "scene.tif", np.random.default_rng(0).integers(0, 255, (70, 80)).astype(np.uint8))
    written = (MapLayer.CLASSES, MapLayer.CONFIDENCE, MapLayer.PROBABILITIES)
    layers = tuple((layer, tmp_path / f"{layer.value}.tif") for layer in written)
    make_predictor(**settings).predict(SceneSource.of(scene), OutputPaths(layers))
    read = {layer: rasterio.open(path).read() for layer, path in layers}
    classes = read[MapLayer.CLASSES]
    assert len(np.unique(classes)) > 1
    own = np.take_along_axis(read[MapLayer.PROBABILITIES], classes.astype(int), axis=0)
    assert (own == read[MapLayer.CONFIDENCE]).all()


@pytest.mark.parametrize(("dtype", "base"), [("uint32", 4_000_000_000), ("float64", 1e12), ("float32", 2.0**30)])
@pytest.mark.parametrize("settings", [{}, {"crf": True}, {"tta": "flips", "scales": (0.5, 1.0)}])
def test_a_scene_of_large_values_is_mapped_like_the_same_one_of_small_ones(
    tmp_path: Path, settings: dict[str, Any], dtype: str, base: float
) -> None:
    step = 128 if dtype == "float32" else 1  # which it holds there
    plain = make_predictor(**settings)
    moved = BandStatistics(1, (base,), (float(step),), (base,), (base + 255 * step,))
    network = Network(Levels(), classes=TABLE, statistics=moved, device=torch.device("cpu"), views=plain.network.views)
    layers = ((MapLayer.CLASSES, tmp_path / "map.tif"), (MapLayer.CONFIDENCE, tmp_path / "sure.tif"))
    found = []
    for made, values in ((plain, ramp(70)), (replace(plain, network=network), base + ramp(70).astype(dtype) * step)):
        scene = write_scene(tmp_path / "scene.tif", values.astype("uint8" if made is plain else dtype))
        made.predict(SceneSource.of(scene), OutputPaths(layers))
        found.append([rasterio.open(path).read() for _, path in layers])
    assert all((one == other).all() for one, other in zip(*found, strict=True))
    assert len(np.unique(found[0][0])) > 1
