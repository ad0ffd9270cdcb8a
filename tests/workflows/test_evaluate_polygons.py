"""Polygons against polygons, and against class rasters: object by object, on a grid, and by class.

Covers ``compare``, ``compare_polygons`` and ``grid``.
"""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from made_scenes import write_map

from satseg.classes import ClassTable
from satseg.errors import AreaError, LabelError, UsageError
from satseg.evaluation.confusion import ConfusionMatrix, score
from satseg.evaluation.settings import EvaluateSettings
from satseg.raster.scene import Scene
from satseg.vectorization.settings import VectorizeSettings
from satseg.workflows.evaluate import evaluate
from satseg.workflows.vectorize import vectorize


def squares(path: Path, scene: Path, places: list[tuple[int, int, int]], crs: str = "EPSG:32645") -> Path:
    """Write squares, each given by column, row and side in pixels of the scene."""
    with Scene.open(scene) as opened:
        transform = opened.info.transform
    boxes = [shapely.box(*(transform * (x, y)), *(transform * (x + side, y + side))) for x, y, side in places]
    frame = geopandas.GeoDataFrame({"class_name": ["roof"] * len(boxes)}, geometry=boxes, crs="EPSG:32645").to_crs(crs)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path)
    return path


@pytest.fixture
def ground(bright_scene: Path, tmp_path: Path) -> Path:
    """An area of interest: the whole scene, in another CRS."""
    return area(tmp_path / "ground.gpkg", bright_scene, (0, 0, 384, 256))


def area(path: Path, scene: Path, *boxes: tuple[int, int, int, int], crs: str = "EPSG:4326") -> Path:
    """Write rectangles, each given by its columns and rows in pixels of the scene: left, top, right, bottom."""
    with Scene.open(scene) as opened:
        transform, own = opened.info.transform, opened.info.crs
    shapes = [
        shapely.box(*(transform * (left, bottom)), *(transform * (right, top))) for left, top, right, bottom in boxes
    ]
    geopandas.GeoDataFrame(geometry=shapes, crs=own).to_crs(crs).to_file(path)
    return path


LABELS = [(10, 10, 20), (60, 10, 20), (100, 100, 40), (140, 100, 40), (300, 200, 30)]
MAP = [(12, 10, 20), (70, 10, 20), (100, 100, 40), (200, 30, 10)]  # a match, a miss, a match, a false one


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "geojson"])
def test_polygons_are_matched_with_polygons_object_by_object(
    suffix: str, bright_scene: Path, ground: Path, tmp_path: Path
) -> None:
    labels = squares(tmp_path / "labels.gpkg", bright_scene, LABELS)
    mapped = squares(tmp_path / f"map.{suffix}", bright_scene, MAP, crs="EPSG:4326")
    report = evaluate(mapped, labels=labels, settings=EvaluateSettings(aoi=ground))
    roofs = report.classes[1]
    assert (roofs.object_precision, roofs.object_recall) == (2 / 4, 2 / 5)
    assert (roofs.label_objects, roofs.map_objects, report.pixels) == (5, 4, 0)
    assert report.classes[0].label_objects == 0


@pytest.mark.parametrize("gsd", [None, "500m"])
def test_longitudes_of_labels_and_map_may_count_from_either_side(tmp_path: Path, gsd: str | None) -> None:
    for name, west in (("labels", 258), ("map", -102)):
        boxes = [shapely.box(west + x, 40, west + x + 0.1, 40.1) for x in (0, 0.5)]
        geopandas.GeoDataFrame({"class_name": ["roof"] * 2}, geometry=boxes, crs=4326).to_file(
            tmp_path / f"{name}.gpkg"
        )
    report = evaluate(tmp_path / "map.gpkg", labels=tmp_path / "labels.gpkg", settings=EvaluateSettings(gsd=gsd))
    assert report.classes[1].object_f1 == 1
    assert gsd is None or report.classes[1].iou == 1


def test_labels_in_national_grids_have_a_common_grid_with_the_map(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"class_name": ["roof"]}, geometry=[shapely.box(650_000, 6_860_000, 650_100, 6_860_100)], crs=2154
    )
    frame.to_file(tmp_path / "labels.gpkg")
    frame.to_crs(32631).to_file(tmp_path / "map.gpkg")
    report = evaluate(tmp_path / "map.gpkg", labels=tmp_path / "labels.gpkg", settings=EvaluateSettings(gsd="1m"))
    assert report.classes[1].iou == pytest.approx(1, abs=0.01)


def test_local_coordinates_are_not_compared_with_the_ground(tmp_path: Path) -> None:
    box = [shapely.box(0, 0, 10, 10)]
    frame = geopandas.GeoDataFrame({"class_name": ["roof"]}, geometry=box)
    frame.set_crs('LOCAL_CS["Site",UNIT["metre",1]]').to_file(tmp_path / "labels.gpkg")
    frame.set_crs(32631).to_file(tmp_path / "map.gpkg")
    with pytest.raises(LabelError, match="cannot be transformed to the CRS of"):
        evaluate(tmp_path / "map.gpkg", labels=tmp_path / "labels.gpkg")


def test_on_a_common_grid_polygons_score_as_on_the_grid_of_the_scene(
    bright_scene: Path, ground: Path, tmp_path: Path
) -> None:
    labels, mapped = (squares(tmp_path / f"{n}.gpkg", bright_scene, p) for n, p in (("labels", LABELS), ("map", MAP)))
    report = evaluate(mapped, labels=labels, settings=EvaluateSettings(gsd="0.5m", aoi=ground))
    burnt = [np.zeros((256, 384), dtype=np.uint8) for _ in range(2)]
    for ids, places in zip(burnt, (LABELS, MAP), strict=True):
        for x, y, side in places:
            ids[y : y + side, x : x + side] = 1
    exact = ConfusionMatrix(2)
    exact.add(*burnt)
    expected = score(exact.counts, "ab")
    assert report.classes[1].iou == pytest.approx(expected.classes[1].iou, abs=0.01)  # UTM metres are not ground metres
    assert report.classes[1].object_f1 == 2 * 2 / 9  # touching squares stay two objects
    assert report.boundary_f1 > 0


def test_polygons_are_compared_with_a_class_raster_on_its_grid(
    bright_scene: Path, ground: Path, tmp_path: Path
) -> None:
    ids = np.zeros((256, 384), dtype=np.uint8)
    for x, y, side in LABELS:
        ids[y : y + side, x : x + side] = 7
    labels = write_map(tmp_path / "labels.tif", bright_scene, ids)
    mapped = squares(tmp_path / "map.gpkg", bright_scene, MAP)
    report = evaluate(mapped, labels=labels, settings=EvaluateSettings(aoi=ground))
    assert [entry.name for entry in report.classes] == ["class 0", "class 7"]
    assert report.pixels == 256 * 384
    assert report.classes[1].pixels == sum(side**2 for *_, side in LABELS)
    assert report.classes[1].precision == (18 * 20 + 10 * 20 + 40 * 40) / sum(side**2 for *_, side in MAP)
    objects = report.classes[1]  # in the raster two touching squares are one region
    assert (objects.label_objects, objects.map_objects, objects.object_precision) == (4, 4, 1 / 4)


def test_labels_that_are_polygons_keep_touching_objects_apart(bright_scene: Path, tmp_path: Path) -> None:
    labels = squares(tmp_path / "labels.gpkg", bright_scene, LABELS)
    ids = np.zeros((256, 384), dtype=np.uint8)
    ids[100:140, 100:140] = 1
    report = evaluate(write_map(tmp_path / "map.tif", bright_scene, ids), labels=labels)
    roofs = report.classes[1]
    assert (roofs.label_objects, roofs.map_objects, roofs.object_recall) == (5, 1, 1 / 5)


def test_polygons_of_several_classes_need_the_attribute(bright_scene: Path, tmp_path: Path) -> None:
    labels = squares(tmp_path / "labels.gpkg", bright_scene, LABELS)
    report = evaluate(
        squares(tmp_path / "map.gpkg", bright_scene, MAP),
        labels=labels,
        settings=EvaluateSettings(class_field="class_name"),
    )
    assert [entry.name for entry in report.classes] == ["background", "roof"]
    assert report.classes[1].map_objects == 4


@pytest.mark.parametrize("gsd", ["0m", "x", "-1m"])
def test_a_grid_without_a_size_is_refused(gsd: str, bright_scene: Path, tmp_path: Path) -> None:
    labels = squares(tmp_path / "labels.gpkg", bright_scene, LABELS)
    with pytest.raises(UsageError, match="`gsd"):
        evaluate(labels, labels=labels, settings=EvaluateSettings(gsd=gsd))


def test_a_grid_is_for_polygons_alone(bright_scene: Path) -> None:
    labels = bright_scene.parent / "labels.tif"
    with pytest.raises(UsageError, match="`gsd"):
        evaluate(labels, labels=labels, settings=EvaluateSettings(gsd="1m"))


def test_polygons_that_vectorize_made_agree_with_the_raster_that_they_came_from(
    bright_scene: Path, tmp_path: Path
) -> None:
    ids = np.kron(np.random.default_rng(1).integers(0, 3, (16, 24)), np.ones((16, 16))).astype(np.uint8)
    raster = write_map(tmp_path / "map.tif", bright_scene, ids)
    with rasterio.open(raster, "r+") as dataset:
        table = ClassTable.from_names(["background", "roof", "road"])
        dataset.update_tags(SATSEG_CLASSES=json.dumps(table.to_dict()))
    vectorize(raster, output=tmp_path / "map.gpkg")
    report = evaluate(tmp_path / "map.gpkg", labels=raster, settings=EvaluateSettings(class_field="use"))
    assert [entry.name for entry in report.classes] == ["background", "roof", "road"]
    assert (report.mean_iou, report.kappa, report.boundary_f1, report.bf) == (1, 1, 1, 1)
    assert (report.boundary_iou, report.object_f1) == (1, 1)
    assert (
        report.classes[1].map_objects
        == geopandas.read_file(tmp_path / "map.gpkg", layer="map")["class_name"].eq("roof").sum()
    )


def test_labels_are_read_by_map_and_condition(bright_scene: Path, tmp_path: Path) -> None:
    labels = squares(tmp_path / "labels.gpkg", bright_scene, LABELS)
    ids = np.zeros((256, 384), dtype=np.uint8)
    ids[10:30, 10:30] = 1
    mapped = write_map(tmp_path / "map.tif", bright_scene, ids)
    report = evaluate(
        mapped,
        labels=labels,
        settings=EvaluateSettings(class_field="class_name", class_map="roof=building", where="fid = 1"),
    )
    assert [entry.name for entry in report.classes] == ["background", "building"]
    assert report.mean_iou == 1


def roof_map(path: Path, scene: Path, places: list[tuple[int, int, int]], window: tuple[int, int, int, int]) -> Path:
    """Write a class map of a part of the scene, given as left, top, right and bottom, with squares of roofs on it."""
    left, top, right, bottom = window
    ids = np.zeros((256, 384), dtype=np.uint8)
    for x, y, side in places:
        ids[y : y + side, x : x + side] = 1
    with Scene.open(scene) as opened:
        transform = opened.info.transform * Affine.translation(left, top)
    write_map(path, scene, ids[top:bottom, left:right], transform=transform, width=right - left, height=bottom - top)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(SATSEG_CLASSES=json.dumps(ClassTable.from_names(["background", "roof"]).to_dict()))
    return path


WINDOW = (50, 0, 250, 150)  # left, top, right, bottom of a map that is smaller than its labels
CUT = [(10, 10, 20), (45, 10, 20), (100, 100, 20), (140, 100, 40), (300, 200, 30)]  # three lie there, one in part
CORNER = (240, 60, 30)  # a third of it lies there


@pytest.mark.parametrize(("drawn", "objects"), [([*CUT, CORNER], 4), (CUT, 3)], ids=["drawn", "not drawn"])
def test_objects_beyond_the_map_do_not_count_and_those_mostly_beyond_only_where_they_match(
    drawn: list[tuple[int, int, int]], objects: int, bright_scene: Path, tmp_path: Path
) -> None:
    labels = squares(tmp_path / "labels.gpkg", bright_scene, [*CUT, CORNER], crs="EPSG:4326")
    raster = roof_map(tmp_path / "map.tif", bright_scene, drawn, WINDOW)
    vectorize(raster, output=[tmp_path / f"map.{suffix}" for suffix in ("gpkg", "parquet")])
    found = [evaluate(raster, labels=labels, settings=EvaluateSettings(class_field="class_name"))]
    found += [
        evaluate(
            tmp_path / f"map.{suffix}", labels=labels, settings=EvaluateSettings(class_field="class_name", gsd=gsd)
        )
        for suffix in ("gpkg", "parquet")
        for gsd in (None, "0.5m")
    ]
    for report in found:
        roofs = report.classes[1]
        assert (roofs.label_objects, roofs.map_objects, roofs.object_f1) == (objects, objects, 1)
        missed = 0 if len(drawn) > len(CUT) else 10 * 30
        assert not report.pixels or roofs.recall == pytest.approx(1 - missed / roofs.pixels, abs=0.02)


def test_what_the_map_draws_beyond_the_area_of_interest_is_false_only_where_most_of_it_lies_inside(
    bright_scene: Path, tmp_path: Path
) -> None:
    labels = squares(tmp_path / "labels.gpkg", bright_scene, [(100, 100, 20)])
    mapped = squares(tmp_path / "map.gpkg", bright_scene, [(100, 100, 20), (0, 0, 40), (40, 100, 40), (90, 20, 30)])
    aoi = area(tmp_path / "aoi.gpkg", bright_scene, (70, 0, 384, 256))
    for gsd in (None, "0.5m"):
        found = evaluate(mapped, labels=labels, settings=EvaluateSettings(aoi=aoi, gsd=gsd)).classes[1]
        assert (found.label_objects, found.map_objects, found.object_precision) == (1, 2, 1 / 2)


def test_the_ground_of_several_maps_is_that_of_all_of_them(bright_scene: Path, tmp_path: Path) -> None:
    windows = [(0, 0, 90, 90), (280, 180, 384, 256)]
    maps = [roof_map(tmp_path / f"{i}.tif", bright_scene, [], window) for i, window in enumerate(windows)]
    vectorize(maps, output=tmp_path / "map.gpkg", settings=VectorizeSettings(keep_background=True, crs="EPSG:3857"))
    report = evaluate(
        tmp_path / "map.gpkg",
        labels=squares(tmp_path / "labels.gpkg", bright_scene, LABELS),
        settings=EvaluateSettings(class_field="class_name"),
    )
    assert report.classes[1].label_objects == 3


def test_without_a_footprint_the_bounding_box_of_the_map_is_taken_and_that_is_said(
    bright_scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = squares(tmp_path / "labels.gpkg", bright_scene, LABELS)
    report = evaluate(squares(tmp_path / "map.geojson", bright_scene, MAP[:3], crs="EPSG:4326"), labels=labels)
    assert report.classes[1].label_objects == 3  # all from column 12 to 140 and row 10 to 140
    assert "within the bounding box of its polygons" in caplog.text


def test_an_area_of_interest_limits_pixels_boundaries_and_objects(bright_scene: Path, tmp_path: Path) -> None:
    labels = squares(tmp_path / "labels.gpkg", bright_scene, LABELS)
    raster = roof_map(tmp_path / "map.tif", bright_scene, MAP, (0, 0, 384, 256))
    aoi = area(tmp_path / "aoi.geojson", bright_scene, (0, 0, 120, 256))
    found = evaluate(raster, labels=labels, settings=EvaluateSettings(class_field="class_name", aoi=aoi))
    assert (found.pixels, found.unlabelled) == (120 * 256, 0)
    cropped = roof_map(tmp_path / "cropped.tif", bright_scene, MAP, (0, 0, 120, 256))
    assert (
        found.classes == evaluate(cropped, labels=labels, settings=EvaluateSettings(class_field="class_name")).classes
    )
    vectorize(raster, output=tmp_path / "map.gpkg")
    by_objects = evaluate(
        tmp_path / "map.gpkg", labels=labels, settings=EvaluateSettings(class_field="class_name", aoi=aoi)
    ).classes[1]
    assert (by_objects.label_objects, by_objects.map_objects) == (3, 3)
    assert by_objects.object_f1 == found.classes[1].object_f1


def test_outside_the_labelled_area_nothing_counts_and_what_is_ignored_is_told(
    bright_scene: Path, tmp_path: Path
) -> None:
    labels = squares(tmp_path / "labels.gpkg", bright_scene, LABELS)
    raster = roof_map(tmp_path / "map.tif", bright_scene, MAP, (0, 0, 384, 256))
    known = area(tmp_path / "known.gpkg", bright_scene, (0, 0, 120, 256))
    found = evaluate(raster, labels=labels, settings=EvaluateSettings(class_field="class_name", labelled_area=known))
    assert (found.pixels, found.unlabelled) == (120 * 256, 264 * 256)
    aoi = area(tmp_path / "aoi.gpkg", bright_scene, (20, 0, 200, 256))
    both = evaluate(
        raster, labels=labels, settings=EvaluateSettings(class_field="class_name", labelled_area=known, aoi=aoi)
    )
    assert (both.pixels, both.unlabelled) == (100 * 256, 80 * 256)
    vectorize(raster, output=tmp_path / "map.gpkg")
    objects = evaluate(
        tmp_path / "map.gpkg", labels=labels, settings=EvaluateSettings(class_field="class_name", labelled_area=known)
    ).classes[1]
    assert (objects.label_objects, objects.map_objects) == (3, 3)


def test_a_map_and_labels_that_do_not_meet_are_refused(bright_scene: Path, tmp_path: Path) -> None:
    labels = squares(tmp_path / "labels.gpkg", bright_scene, [(300, 200, 30)])
    raster = roof_map(tmp_path / "map.tif", bright_scene, MAP, (0, 0, 90, 90))
    vectorize(raster, output=tmp_path / "map.gpkg")
    with pytest.raises(LabelError, match=r"labels\.gpkg touches the scene .*map\.tif"):
        evaluate(raster, labels=labels, settings=EvaluateSettings(class_field="class_name"))
    with pytest.raises(LabelError, match=r"labels\.gpkg intersects the mapped area of .*map\.gpkg"):
        evaluate(tmp_path / "map.gpkg", labels=labels, settings=EvaluateSettings(class_field="class_name"))
    aoi = area(tmp_path / "aoi.gpkg", bright_scene, (200, 200, 300, 256))
    with pytest.raises(AreaError, match="aoi"):
        evaluate(raster, labels=labels, settings=EvaluateSettings(class_field="class_name", aoi=aoi))


@pytest.mark.parametrize("seed", range(4))
def test_objects_are_counted_as_shapely_counts_them_on_a_ground_of_any_shape(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    labels = [shapely.box(x, y, x + 1, y + 1) for x, y in rng.uniform(0, 20, (60, 2)).round(2)]
    ground = shapely.Point(10, 10).buffer(rng.uniform(3, 8))
    frames = {"labels": labels, "map": [shapely.box(*box.bounds) for box in labels[::2]], "aoi": [ground]}
    for name, shapes in frames.items():
        geopandas.GeoDataFrame({"class_name": ["roof"] * len(shapes)}, geometry=shapes, crs=32645).to_file(
            tmp_path / f"{name}.gpkg"
        )
    found = evaluate(
        tmp_path / "map.gpkg", labels=tmp_path / "labels.gpkg", settings=EvaluateSettings(aoi=tmp_path / "aoi.gpkg")
    ).classes[1]
    inside = shapely.area(shapely.intersection(labels, ground)) > 0  # also those that lie mostly outside match
    missed = ~inside | (shapely.area(shapely.intersection(labels, ground)) < 0.5)
    missed[::2] = ~inside[::2]
    assert (found.label_objects, found.map_objects) == ((~missed).sum(), inside[::2].sum())
    assert found.object_precision == 1
