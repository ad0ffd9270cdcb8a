"""Objects of labels on the ground: in any CRS, as polygons and as class rasters."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from made_scenes import GRID, write_map, write_scene

from satseg.labels.class_map import ClassMap
from satseg.labels.label_files import open_labels
from satseg.labels.settings import LabelSettings
from satseg.raster.scene import Scene
from satseg.records import SceneInfo
from satseg.tiling.object_sizes import ClassSize, measure_objects

HUTS = [(20 + 40 * i, 20 + 50 * j, 30 + 40 * i, 50 + 50 * j) for i in range(5) for j in range(4)]  # 10 x 30 px
POND = (100, 230, 260, 290)  # 160 x 60 px


@pytest.fixture
def scene(tmp_path: Path) -> SceneInfo:
    """300 x 300 px of 0.5 m."""
    return opened(write_scene(tmp_path / "scene.tif", np.ones((1, 300, 300), dtype=np.uint8)))


def opened(path: Path) -> SceneInfo:
    with Scene.open(path) as scene:
        return scene.info


def outline(box: tuple[int, int, int, int], grid: Affine = GRID) -> shapely.Polygon:
    left, top, right, bottom = box
    return shapely.Polygon([grid * at for at in [(left, top), (right, top), (right, bottom), (left, bottom)]])


def write(path: Path, crs: str = "EPSG:32645", to: str | None = None, grid: Affine = GRID) -> Path:
    """Write twenty huts and a pond."""
    shapes = [outline(box, grid) for box in (*HUTS, POND)]
    frame = geopandas.GeoDataFrame({"kind": ["hut"] * len(HUTS) + ["pond"]}, geometry=shapes, crs=crs)
    (frame if to is None else frame.to_crs(to)).to_file(path)
    return path


BY_KIND = LabelSettings(class_field="kind")


@pytest.mark.parametrize("crs", [None, "EPSG:4326", "EPSG:3857"])
def test_objects_of_each_class_are_measured_in_metres_on_the_ground(
    tmp_path: Path, scene: SceneInfo, crs: str | None
) -> None:
    sizes = measure_objects(open_labels(write(tmp_path / "a.gpkg", to=crs), BY_KIND), [scene])
    assert sizes.in_metres
    assert {name: size.count for name, size in sizes.classes.items()} == {"hut": 20, "pond": 1}
    assert sizes.classes["hut"].median == pytest.approx(5, rel=2e-3)
    assert sizes.classes["hut"].narrow == pytest.approx(5, rel=2e-3)
    assert sizes.classes["pond"].median == pytest.approx(30, rel=2e-3)


def test_metres_of_web_mercator_are_not_metres_on_the_ground(tmp_path: Path) -> None:
    grid = Affine(1, 0, 1_000_000, 0, -1, 8_399_738)  # at 60 degrees north a metre is two units
    path = write_scene(tmp_path / "scene.tif", np.ones((1, 300, 300), np.uint8), crs="EPSG:3857", transform=grid)
    labels = open_labels(write(tmp_path / "a.gpkg", crs="EPSG:3857", grid=grid), BY_KIND)
    assert measure_objects(labels, [opened(path)]).classes["hut"].median == pytest.approx(5, rel=0.01)


def test_without_a_crs_objects_are_measured_in_pixels(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.ones((1, 300, 300), dtype=np.uint8), crs=None)
    sizes = measure_objects(open_labels(write(tmp_path / "a.gpkg"), BY_KIND), [opened(path)])
    assert not sizes.in_metres
    assert sizes.classes["hut"] == ClassSize(20, pytest.approx(10), pytest.approx(10))


def test_parts_of_one_feature_are_objects_and_what_is_as_wide_as_the_scene_is_not(
    tmp_path: Path, scene: SceneInfo
) -> None:
    shapes = [shapely.MultiPolygon([outline(box) for box in HUTS]), outline((-900, -900, 900, 900))]
    frame = geopandas.GeoDataFrame({"kind": ["hut", "forest"]}, geometry=shapes, crs="EPSG:32645")
    frame.to_file(tmp_path / "a.gpkg")
    sizes = measure_objects(open_labels(tmp_path / "a.gpkg", BY_KIND), [scene])
    assert {name: size.count for name, size in sizes.classes.items()} == {"hut": 20}


def test_a_class_raster_has_the_objects_of_its_regions_but_no_background(tmp_path: Path, scene: SceneInfo) -> None:
    ids = np.zeros((300, 300), dtype=np.uint8)
    for number, (left, top, right, bottom) in [*((1, box) for box in HUTS), (2, POND), (3, (0, 0, 300, 8))]:
        ids[top:bottom, left:right] = number
    write_map(tmp_path / "labels.tif", Path(scene.path), ids)
    mapped = ClassMap.parse("0=background,1=hut,2=pond,3=ignore")
    sizes = measure_objects(open_labels(tmp_path / "labels.tif", class_map=mapped), [scene])
    assert {name: size.count for name, size in sizes.classes.items()} == {"hut": 20, "pond": 1}
    assert 4 <= sizes.classes["hut"].median <= 5
    assert 29 <= sizes.classes["pond"].median <= 30


def test_of_very_many_objects_the_same_sample_is_measured_each_time(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.ones((1, 300, 300), dtype=np.uint8))
    corners = np.stack(np.meshgrid(np.arange(250), np.arange(200)), axis=-1).reshape(-1, 2)
    sides = np.random.default_rng(0).uniform(0.1, 0.9, len(corners))
    shapes = shapely.box(*(corners.T + 20), *(corners.T + 20 + sides))
    on_grid = shapely.transform(shapes, lambda points: np.stack(GRID * points.T, axis=1))
    geopandas.GeoDataFrame(geometry=on_grid, crs="EPSG:32645").to_file(tmp_path / "a.gpkg")
    labels = open_labels(tmp_path / "a.gpkg")
    sizes = measure_objects(labels, [opened(path)])
    assert sizes == measure_objects(labels, [opened(path)])
    assert 10_000 < sizes.count <= 20_000  # of 50,000
    assert sizes.classes["a"].median == pytest.approx(0.25, rel=0.02)
    assert sizes.classes["a"].narrow == pytest.approx(0.09, rel=0.05)


def test_a_scene_without_labels_has_no_say(tmp_path: Path, scene: SceneInfo) -> None:
    elsewhere = opened(
        write_scene(tmp_path / "b.tif", np.ones((1, 9, 9), np.uint8), transform=GRID * Affine.translation(9000, 0))
    )
    labels = open_labels(write(tmp_path / "a.gpkg"), BY_KIND)
    assert measure_objects(labels, [elsewhere, scene]) == measure_objects(labels, [scene])


def test_widths_are_told_in_pixels_of_the_tiles(tmp_path: Path, scene: SceneInfo) -> None:
    sizes = measure_objects(open_labels(write(tmp_path / "a.gpkg"), BY_KIND), [scene])
    told = sizes.in_pixels((2.0, 0.5), {"background": 0.9, "hut": 0.1})  # a class without labelled pixels is left out
    assert list(told) == ["hut"]
    assert (told["hut"].measured, told["hut"].share) == (20, 0.1)
    assert told["hut"].median == pytest.approx(5, rel=2e-3)
