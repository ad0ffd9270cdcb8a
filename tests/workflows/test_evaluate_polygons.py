"""Polygons against polygons, and against class rasters: object by object, on a grid, and by class."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from made_scenes import write_map

from satseg.classes import ClassTable
from satseg.errors import LabelError, UsageError
from satseg.evaluation.confusion import ConfusionMatrix, score
from satseg.raster.scene import Scene
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


LABELS = [(10, 10, 20), (60, 10, 20), (100, 100, 40), (140, 100, 40), (300, 200, 30)]
MAP = [(12, 10, 20), (70, 10, 20), (100, 100, 40), (200, 30, 10)]  # a match, a miss, a match, a false one


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "geojson"])
def test_polygons_are_matched_with_polygons_object_by_object(suffix: str, bright_scene: Path, tmp_path: Path) -> None:
    labels = squares(tmp_path / "labels.gpkg", bright_scene, LABELS)
    mapped = squares(tmp_path / f"map.{suffix}", bright_scene, MAP, crs="EPSG:4326")
    report = evaluate(mapped, labels=labels)
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
    report = evaluate(tmp_path / "map.gpkg", labels=tmp_path / "labels.gpkg", gsd=gsd)
    assert report.classes[1].object_f1 == 1
    assert gsd is None or report.classes[1].iou == 1


def test_labels_in_national_grids_have_a_common_grid_with_the_map(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"class_name": ["roof"]}, geometry=[shapely.box(650_000, 6_860_000, 650_100, 6_860_100)], crs=2154
    )
    frame.to_file(tmp_path / "labels.gpkg")
    frame.to_crs(32631).to_file(tmp_path / "map.gpkg")
    report = evaluate(tmp_path / "map.gpkg", labels=tmp_path / "labels.gpkg", gsd="1m")
    assert report.classes[1].iou == pytest.approx(1, abs=0.01)


def test_local_coordinates_are_not_compared_with_the_ground(tmp_path: Path) -> None:
    box = [shapely.box(0, 0, 10, 10)]
    frame = geopandas.GeoDataFrame({"class_name": ["roof"]}, geometry=box)
    frame.set_crs('LOCAL_CS["Site",UNIT["metre",1]]').to_file(tmp_path / "labels.gpkg")
    frame.set_crs(32631).to_file(tmp_path / "map.gpkg")
    with pytest.raises(LabelError, match="Nothing says where"):
        evaluate(tmp_path / "map.gpkg", labels=tmp_path / "labels.gpkg")


def test_on_a_common_grid_polygons_score_as_on_the_grid_of_the_scene(bright_scene: Path, tmp_path: Path) -> None:
    labels, mapped = (squares(tmp_path / f"{n}.gpkg", bright_scene, p) for n, p in (("labels", LABELS), ("map", MAP)))
    report = evaluate(mapped, labels=labels, gsd="0.5m")
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


def test_polygons_are_compared_with_a_class_raster_on_its_grid(bright_scene: Path, tmp_path: Path) -> None:
    ids = np.zeros((256, 384), dtype=np.uint8)
    for x, y, side in LABELS:
        ids[y : y + side, x : x + side] = 7
    labels = write_map(tmp_path / "labels.tif", bright_scene, ids)
    mapped = squares(tmp_path / "map.gpkg", bright_scene, MAP)
    report = evaluate(mapped, labels=labels)
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
    report = evaluate(squares(tmp_path / "map.gpkg", bright_scene, MAP), labels=labels, class_field="class_name")
    assert [entry.name for entry in report.classes] == ["background", "roof"]
    assert report.classes[1].map_objects == 4


@pytest.mark.parametrize("gsd", ["0m", "x", "-1m"])
def test_a_grid_without_a_size_is_refused(gsd: str, bright_scene: Path, tmp_path: Path) -> None:
    labels = squares(tmp_path / "labels.gpkg", bright_scene, LABELS)
    with pytest.raises(UsageError, match="pixel size"):
        evaluate(labels, labels=labels, gsd=gsd)


def test_a_grid_is_for_polygons_alone(bright_scene: Path) -> None:
    labels = bright_scene.parent / "labels.tif"
    with pytest.raises(UsageError, match="--gsd"):
        evaluate(labels, labels=labels, gsd="1m")


def test_polygons_that_vectorize_made_agree_with_the_raster_that_they_came_from(
    bright_scene: Path, tmp_path: Path
) -> None:
    ids = np.kron(np.random.default_rng(1).integers(0, 3, (16, 24)), np.ones((16, 16))).astype(np.uint8)
    raster = write_map(tmp_path / "map.tif", bright_scene, ids)
    with rasterio.open(raster, "r+") as dataset:
        table = ClassTable.from_names(["background", "roof", "road"])
        dataset.update_tags(SATSEG_CLASSES=json.dumps(table.to_dict()))
    vectorize(raster, output=tmp_path / "map.gpkg")
    report = evaluate(tmp_path / "map.gpkg", labels=raster, class_field="use")
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
    report = evaluate(mapped, labels=labels, class_field="class_name", class_map="roof=building", where="fid = 1")
    assert [entry.name for entry in report.classes] == ["background", "building"]
    assert report.mean_iou == 1
