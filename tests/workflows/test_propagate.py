"""``satseg.propagate``.

Covers ``propagation/settings``.
"""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from made_scenes import write_scene
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT
from scene_dates import BORDER, SIDE, Dates, write_dates

import satseg
from satseg import PropagateSettings, PropagationSummary, TileSettings, TrainSettings
from satseg.errors import LabelError, SceneError, UsageError

SEEN = np.s_[BORDER:-BORDER, BORDER:-BORDER]


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> Dates:
    return write_dates(tmp_path_factory.mktemp("dates"))


@pytest.fixture(scope="module")
def outputs(dates: Dates) -> list[Path]:
    return [dates.later.with_name(f"labels-2024{suffix}") for suffix in (".tif", ".gpkg")]


@pytest.fixture(scope="module")
def carried(dates: Dates, outputs: list[Path]) -> PropagationSummary:
    return satseg.propagate(dates.labels, from_=dates.earlier, to=dates.later, output=outputs)


@pytest.fixture(scope="module")
def classes(carried: PropagationSummary, outputs: list[Path]) -> np.ndarray:
    with rasterio.open(outputs[0]) as raster:
        return raster.read(1)


def test_unchanged_ground_keeps_its_label(classes: np.ndarray, dates: Dates) -> None:
    same = ~dates.changed[SEEN]
    kept = classes[SEEN][same] == dates.expected[SEEN][same]
    assert kept.mean() > 0.99


def test_changed_ground_is_left_out(classes: np.ndarray, dates: Dates) -> None:
    assert (classes[dates.changed] == 255).mean() > 0.9


def test_the_summary_counts_what_the_raster_holds(carried: PropagationSummary, classes: np.ndarray) -> None:
    assert carried.pixels == {"background": (classes == 0).sum(), "buildings": (classes == 1).sum()}
    assert carried.changed + carried.unknown == (classes == 255).sum()
    assert carried.changed > 0.9 * 9_900  # altered pixels
    assert carried.shift == pytest.approx((-5.3, 3.4), abs=0.25)


def test_polygons_hold_the_same_labels(carried: PropagationSummary, outputs: list[Path], classes: np.ndarray) -> None:
    layer = geopandas.read_file(outputs[1])
    assert set(layer.class_name) == {"background", "buildings"}
    with rasterio.open(outputs[0]) as raster:
        transform = raster.transform
    burnt = rasterize(zip(layer.geometry, layer.class_id, strict=True), (SIDE, SIDE), fill=255, transform=transform)
    assert np.array_equal(burnt, classes)


def test_a_scene_that_has_not_changed_keeps_all_labels_of_a_raster(
    carried: PropagationSummary, outputs: list[Path], classes: np.ndarray, dates: Dates, tmp_path: Path
) -> None:
    again = tmp_path / "again.tif"
    satseg.propagate(outputs[0], from_=dates.later, to=dates.later, output=again)
    with rasterio.open(again) as raster:
        assert np.array_equal(raster.read(1), classes)


def test_the_earlier_scene_may_lie_on_another_grid_in_another_crs(dates: Dates, tmp_path: Path) -> None:
    warped = tmp_path / "warped.tif"
    with rasterio.open(dates.earlier) as source, WarpedVRT(source, crs="EPSG:32645", add_alpha=True) as view:
        profile = {"driver": "GTiff", "count": 4, "dtype": "uint8", "width": view.width, "height": view.height}
        with rasterio.open(warped, "w", crs=view.crs, transform=view.transform, **profile, ALPHA="YES") as target:
            target.write(view.read())
    out = tmp_path / "labels.tif"
    satseg.propagate(dates.labels, from_=warped, to=dates.later, output=out)
    with rasterio.open(out) as raster:
        found = raster.read(1)[16:-16, 16:-16]
    same = ~dates.changed[16:-16, 16:-16]
    assert (found[same] == dates.expected[16:-16, 16:-16][same]).mean() > 0.97  # warped twice
    assert (found[~same] == 255).mean() > 0.9


def test_both_dates_are_trained_on_together(
    carried: PropagationSummary, outputs: list[Path], classes: np.ndarray, dates: Dates, tmp_path: Path
) -> None:
    tiles = tmp_path / "tiles"
    settings = {"size": 64, "split_by": "block"}
    first = satseg.tile(dates.earlier, labels=dates.labels, output=tiles, settings=TileSettings(**settings))
    both = satseg.tile(dates.later, labels=outputs[0], output=tiles, settings=TileSettings(append=True))
    assert both.tiles["train"] > 1.5 * first.tiles["train"]
    assert both.pixels["train"].keys() == first.pixels["train"].keys()
    run = satseg.train(
        tiles,
        output=tmp_path / "run",
        settings=TrainSettings(arch="erfnet", steps=2, batch_size=2, device="cpu", precision="fp32", pictures=False),
    )
    assert np.isfinite(run.loss)


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        ({"labels": "nope.gpkg"}, LabelError, "nope.gpkg does not exist|Labels nope.gpkg do not exist"),
        ({"from_": "nope.tif"}, SceneError, "nope.tif does not exist"),
        ({"output": "labels.png"}, UsageError, "labels.png has no known suffix"),
        ({"output": ()}, UsageError, "There is no output"),
        ({"settings": PropagateSettings(max_shift="300px")}, UsageError, "300 px of .*1 to 100 px can be looked for"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    words: dict, error: type[Exception], says: str, dates: Dates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"labels": dates.labels, "from_": dates.earlier, "to": dates.later, "output": "labels.tif"} | words
    with pytest.raises(error, match=says):
        satseg.propagate(given.pop("labels"), **given)
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_an_input_is_refused(dates: Dates) -> None:
    with pytest.raises(UsageError, match="input"):
        satseg.propagate(dates.labels, from_=dates.earlier, to=dates.later, output=dates.labels)


def test_labels_elsewhere_are_refused(dates: Dates, tmp_path: Path) -> None:
    far = write_scene(tmp_path / "far.tif", np.ones((1, 20, 20), dtype=np.uint8))
    with pytest.raises(LabelError, match=r"No label of .*far\.tif lies on ground"):
        satseg.propagate(far, from_=dates.earlier, to=dates.later, output=tmp_path / "labels.tif")
    assert not (tmp_path / "labels.tif").exists()


@pytest.mark.parametrize(("field", "value"), [("max_shift", 0), ("max_shift", "1 mile"), ("deviation", 0)])
def test_settings_without_meaning_are_refused(field: str, value: object) -> None:
    with pytest.raises(UsageError, match=field):
        PropagateSettings(**{field: value})
