"""One rule for class rasters: how ``evaluate`` and ``vectorize`` read what other tools wrote.

Covers ``label_reading`` and ``labels/map_classes``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from sklearn.metrics import jaccard_score

from satseg import vectorize
from satseg.classes import ClassTable
from satseg.errors import LabelError, SceneError, UsageError
from satseg.evaluation.settings import EvaluateSettings
from satseg.mapfile.writer import CLASSES_TAG
from satseg.records import EvaluationReport
from satseg.vectorization.settings import VectorizeSettings
from satseg.workflows.evaluate import evaluate

GRID = Affine(2.0, 0, 500_000, 0, -2.0, 5_000_000)


def write(path: Path, bands: np.ndarray, **profile: object) -> Path:
    bands = bands if bands.ndim == 3 else bands[None]
    options: dict[str, object] = {"driver": "GTiff", "crs": "EPSG:32632", "transform": GRID} | profile
    count, height, width = bands.shape
    with rasterio.open(
        path, "w", count=count, height=height, width=width, dtype=bands.dtype.name, **options
    ) as dataset:
        dataset.write(bands)
    return path


def named(path: Path, ids: np.ndarray, *names: str) -> Path:
    """Write a map as satseg does."""
    write(path, ids, nodata=255)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**{CLASSES_TAG: json.dumps(ClassTable.from_names(names).to_dict())})
    return path


def roofs(path: Path, *boxes: tuple[int, int, int, int], **columns: list[str]) -> Path:
    """Write boxes in pixels (left, top, right, bottom)."""
    shapes = [shapely.Polygon([GRID * c for c in [(a, b), (c, b), (c, d), (a, d)]]) for a, b, c, d in boxes]
    geopandas.GeoDataFrame(columns, geometry=shapes, crs="EPSG:32632").to_file(path)
    return path


def ious(report: EvaluationReport) -> dict[str, float]:
    return {entry.name: entry.iou for entry in report.classes}


@pytest.fixture
def ids() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 3, (24, 30)).astype(np.uint8)


def test_classes_are_compared_by_name_whatever_their_ids(tmp_path: Path, ids: np.ndarray) -> None:
    judged = named(tmp_path / "map.tif", ids, "background", "building", "tree")
    turned = np.uint8([2, 0, 1])[ids]
    labels = named(tmp_path / "labels.tif", turned, "building", "tree", "background")
    assert ious(evaluate(judged, labels=labels)) == {"background": 1, "building": 1, "tree": 1}
    assert evaluate(judged, labels=labels).mean_iou == 1


def test_a_name_that_one_side_lacks_is_told_and_a_class_of_its_own(
    tmp_path: Path, ids: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    judged = named(tmp_path / "map.tif", ids, "background", "building", "road")
    labels = named(tmp_path / "labels.tif", ids, "background", "building", "tree")
    found = ious(evaluate(judged, labels=labels))
    assert (found["building"], found["road"], found["tree"]) == (1, 0, 0)
    assert "has classes that are not among background, building, road: tree" in caplog.text
    assert evaluate(judged, labels=labels).mean_iou == pytest.approx(2 / 3)


def test_maps_and_labels_without_a_class_in_common_are_refused(tmp_path: Path, ids: np.ndarray) -> None:
    judged = named(tmp_path / "map.tif", ids, "background", "building", "road")
    labels = named(tmp_path / "labels.tif", ids, "background", "Haus", "Baum")
    with pytest.raises(LabelError, match="has the class 'Baum', which is not among background, building, road"):
        evaluate(judged, labels=labels)
    text = "Haus=building,Baum=road,background=background"
    assert evaluate(judged, labels=labels, settings=EvaluateSettings(class_map=text)).mean_iou == 1


def test_values_without_names_are_asked_about_where_the_other_side_has_names(tmp_path: Path, ids: np.ndarray) -> None:
    names = ("background", "building", "tree")
    judged, bare = named(tmp_path / "named.tif", ids, *names), write(tmp_path / "bare.tif", ids)
    for one, other in ((judged, bare), (bare, judged)):
        with pytest.raises(LabelError, match=r"bare\.tif does not name its values, 0, 1, 2; the") as caught:
            evaluate(one, labels=other)
        line = (caught.value.hint or "").rpartition("`class_map='")[2].removesuffix("'`")
        assert evaluate(one, labels=other, settings=EvaluateSettings(class_map=line)).mean_iou == 1
    assert evaluate(bare, labels=bare).mean_iou == 1


def test_the_map_of_a_network_that_learned_from_values_is_read_by_them(tmp_path: Path, ids: np.ndarray) -> None:
    judged = named(tmp_path / "map.tif", ids, "class 0", "class 1", "class 2")
    assert evaluate(judged, labels=write(tmp_path / "bare.tif", ids)).mean_iou == 1
    labels = named(tmp_path / "labels.tif", ids, "background", "building", "tree")
    with pytest.raises(LabelError, match=r"map\.tif does not name its values, 0, 1, 2; the labels have background"):
        evaluate(judged, labels=labels)
    assert (
        evaluate(judged, labels=labels, settings=EvaluateSettings(class_map="0=background,1=building,2=tree")).mean_iou
        == 1
    )


def test_numbers_in_a_class_map_are_those_of_labels_where_the_map_has_names(tmp_path: Path, ids: np.ndarray) -> None:
    judged = named(tmp_path / "map.tif", ids, "background", "building", "tree")
    labels = write(tmp_path / "labels.tif", ids + np.uint8(1))
    found = evaluate(judged, labels=labels, settings=EvaluateSettings(class_map="1=background,2=building,3=tree"))
    assert found.mean_iou == 1


def test_masks_of_0_and_255_are_asked_about_and_read_by_the_class_map(tmp_path: Path) -> None:
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[10:20, 10:20] = mask[30:50, 30:50] = 255
    path, truth = write(tmp_path / "mask.tif", mask), roofs(tmp_path / "truth.gpkg", (10, 10, 20, 20))
    with pytest.raises(LabelError, match="holds only 0 and 255; 255 may be a class") as caught:
        evaluate(path, labels=truth)
    assert "unlabelled" not in (caught.value.hint or "")
    with pytest.raises(SceneError, match="holds only 0 and 255; 255 may be a class"):
        vectorize(path, output=tmp_path / "out.gpkg")
    assert not (tmp_path / "out.gpkg").exists()
    found = evaluate(path, labels=truth, settings=EvaluateSettings(class_map="0=background,255=building"))
    assert ious(found)["building"] == 100 / 500
    summary = vectorize(
        path, output=tmp_path / "out.gpkg", settings=VectorizeSettings(class_map="0=background,255=building")
    )
    assert summary.polygons == {"building": 2}
    layer = geopandas.read_file(tmp_path / "out.gpkg", layer="out")
    assert sorted(layer.pixels) == [100, 400]
    assert vectorize(
        path, output=tmp_path / "none.gpkg", settings=VectorizeSettings(class_map="0=ground,255=ignore")
    ).polygons == {"ground": 1}


def test_the_one_class_of_polygons_is_that_of_a_mask_of_0_and_1(tmp_path: Path) -> None:
    mask = np.zeros((24, 30), dtype=np.uint8)
    mask[2:6, 2:8] = 1
    judged, truth = write(tmp_path / "map.tif", mask), roofs(tmp_path / "roofs.gpkg", (2, 2, 8, 6))
    assert ious(evaluate(judged, labels=truth)) == {"background": 1, "roofs": 1}
    two = roofs(tmp_path / "two.gpkg", (2, 2, 8, 6), (12, 2, 18, 6), kind=["lake", "roof"])
    with pytest.raises(LabelError, match="does not name its values, 0, 1; the labels have background, lake, roof"):
        evaluate(judged, labels=two, settings=EvaluateSettings(class_field="kind"))
    found = evaluate(
        judged,
        labels=two,
        settings=EvaluateSettings(class_field="kind", class_map="0=background,1=roof,lake=background"),
    )
    assert ious(found)["roof"] == 0


def test_colours_are_compared_and_traced_by_the_class_map(tmp_path: Path, ids: np.ndarray) -> None:
    palette = np.uint8([[0, 0, 0], [255, 0, 0], [0, 0, 255]])
    painted = write(tmp_path / "painted.tif", palette[ids].transpose(2, 0, 1))
    judged = named(tmp_path / "map.tif", ids, "background", "building", "water")
    text = "#000000=background,#ff0000=building,#0000ff=water"
    assert evaluate(painted, labels=judged, settings=EvaluateSettings(class_map=text)).mean_iou == 1
    assert evaluate(judged, labels=painted, settings=EvaluateSettings(class_map=text)).mean_iou == 1
    with pytest.raises(SceneError, match="holds colours") as caught:
        vectorize(painted, output=tmp_path / "out.gpkg")
    assert "#ff0000=NAME" in (caught.value.hint or "")
    by_colour = vectorize(painted, output=tmp_path / "a.gpkg", settings=VectorizeSettings(class_map=text))
    assert by_colour.polygons == vectorize(judged, output=tmp_path / "b.gpkg").polygons
    assert by_colour.area_m2 == vectorize(judged, output=tmp_path / "c.gpkg").area_m2


def test_rasters_of_several_tools_go_into_one_layer_by_name(tmp_path: Path, ids: np.ndarray) -> None:
    one = named(tmp_path / "a.tif", ids, "background", "building", "tree")
    other = named(tmp_path / "b.tif", np.uint8([2, 0, 1])[ids], "building", "tree", "background")
    vectorize([one, other], output=tmp_path / "out.parquet")
    layer = geopandas.read_parquet(tmp_path / "out.parquet")
    by_scene = layer.groupby(["scene", "class_name"]).pixels.sum().unstack()
    assert (by_scene.iloc[0] == by_scene.iloc[1]).all()
    assert set(layer.class_name) == {"building", "tree"}


def test_rasters_without_names_go_into_one_layer_whatever_they_hold(tmp_path: Path) -> None:
    few, more = np.zeros((8, 8), dtype=np.uint8), np.full((8, 8), 9, dtype=np.uint8)
    paths = [write(tmp_path / "a.tif", few), write(tmp_path / "b.tif", more)]
    assert vectorize(paths, output=tmp_path / "out.gpkg").polygons == {"class 0": 1, "class 9": 1}


def test_a_raster_of_nothing_makes_no_polygons(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.full((8, 8), 255, dtype=np.uint8), nodata=255)
    assert vectorize(path, output=tmp_path / "out.gpkg").polygons == {}


def test_whole_numbers_of_a_float_raster_are_traced(tmp_path: Path, ids: np.ndarray) -> None:
    values = ids.astype(np.float32)
    values[0] = np.nan
    vectorize(write(tmp_path / "a.tif", values), output=tmp_path / "a.parquet")
    whole = ids.astype(np.int16)
    whole[0] = -9
    vectorize(write(tmp_path / "b.tif", whole, nodata=-9), output=tmp_path / "b.parquet")
    found, expected = (geopandas.read_parquet(tmp_path / f"{name}.parquet").drop(columns="scene") for name in "ab")
    assert found.equals(expected)
    with pytest.raises(SceneError, match=r"float32 values such as 0\.5") as caught:
        vectorize(write(tmp_path / "c.tif", values / 2), output=tmp_path / "c.gpkg")
    assert "`threshold`" in (caught.value.hint or "")


def test_a_threshold_and_a_class_map_exclude_each_other(tmp_path: Path, ids: np.ndarray) -> None:
    with pytest.raises(UsageError, match="`threshold` makes classes of its own"):
        vectorize(
            write(tmp_path / "a.tif", ids),
            output=tmp_path / "a.gpkg",
            settings=VectorizeSettings(threshold=1, class_map="1=a"),
        )


def test_pixels_that_a_map_leaves_out_are_missed_and_counted(tmp_path: Path, ids: np.ndarray) -> None:
    judged = ids.copy()
    judged[:6] = 255
    names = ("background", "building", "tree")
    labels = named(tmp_path / "labels.tif", ids, *names)
    found = evaluate(named(tmp_path / "map.tif", judged, *names), labels=labels)
    assert (found.left_out, found.pixels) == (6 * 30, 18 * 30)
    truth, guess = ids.ravel(), np.where(judged == 255, 3, judged).ravel()
    expected = jaccard_score(truth, guess, labels=[0, 1, 2], average=None)
    assert [entry.iou for entry in found.classes] == pytest.approx(expected.tolist())
    assert found.global_accuracy == 18 / 24


@pytest.mark.parametrize("explicit", [False, True])
def test_background_where_no_polygon_lies_is_not_missed(tmp_path: Path, explicit: bool) -> None:
    judged = np.zeros((24, 30), dtype=np.uint8)
    judged[2:8, 2:8] = 1
    judged[:6] = 255  # the border of a picture, which ends in the middle of a roof
    boxes, kinds = [(2, 2, 8, 8)], ["roof"]
    if explicit:
        boxes, kinds = [*boxes, (10, 0, 20, 10)], [*kinds, "background"]
    found = evaluate(
        named(tmp_path / "map.tif", judged, "background", "roof"),
        labels=roofs(tmp_path / "roofs.gpkg", *boxes, kind=kinds),
        settings=EvaluateSettings(class_field="kind"),
    )
    said = 6 * 10 if explicit else 0  # background that somebody drew
    assert (found.left_out, found.pixels) == (6 * 4 + said, 18 * 30)
    background, roof = found.classes
    assert (roof.recall, roof.precision, background.precision) == (2 / 6, 1, 1)
    assert background.recall == (18 * 30 - 12) / (18 * 30 - 12 + said)


def test_nodata_of_a_mask_may_be_its_background(tmp_path: Path) -> None:
    mask = np.zeros((24, 30), dtype=np.uint8)
    mask[2:6, 2:8] = 1
    judged, truth = write(tmp_path / "map.tif", mask, nodata=0), roofs(tmp_path / "roofs.gpkg", (2, 2, 8, 10))
    with pytest.raises(LabelError, match="holds only 1, and 0 as nodata") as caught:
        evaluate(judged, labels=truth)
    assert "0=background,1=NAME" in (caught.value.hint or "")
    found = evaluate(judged, labels=truth, settings=EvaluateSettings(class_map="0=background,1=roofs"))
    assert (ious(found)["roofs"], found.left_out) == (0.5, 0)
    assert vectorize(judged, output=tmp_path / "out.gpkg").polygons == {"class 1": 1}  # nodata is none either way


def test_names_that_differ_in_capitals_are_asked_about_with_the_line_to_type(tmp_path: Path, ids: np.ndarray) -> None:
    judged = named(tmp_path / "map.tif", ids, "background", "building", "tree")
    labels = named(tmp_path / "labels.tif", ids, "Background", "Building", "Shrub")
    with pytest.raises(LabelError, match="'Background', which is not among background, building, tree") as caught:
        evaluate(judged, labels=labels)
    line = "Background=background,Building=building,Shrub=NAME"
    assert line in (caught.value.hint or "")
    assert (
        evaluate(judged, labels=labels, settings=EvaluateSettings(class_map=line.replace("NAME", "tree"))).mean_iou == 1
    )


@pytest.mark.parametrize("side", ["map", "labels"])
def test_nodata_that_a_raster_itself_calls_background_is_asked_about(
    tmp_path: Path, ids: np.ndarray, side: str
) -> None:
    names = ("background", "building", "tree")
    paths = {name: named(tmp_path / f"{name}.tif", ids, *names) for name in ("map", "labels")}
    with rasterio.open(paths[side], "r+") as dataset:
        dataset.nodata = 0
    with pytest.raises((LabelError, SceneError), match="names 0 background, and declares it as nodata") as caught:
        evaluate(paths["map"], labels=paths["labels"])
    text = "background=background,building=building,tree=tree"
    assert text in (caught.value.hint or "")
    found = evaluate(paths["map"], labels=paths["labels"], settings=EvaluateSettings(class_map=text))
    assert (found.pixels, found.mean_iou) == (ids.size, 1)
    found = evaluate(
        paths["map"],
        labels=paths["labels"],
        settings=EvaluateSettings(class_map=text.replace("=background", "=ignore")),
    )
    assert found.pixels == np.count_nonzero(ids)


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet", "fgb", "shp"])
@pytest.mark.parametrize("gsd", [None, "2m"])
def test_a_map_without_features_has_a_recall_of_0(tmp_path: Path, gsd: str | None, suffix: str) -> None:
    truth = roofs(tmp_path / "roofs.gpkg", (2, 2, 8, 6), (12, 2, 18, 6))
    empty = tmp_path / f"empty.{suffix}"
    nothing = write(tmp_path / "nothing.tif", np.full((8, 20), 255, dtype=np.uint8), nodata=255)  # both lie in it
    vectorize(nothing, output=empty)
    found = evaluate(empty, labels=truth, settings=EvaluateSettings(gsd=gsd))
    entry = found.classes[1]
    assert (entry.object_recall, entry.label_objects, entry.map_objects) == (0, 2, 0)
    assert (found.object_f1, math.isnan(entry.object_precision)) == (0, True)
    if gsd:
        assert (entry.recall, entry.iou) == (0, 0)


def test_polygons_with_a_class_that_the_labels_lack_are_compared_all_the_same(tmp_path: Path) -> None:
    truth = roofs(tmp_path / "truth.gpkg", (2, 2, 8, 6), kind=["roof"])
    judged = roofs(tmp_path / "map.gpkg", (2, 2, 8, 6), (12, 2, 18, 6), kind=["roof", "pond"])
    found = {
        entry.name: entry
        for entry in evaluate(judged, labels=truth, settings=EvaluateSettings(class_field="kind")).classes
    }
    assert (found["roof"].object_f1, found["pond"].map_objects, found["pond"].object_f1) == (1, 1, 0)


def test_a_map_that_meets_no_label_is_an_error(tmp_path: Path, ids: np.ndarray) -> None:
    labels = ids.copy()
    labels[:, 15:] = 255
    judged = np.where(np.arange(30) < 15, 255, ids).astype(np.uint8)
    names = ("background", "building", "tree")
    here, there = named(tmp_path / "a.tif", labels, *names), named(tmp_path / "b.tif", judged, *names)
    with pytest.raises(LabelError, match=r"No pixel was compared: the map is nodata at all 360 labelled"):
        evaluate(there, labels=here)
    far = write(tmp_path / "far.tif", ids, transform=GRID * Affine.translation(100, 0))
    with pytest.raises(LabelError, match=r"No label of .*c\.tif touches the scene .*far\.tif"):
        evaluate(far, labels=write(tmp_path / "c.tif", ids))


def test_names_of_a_class_map_that_neither_labels_nor_map_have_are_told(
    tmp_path: Path, ids: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    judged = named(tmp_path / "map.tif", ids, "bare", "barley", "wheat")
    labels = named(tmp_path / "labels.tif", ids, "bare", "Varbyg", "wheat")
    text = "Vårbyg=barley,bare=bare,Rug=rye,Varbyg=barley,wheat=wheat"
    evaluate(judged, labels=labels, settings=EvaluateSettings(class_map=text))
    unmet = f"{labels} and {judged} has none of these values of `class_map`"
    assert f"{unmet}: 'Vårbyg', 'Rug'. The class remains empty: rye." in caplog.messages
    evaluate(judged, labels=labels, settings=EvaluateSettings(class_map="Vårbyg=barley,*=bare"))
    assert f"{labels} and {judged} has none of these values of `class_map`: 'Vårbyg' (did you mean" in caplog.text


def test_a_class_that_a_raster_names_is_known_though_it_has_no_pixel(
    tmp_path: Path, ids: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    path = named(tmp_path / "map.tif", ids % 2, "bare", "barley", "wheat")
    vectorize(
        path, output=tmp_path / "a.gpkg", settings=VectorizeSettings(class_map="bare=bare,barley=crop,wheat=crop")
    )
    assert "has none of these values" not in caplog.text
    vectorize(
        path,
        output=tmp_path / "b.gpkg",
        settings=VectorizeSettings(class_map="bare=bare,barley=crop,weat=crop,oat=oats"),
    )
    unmet = f"{path} has none of these values of `class_map`: 'weat' (did you mean 'wheat'?), 'oat'."
    assert f"{unmet} The class remains empty: oats." in caplog.messages
