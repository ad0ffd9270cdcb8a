"""Covers ``label_files``, ``label_source``, ``vector_labels`` and ``raster_labels``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.features import rasterize
from rasterio.windows import Window

from satseg.errors import LabelError, UsageError
from satseg.geo.grid import ground_sampling_distance
from satseg.labels.class_map import ClassMap
from satseg.labels.label_files import open_labels
from satseg.labels.settings import LabelSettings
from satseg.labels.vector_labels import BurntPolygons
from satseg.raster.scene import Scene
from satseg.records import BandSpec, SceneInfo
from satseg.sample import sample

GRID = Affine(2.0, 0, 500_000, 0, -2.0, 5_000_000)
WHOLE = Window(0, 0, 20, 10)


def scene(transform: Affine = GRID, crs: str | None = "EPSG:32632") -> SceneInfo:
    gsd = ground_sampling_distance(crs, transform, 20, 10) if crs else None
    spec = BandSpec(("gray",), "uint8", (1.0,), (0.0,))
    return SceneInfo("scene.tif", 20, 10, spec, None, False, crs, transform, gsd)


def box(left: float, top: float, right: float, bottom: float) -> shapely.Polygon:
    """A box in pixels of the scene, in its CRS."""
    return shapely.Polygon([GRID * corner for corner in [(left, top), (right, top), (right, bottom), (left, bottom)]])


def write(path: Path, shapes: list[object], crs: str | None = "EPSG:32632", **columns: list[object]) -> Path:
    geopandas.GeoDataFrame(columns, geometry=shapes, crs=crs).to_file(path)
    return path


def write_raster(path: Path, values: np.ndarray, **profile: object) -> Path:
    options: dict[str, object] = {"driver": "GTiff", "crs": "EPSG:32632", "transform": GRID} | profile
    height, width = values.shape
    with rasterio.open(path, "w", count=1, height=height, width=width, dtype=values.dtype.name, **options) as dataset:
        dataset.write(values, 1)
    return path


def test_features_of_one_class_are_named_like_the_file(tmp_path: Path) -> None:
    source = open_labels(write(tmp_path / "houses.gpkg", [box(3, 2, 7, 5)]))
    assert source.classes.names == ("background", "houses")
    expected = np.zeros((10, 20), dtype=np.uint8)
    expected[2:5, 3:7] = 1
    assert (source.on(scene()).read(WHOLE) == expected).all()
    assert (source.on(scene()).read(Window(4, 1, 5, 3)) == expected[1:4, 4:9]).all()


def test_a_class_field_makes_a_class_of_each_value(tmp_path: Path) -> None:
    shapes = [box(0, 0, 2, 2), box(4, 0, 6, 2), box(8, 0, 10, 2)]
    source = open_labels(
        write(tmp_path / "a.gpkg", shapes, kind=["wood", "lake", "wood"]), LabelSettings(class_field="kind")
    )
    assert source.classes.names == ("background", "lake", "wood")
    assert source.on(scene()).read(WHOLE)[0, [0, 2, 4, 8]].tolist() == [2, 0, 1, 2]


def test_number_values_are_classes_in_the_order_of_numbers(tmp_path: Path) -> None:
    shapes = [box(i, 0, i + 1, 1) for i in range(3)]
    source = open_labels(write(tmp_path / "a.gpkg", shapes, code=[10, 9, None]), LabelSettings(class_field="code"))
    assert source.classes.names == ("background", "9", "10", "unknown")


def test_blanks_and_nan_name_no_class_and_blanks_around_a_name_are_none_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shapes = [box(i, 0, i + 1, 1) for i in range(6)]
    path = write(tmp_path / "a.gpkg", shapes, kind=["building ", " building", "building", "", "  ", None])
    assert open_labels(path, LabelSettings(class_field="kind")).classes.names == ("background", "building", "unknown")
    assert "3 features have no kind; their value is 'unknown'" in caplog.text
    text = ClassMap.parse("building=house,unknown=ignore")
    assert open_labels(path, LabelSettings(class_field="kind"), class_map=text).on(scene()).read(WHOLE)[
        0, :7
    ].tolist() == [
        *[1, 1, 1, 255, 255, 255],
        0,
    ]


def test_any_number_of_nan_is_one_class(tmp_path: Path) -> None:
    shapes = [box(i % 20, i // 20, i % 20 + 1, i // 20 + 1) for i in range(1500)]
    path = write(tmp_path / "a.gpkg", shapes, code=[1.0, *[np.nan] * 1499])
    assert open_labels(path, LabelSettings(class_field="code")).classes.names == ("background", "1", "unknown")


def test_an_attribute_of_lists_names_no_classes(tmp_path: Path) -> None:
    collection = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"kind": ["a", "b"]},
                "geometry": shapely.geometry.mapping(box(0, 0, 1, 1)),
            }
        ],
    }
    (tmp_path / "a.geojson").write_text(json.dumps(collection))
    with pytest.raises(LabelError, match=r"holds values of type list, such as \['a', 'b'\]"):
        open_labels(tmp_path / "a.geojson", LabelSettings(class_field="kind"))


def test_labels_are_reprojected_to_the_scene(tmp_path: Path) -> None:
    shapes = geopandas.GeoSeries([box(3, 2, 7, 5)], crs="EPSG:32632").to_crs("EPSG:4326").tolist()
    labels = open_labels(write(tmp_path / "a.geojson", shapes, crs="EPSG:4326")).on(scene()).read(WHOLE)
    assert labels.sum() == 12
    assert (labels[2:5, 3:7] == 1).all()


def test_invalid_geometries_are_repaired_and_counted(tmp_path: Path) -> None:
    bow_tie = shapely.Polygon([GRID * c for c in [(0, 0), (4, 4), (4, 0), (0, 4)]])
    source = open_labels(write(tmp_path / "a.gpkg", [bow_tie, box(10, 0, 12, 2), None]))
    assert (source.repaired, source.dropped) == (1, 1)
    assert source.on(scene()).read(WHOLE)[0:4, 0:4].sum() >= 4


def test_later_features_lie_on_top(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [box(0, 0, 4, 4), box(2, 2, 6, 6)], kind=["b", "a"])
    labels = open_labels(path, LabelSettings(class_field="kind")).on(scene()).read(WHOLE)
    assert labels[3, [1, 3, 5]].tolist() == [2, 1, 1]


@pytest.mark.parametrize("turned", [GRID * Affine.rotation(20), Affine(2.0, 0, 500_000, 0, 2.0, 4_999_980)])
def test_features_are_burnt_into_rotated_and_south_up_grids(tmp_path: Path, turned: Affine) -> None:
    shape = shapely.Polygon([turned * c for c in [(3, 2), (7, 2), (7, 5), (3, 5)]])
    labels = open_labels(write(tmp_path / "a.gpkg", [shape])).on(scene(turned)).read(WHOLE)
    assert (labels[2:5, 3:7] == 1).all()
    assert labels.sum() == 12


def test_a_missing_field_names_those_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [box(0, 0, 1, 1)], kind=["wood"])
    with pytest.raises(LabelError, match="no attribute 'kinds'") as caught:
        open_labels(path, LabelSettings(class_field="kinds"))
    assert caught.value.hint == "Its attributes are kind."


def test_labels_elsewhere_are_noticed(tmp_path: Path) -> None:
    source = open_labels(write(tmp_path / "a.gpkg", [box(100, 100, 110, 110)]))
    with pytest.raises(LabelError, match=r"No label of .* touches the scene"):
        source.on(scene())


def test_lines_are_no_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [shapely.LineString([(0, 0), (1, 1)])])
    with pytest.raises(LabelError, match="no polygon, only LineString"):
        open_labels(path)


def test_a_class_raster_is_numbered_without_gaps(tmp_path: Path) -> None:
    values = np.full((10, 20), 20, dtype=np.uint8)
    values[0], values[1], values[2] = 95, 0, 255
    source = open_labels(write_raster(tmp_path / "a.tif", values, nodata=0))
    assert source.classes.names == ("class 20", "class 95")
    expected = np.zeros((10, 20), dtype=np.uint8)
    expected[0], expected[1:3] = 1, 255
    assert (source.on(scene()).read(WHOLE) == expected).all()


def test_a_class_raster_on_another_grid_is_moved_by_nearest_neighbour(tmp_path: Path) -> None:
    coarse = np.array([[0, 1], [2, 3]], dtype=np.uint8)
    path = write_raster(tmp_path / "a.tif", coarse, transform=GRID * Affine.scale(5, 5))
    labels = open_labels(path).on(scene()).read(WHOLE)
    assert (labels[:, :10] == np.kron(coarse, np.ones((5, 5)))).all()
    assert (labels[:, 10:] == 255).all()  # outside of the labels nothing is known


def test_a_class_raster_without_crs_must_have_the_grid_of_the_scene(tmp_path: Path) -> None:
    source = open_labels(write_raster(tmp_path / "a.tif", np.zeros((3, 3), dtype=np.uint8), crs=None))
    with pytest.raises(LabelError, match="is not on the grid of"):
        source.on(scene())


def test_values_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"holds float32 values such as 0\.25; a class raster holds whole numbers"):
        open_labels(write_raster(tmp_path / "a.tif", np.full((3, 3), 0.25, dtype=np.float32)))
    many = np.arange(3000, dtype=np.uint16).reshape(50, 60)
    with pytest.raises(LabelError, match="does not seem to be a class raster"):
        open_labels(write_raster(tmp_path / "b.tif", many))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_awkward_vector_file_is_read_or_refused_in_one_sentence(real_files: Path) -> None:
    paths = sorted(path for path in (real_files / "vectors").rglob("*") if path.is_file())
    read, refused = [], {}
    for path in paths:
        try:
            source = open_labels(path)
        except LabelError as error:
            assert "\n" not in error.message
            refused[path.name] = error.message
        else:
            assert all(shapely.is_valid(part.geometries).all() for part in source.layers[0].store.near())
            read.append(path.name)
    assert (len(read), len(refused)) == (30, 48)
    assert {"counties.gpkg", "states.geojson", "valid_featurecollection.geojson"} <= set(read)
    assert refused["nospatial.gpkg"].endswith("has no layer with geometries.")
    assert "no polygon" in refused["valid_feature.geojson"]


def test_real_footprints_cover_the_share_that_rasterio_burns() -> None:
    frame = geopandas.read_file(sample().labels)
    source = open_labels(sample().labels)
    with Scene.open(sample().labelled) as opened:
        info = opened.info
        labels = source.on(info)
        share = np.mean([labels.read(Window(0, top, info.width, 256)).mean() for top in range(0, info.height, 256)])
    burnt = rasterize(frame.geometry, (info.height, info.width), transform=info.transform)
    assert share == pytest.approx(burnt.mean(), rel=1e-3)
    assert 0.3 < share < 0.6


def two_kinds(path: Path) -> Path:
    """A house of 4 x 4 px at the left, a pond of 4 x 4 px at the right, a park that lies over a part of both."""
    shapes = [box(0, 0, 4, 4), box(10, 0, 14, 4), box(2, 2, 12, 6)]
    return write(path, shapes, kind=["residential", "1", "park"], level=[2, 3, 1])


def test_a_class_map_names_the_classes_in_its_order(tmp_path: Path) -> None:
    classes = ClassMap.parse("1=water,residential=building,park=background")
    source = open_labels(two_kinds(tmp_path / "a.gpkg"), LabelSettings(class_field="kind"), class_map=classes)
    assert source.classes.names == ("background", "water", "building")
    assert source.on(scene()).read(WHOLE)[0, [0, 5, 10]].tolist() == [2, 0, 1]
    assert source.on(scene()).read(WHOLE)[3, 3] == 0


def test_what_a_class_map_ignores_is_ignored(tmp_path: Path) -> None:
    source = open_labels(
        two_kinds(tmp_path / "a.gpkg"), LabelSettings(class_field="kind"), class_map=ClassMap.parse("1=water,*=ignore")
    )
    assert source.classes.names == ("background", "water")
    assert source.on(scene()).read(WHOLE)[0, [0, 5, 10]].tolist() == [255, 0, 1]


def test_a_value_that_no_class_map_names_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(
        LabelError, match=r"holds the value park \(1 feature\), which `class_map` does not name"
    ) as caught:
        open_labels(
            two_kinds(tmp_path / "a.gpkg"),
            LabelSettings(class_field="kind"),
            class_map=ClassMap.parse("1=water,residential=building"),
        )
    assert "park=park" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["", "water", "1=", "1=a,1=b"])
def test_a_class_map_that_says_nothing_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="class"):
        ClassMap.parse(text)


def test_a_condition_chooses_features(tmp_path: Path) -> None:
    source = open_labels(
        two_kinds(tmp_path / "a.gpkg"), LabelSettings(class_field="kind", where="kind <> 'park' AND level > 2")
    )
    assert source.classes.names == ("background", "1")
    with pytest.raises(LabelError, match="cannot be read") as caught:
        open_labels(two_kinds(tmp_path / "b.gpkg"), LabelSettings(where="kind = ("))
    assert caught.value.hint == "The condition was `where='kind = ('`."
    with pytest.raises(LabelError, match="have no feature that meets the condition"):
        open_labels(two_kinds(tmp_path / "c.gpkg"), LabelSettings(where="level > 9"))


@pytest.mark.parametrize(
    ("order", "on_top"), [("file", "park"), ("area", "residential"), ("level", "residential"), ("class", "residential")]
)
def test_the_burn_order_decides_what_lies_on_top(tmp_path: Path, order: str, on_top: str) -> None:
    source = open_labels(two_kinds(tmp_path / "a.gpkg"), LabelSettings(class_field="kind"), burn_order=order)
    assert source.classes.names[source.on(scene()).read(WHOLE)[3, 3]] == on_top


def test_an_order_by_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"'kind' of .* is not numeric"):
        open_labels(two_kinds(tmp_path / "a.gpkg"), burn_order="kind")


def test_all_pixels_that_are_touched_can_be_labelled(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [box(3.6, 2.6, 6.4, 4.4)])
    assert open_labels(path).on(scene()).read(WHOLE).sum() == 2 * 1
    assert open_labels(path, all_touched=True).on(scene()).read(WHOLE).sum() == 4 * 3


def test_later_sources_lie_on_top(tmp_path: Path) -> None:
    houses = write(tmp_path / "houses.gpkg", [box(0, 0, 4, 4)])
    ponds = write(tmp_path / "ponds.gpkg", [box(2, 0, 6, 4)])
    source = open_labels([houses, ponds])
    assert source.classes.names == ("background", "houses", "ponds")
    assert source.on(scene()).read(WHOLE)[0, :8].tolist() == [1, 1, 2, 2, 2, 2, 0, 0]


def test_polygons_over_a_class_raster_leave_the_rest_of_it_as_it_is(tmp_path: Path) -> None:
    values = np.full((10, 20), 7, dtype=np.uint8)
    values[:, 10:] = 0
    raster = write_raster(tmp_path / "cover.tif", values, nodata=0)
    source = open_labels([raster, write(tmp_path / "houses.gpkg", [box(8, 0, 12, 10)])])
    assert source.classes.names == ("class 7", "houses")
    assert source.on(scene()).read(WHOLE)[0, [0, 8, 11, 12]].tolist() == [0, 1, 1, 255]


def test_outside_of_the_labelled_area_nothing_is_known(tmp_path: Path) -> None:
    houses = write(tmp_path / "houses.gpkg", [box(0, 0, 4, 4)])
    area = geopandas.GeoSeries([box(2, 0, 9, 10)], crs="EPSG:32632").to_crs("EPSG:4326")
    area.to_file(tmp_path / "area.geojson")
    read = open_labels(houses, LabelSettings(labelled_area=tmp_path / "area.geojson")).on(scene()).read(WHOLE)
    assert read[0, :11].tolist() == [255, 255, 1, 1, 0, 0, 0, 0, 0, 255, 255]


def test_a_scene_without_objects_is_background_where_it_was_looked_at(tmp_path: Path) -> None:
    houses = write(tmp_path / "houses.gpkg", [box(100, 0, 104, 4)])
    area = write(tmp_path / "area.gpkg", [box(0, 0, 20, 5)])
    read = open_labels(houses, LabelSettings(labelled_area=area)).on(scene()).read(WHOLE)
    assert (read[:5] == 0).all()
    assert (read[5:] == 255).all()


def pixels(count: float) -> Callable[[SceneInfo], float]:
    return lambda info: count


def test_a_border_is_ignored_on_both_sides_of_outlines(tmp_path: Path) -> None:
    touching = [box(4, 0, 10, 10), box(10, 0, 16, 10)]
    read = open_labels(write(tmp_path / "houses.gpkg", touching), ignore_border=pixels(2)).on(scene()).read(WHOLE)
    i = 255
    assert read[5].tolist() == [0, 0, i, i, i, i, 1, 1, i, i, i, i, 1, 1, i, i, i, i, 0, 0]


def test_a_boundary_is_a_class_inside_of_outlines_and_in_narrow_gaps(tmp_path: Path) -> None:
    shapes = [box(-5, -5, 6, 15), box(6, -5, 10, 15), box(12, -5, 25, 15)]
    source = open_labels(write(tmp_path / "houses.gpkg", shapes), boundary=pixels(2))
    assert source.classes.names == ("background", "houses", "boundary")
    b = 2
    assert source.on(scene()).read(WHOLE)[5].tolist() == [1] * 4 + [b] * 2 + [b] * 4 + [b] * 2 + [b] * 2 + [1] * 6
    wide = open_labels(write(tmp_path / "far.gpkg", [shapes[0], box(11, -5, 25, 15)]), boundary=pixels(1))
    assert wide.on(scene()).read(WHOLE)[5].tolist() == [1] * 5 + [b] + [0] * 5 + [b] + [1] * 8


def test_outlines_do_not_depend_on_where_labels_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(-20, 1300, (400, 2))
    sizes = rng.uniform(6, 80, 400)
    shapes = [shapely.Point(GRID * at).buffer(size) for at, size in zip(corners, sizes, strict=True)]
    path = write(tmp_path / "a.gpkg", shapes)
    large = replace(scene(), width=1300, height=1200)
    source = open_labels(path, ignore_border=pixels(3), boundary=pixels(2.5))
    whole = source.on(large).read(Window(0, 0, 1300, 1200))
    for top, left in ((0, 0), (500, 400), (511, 513), (1000, 1100)):
        assert (source.on(large).read(Window(left, top, 200, 200)) == whole[top : top + 200, left : left + 200]).all()
    monkeypatch.setattr("satseg.labels.labels.CELL", 2048)  # all of it at once
    again = open_labels(path, ignore_border=pixels(3), boundary=pixels(2.5))
    assert (again.on(large).read(Window(0, 0, 1300, 1200)) == whole).all()


def test_a_raster_of_0_and_255_is_not_guessed_at(tmp_path: Path) -> None:
    values = np.zeros((10, 20), dtype=np.uint8)
    values[2:4] = 255
    path = write_raster(tmp_path / "mask.tif", values)
    with pytest.raises(LabelError, match="255 may be a class, or mean unlabelled") as caught:
        open_labels(path)
    assert "`unlabelled=255`" in (caught.value.hint or "")
    assert open_labels(path, LabelSettings(unlabelled=[255])).on(scene()).read(WHOLE)[[0, 2], 0].tolist() == [0, 255]
    named = open_labels(path, class_map=ClassMap.parse("0=background,255=road"))
    assert named.classes.names == ("background", "road")
    assert named.on(scene()).read(WHOLE)[[0, 2], 0].tolist() == [0, 1]


def test_unlabelled_values_are_ignored(tmp_path: Path) -> None:
    values = np.arange(200, dtype=np.uint8).reshape(10, 20) % 4
    source = open_labels(write_raster(tmp_path / "a.tif", values), LabelSettings(unlabelled=[0, 2]))
    assert source.classes.names == ("class 1", "class 3")
    assert source.on(scene()).read(WHOLE)[0, :4].tolist() == [255, 0, 255, 1]


def test_a_raster_with_other_crs_of_the_same_shape_is_moved(tmp_path: Path) -> None:
    values = np.arange(200, dtype=np.uint8).reshape(10, 20) % 4
    path = write_raster(tmp_path / "a.tif", values, crs="EPSG:32633")
    assert (open_labels(path).on(scene()).read(WHOLE) == 255).all()


def test_a_layer_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [box(0, 0, 1, 1)])
    geopandas.GeoDataFrame(geometry=[box(5, 5, 7, 7)], crs="EPSG:32632").to_file(path, layer="second")
    source = open_labels(f"{path}|layername=second")
    assert np.flatnonzero(source.on(scene()).read(WHOLE)).tolist() == [105, 106, 125, 126]
    with pytest.raises(LabelError, match=r"no layer 'third' with geometries; it has a, second"):
        open_labels(f"{path}|layername=third")


def test_a_polygon_of_a_whole_country_is_burnt_in_parts(tmp_path: Path) -> None:
    angles = np.linspace(0, 2 * np.pi, 40_000)
    radius = 900 + 80 * np.sin(37 * angles) + 3 * np.sin(9000 * angles)
    coast = np.stack([1000 + radius * np.cos(angles), 1000 + radius * np.sin(angles)], axis=-1)
    country = shapely.make_valid(shapely.Polygon([GRID * corner for corner in coast.tolist()]))
    large = replace(scene(), width=2000, height=2000)
    for name, crs in (("a", "EPSG:32632"), ("b", "EPSG:4326")):
        shape = geopandas.GeoSeries([country], crs="EPSG:32632").to_crs(crs)
        source = open_labels(write(tmp_path / f"{name}.gpkg", shape.tolist(), crs))
        read = source.on(large).read(Window(0, 0, 2000, 2000))
        layer = source.layers[0].on(large)
        whole, _ = layer.features(Window(0, 0, 2000, 2000), np.array([1], dtype=np.uint8))
        assert (read == (whole > 0)).mean() > 1 - 1e-6
        assert 0.5 < read.mean() < 0.8


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    source = open_labels(two_kinds(tmp_path / "a.gpkg"))
    assert list((tmp_path / "scratch").iterdir()) == []
    assert source.on(scene()).read(WHOLE).any()


def test_labels_are_made_once_for_each_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_labels(write(tmp_path / "houses.gpkg", [box(3, 2, 7, 5)]))
    drawn: list[Window] = []
    draw = BurntPolygons.instances
    monkeypatch.setattr(BurntPolygons, "instances", lambda self, *args: drawn.append(args[0]) or draw(self, *args))
    moved = replace(scene(GRID * Affine.translation(1, 0)), path="moved.tif")

    first = [source.on(one).read(WHOLE) for one in (scene(), moved)]
    assert len(drawn) == 2
    again = [source.on(one).read(WHOLE) for one in (scene(), moved)]

    assert len(drawn) == 2
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    assert (first[1][:, :19] == first[0][:, 1:]).all()


def test_each_scene_has_labels_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "roofs").mkdir()
    roofs = write(tmp_path / "roofs" / "1.geojson", [box(0, 0, 4, 4)])
    none = tmp_path / "roofs" / "2.geojson"
    none.write_text('{"type": "FeatureCollection", "features": []}')
    mask = write_raster(tmp_path / "3.tif", np.full((10, 20), 5, dtype=np.uint8))
    scenes = {name: replace(scene(), path=name) for name in "abc"}
    files = {"a": str(roofs), "b": [str(none)], "c": [str(mask), str(roofs)]}
    source = open_labels(files, class_map=ClassMap.parse("roofs=roof,5=grass"))
    assert source.classes.names == ("background", "roof", "grass")
    counts = {}
    for name, info in scenes.items():
        with source.on(info) as labels:
            ids, times = np.unique(labels.read(WHOLE), return_counts=True)
            counts[name] = dict(zip(ids.tolist(), times.tolist(), strict=True))
    whole = 10 * 20
    assert counts == {"a": {0: whole - 16, 1: 16}, "b": {0: whole}, "c": {1: 16, 2: whole - 16}}


def test_a_scene_that_its_own_polygons_do_not_touch_is_told(tmp_path: Path) -> None:
    far = write(tmp_path / "far.gpkg", [box(900, 900, 904, 904)])
    source = open_labels({"a": [far]})
    with pytest.raises(LabelError, match=r"No label of .*far.gpkg touches the scene a\."):
        source.on(replace(scene(), path="a"))


def test_files_of_many_scenes_name_one_class_by_what_their_names_share(tmp_path: Path) -> None:
    (tmp_path / "houses").mkdir()
    for name, told in {"city_{}_roofs": "roofs", "houses/city_{}": "houses"}.items():
        files = {str(i): [write(tmp_path / f"{name.format(i)}.gpkg", [box(0, 0, 4, 4)])] for i in range(3)}
        assert open_labels(files).classes.names == ("background", told)


def test_a_scene_without_features_may_have_a_file_without_attributes(tmp_path: Path) -> None:
    (tmp_path / "none.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    fields = write(tmp_path / "fields.gpkg", [box(0, 0, 4, 4)], crop=["rye"])
    source = open_labels({"a": fields, "b": tmp_path / "none.geojson"}, LabelSettings(class_field="crop"))
    assert source.classes.names == ("background", "rye")
    with source.on(replace(scene(), path="b")) as labels:
        assert (labels.read(WHOLE) == 0).all()
    with pytest.raises(LabelError, match="None of the label files has a feature, such as"):
        open_labels({"b": tmp_path / "none.geojson"}, LabelSettings(class_field="crop"))
