"""The sink: rows in, complete files out, each read back by other programs.

Covers ``gdal_writer``, ``geojson_writer``, ``parquet_writer``, ``table``, ``wkb`` and ``scene``.
"""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from planar_checks import NORTH_UP, assert_coverage, burnt, maps
from pyproj import Geod

from satseg.classes import ClassTable
from satseg.errors import OutputError, UsageError
from satseg.geo.grid import ground_sampling_distance
from satseg.records import BandSpec, Rows, SceneInfo, VectorSummary
from satseg.vectorization.formats import VECTOR_SUFFIXES
from satseg.vectorization.reproject import Reprojection
from satseg.vectorization.settings import PolygonSettings
from satseg.vectorization.sink import PolygonSink
from satseg.vectorization.table import FeatureBatch

CLASSES = ClassTable.from_names(["background", "building", "road"])
UTM = "EPSG:32645"


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = np.kron(rng.integers(0, 3, (shape[0] // 4, shape[1] // 4)), np.ones((4, 4), dtype=int)).astype(np.uint8)
    return np.where(rng.random(values.shape) < 0.05, 255, values).astype(np.uint8)


def run(
    paths: list[Path], values: np.ndarray, *, height: int = 1000, stream: io.StringIO | None = None, **options: Any
) -> VectorSummary:
    scene = scene_info(values.shape, **{name: options.pop(name) for name in ("transform", "crs") if name in options})
    options = {"raw": True, "crs": options.pop("to_crs", None)} | options
    known = {"classes": CLASSES, "provenance": {"BY": "tests"}, "options": PolygonSettings(**options)}
    with PolygonSink(paths, stream=stream, **known) as sink:
        sink.begin(scene)
        for top in range(0, len(values), height):
            sink.write(Rows(top, values[top : top + height]))
        return sink.close()


def scene_info(
    shape: tuple[int, ...], *, transform: Affine = NORTH_UP, crs: str | None = UTM, path: str = "map.tif"
) -> SceneInfo:
    gsd = ground_sampling_distance(crs, transform, shape[1], shape[0]) if crs else None
    bands = BandSpec(("class",), "uint8", (1.0,), (0.0,))
    return SceneInfo(path, shape[1], shape[0], bands, 255, True, crs, transform, gsd)


def read(path: Path) -> geopandas.GeoDataFrame:
    return geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)


@pytest.mark.parametrize("suffix", VECTOR_SUFFIXES)
def test_every_format_reads_back_as_the_map(tmp_path: Path, suffix: str) -> None:
    path, values = tmp_path / f"out{suffix}", noise(40, 60)
    summary = run([path], values)
    table = read(path)
    geometry = table.geometry.values if not suffix.startswith(".geojson") else table.to_crs(UTM).geometry.values
    expected = np.where((values == 0) | (values == 255), -1, values.astype(int))
    np.testing.assert_array_equal(burnt(geometry, table.class_id.to_numpy(), values.shape, NORTH_UP), expected)
    perimeter = "perim_m" if suffix == ".shp" else "perimeter_m"  # DBF has room for ten letters
    assert list(table.columns) == [
        "class_id",
        "class_name",
        "area_m2",
        perimeter,
        "pixels",
        "region_id",
        "scene",
        "geometry",
    ]
    assert set(table.scene) == {"map.tif"}
    assert table.groupby("class_name").size().to_dict() == summary.polygons
    assert table.pixels.sum() == (expected >= 0).sum()
    np.testing.assert_allclose(table.area_m2, table.pixels * 0.25, rtol=5e-3)  # UTM's scale is 1.0004 squared there
    assert table.crs == ("EPSG:4326" if suffix.startswith(".geojson") else UTM)
    assert_coverage(table.geometry.values)


@pytest.mark.parametrize("suffix", VECTOR_SUFFIXES)
def test_equal_maps_give_equal_bytes_in_strips_of_any_height(tmp_path: Path, suffix: str) -> None:
    values, found = noise(40, 60), []
    for name, height in (("a", 40), ("b", 7), ("c", 1)):
        (tmp_path / name).mkdir()
        run([tmp_path / name / f"out{suffix}"], values, height=height)
        found.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("suffix", VECTOR_SUFFIXES)
def test_an_empty_map_gives_an_empty_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    summary = run([path], np.full((5, 6), 255, dtype=np.uint8))
    assert summary.polygons == {"building": 0, "road": 0}
    if suffix == ".geojsonl":
        assert path.read_bytes() == b""
    elif suffix == ".geojson":
        assert json.loads(path.read_text())["features"] == []
    else:
        assert len(read(path)) == 0


@pytest.mark.parametrize("suffix", VECTOR_SUFFIXES)
def test_without_crs_coordinates_are_the_rasters_own_and_areas_null(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"out{suffix}"
    path.with_suffix(".prj").write_text("stale")
    summary = run([path], noise(8, 8), crs=None, transform=Affine.identity())
    table = read(path)
    assert table.total_bounds.min() >= 0
    assert table.total_bounds.max() <= 8
    assert table.area_m2.isna().all()
    assert np.isnan(list(summary.area_m2.values())).all()
    assert suffix.startswith(".geojson") or table.crs is None
    assert sum("no CRS" in record.message for record in caplog.records) == 1


def test_several_outputs_and_a_stream_hold_the_same_polygons(tmp_path: Path) -> None:
    stream, paths = io.StringIO(), [tmp_path / "a.gpkg", tmp_path / "b.parquet"]
    summary = run(paths, noise(20, 20), stream=stream)
    features = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert summary.paths == (*map(str, paths), "-")
    assert len(features) == len(read(paths[0])) == len(read(paths[1])) == sum(summary.polygons.values())
    vertices = [shapely.get_num_coordinates(shapely.geometry.shape(feature["geometry"])) for feature in features]
    assert sum(vertices) == summary.vertices


def test_background_and_class_choice(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    assert set(run([path], noise(20, 20), keep_background=True).polygons) == {"background", "building", "road"}
    assert set(run([path], noise(20, 20), classes=("road",)).polygons) == {"road"}
    assert set(read(path).class_name) == {"road"}
    with pytest.raises(UsageError, match="no class 'tree'"):
        run([path], noise(20, 20), classes=("tree",))


def test_geopackage_has_a_spatial_index_and_opens_coloured(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    run([path], noise(20, 20))
    with sqlite3.connect(path) as connection:
        indexed = connection.execute("SELECT count(*) FROM rtree_out_geom").fetchone()[0]
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    qml = path.with_suffix(".qml").read_text()  # where QGIS looks for it
    assert all(",".join(map(str, entry.rgb)) in qml and entry.name in qml for entry in CLASSES)
    assert indexed == len(read(path))
    assert pyogrio.read_info(path)["layer_metadata"]["BY"] == "tests"


def test_a_geopackage_opens_without_a_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = tmp_path / "out.gpkg"
    run([path], noise(20, 20))
    recwarn.clear()
    assert len(geopandas.read_file(path)) == len(pyogrio.read_dataframe(path)) > 0
    assert pyogrio.list_layers(path).tolist() == [["out", "Polygon"]]
    assert [str(warning.message) for warning in recwarn.list] == []


def test_geoparquet_says_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    run([path], noise(20, 20))
    metadata = pq.read_metadata(path).metadata
    column = json.loads(metadata[b"geo"])["columns"]["geometry"]
    table = read(path)
    assert column["bbox"] == table.total_bounds.tolist()
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    assert metadata[b"BY"] == b"tests"
    boxes = pq.read_table(path).column("bbox").to_pylist()
    assert [tuple(box.values()) for box in boxes] == [tuple(row) for row in table.bounds.to_numpy().tolist()]


def test_nothing_appears_when_the_sink_is_left_before_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    path.write_text("what was there before")
    with PolygonSink([path], classes=CLASSES, provenance={}) as sink:
        sink.begin(scene_info((20, 20)))
        sink.write(Rows(0, noise(20, 20)))
    assert path.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(pyogrio, "write_arrow", fail)
    with pytest.raises(OutputError, match=r"Cannot write out\.gpkg: No space left on device\."):
        run([tmp_path / "out.gpkg"], noise(20, 20))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("names", [["out.txt"], ["a.gpkg", "a.gpkg"]])
def test_unusable_outputs_are_refused_before_anything_is_written(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(UsageError):
        run([tmp_path / name for name in names], noise(4, 4))
    assert list(tmp_path.iterdir()) == []


ACROSS = {"transform": Affine(5000, 0, 6.8e5, 0, -5000, 6e6), "crs": "EPSG:32660"}


def test_geojson_cuts_what_crosses_the_antimeridian_and_nothing_else() -> None:
    stream, values = io.StringIO(), np.full((8, 8), 255, dtype=np.uint8)
    values[2:6], values[0, 0], values[7, 7] = 1, 2, 2
    summary = run([], values, stream=stream, **ACROSS)
    shapes = [json.loads(line)["geometry"] for line in stream.getvalue().splitlines()]
    assert [shape["type"] for shape in shapes] == ["Polygon", "MultiPolygon", "Polygon"]
    west, cut, east = shapely.from_geojson([json.dumps(shape) for shape in shapes])
    assert 178 < west.bounds[0] < 180 > -178 > east.bounds[2] > -180
    assert sorted(part.bounds[0] > 0 for part in cut.geoms) == [False, True]
    assert {-180.0, 180.0} == set(shapely.total_bounds([cut])[[0, 2]])
    assert summary.polygons == {"building": 1, "road": 2}


@pytest.mark.parametrize("suffix", VECTOR_SUFFIXES)
def test_every_format_takes_polygons_that_were_cut(tmp_path: Path, suffix: str) -> None:
    values = noise(40, 40)
    run([tmp_path / f"out{suffix}"], values, to_crs="EPSG:4326", **ACROSS)
    table = read(tmp_path / f"out{suffix}")
    assert table.geometry.is_valid.all()
    assert (np.abs(table.bounds.to_numpy()) <= 180).all()
    assert (table.geometry.count_geometries() == 2).any()
    assert_coverage(table.geometry.explode().values)
    geod = Geod(ellps="WGS84")
    areas = [abs(geod.geometry_area_perimeter(shape)[0]) for shape in table.geometry]
    np.testing.assert_allclose(areas, table.area_m2, rtol=1e-3)


def test_a_layer_of_polygons_takes_no_map_that_needs_more(tmp_path: Path) -> None:
    values = noise(20, 20)
    scenes = [scene_info(values.shape), scene_info(values.shape, path="far.tif", **ACROSS)]
    for order in (scenes, scenes[::-1]):
        options = PolygonSettings(crs="EPSG:4326")
        with PolygonSink([tmp_path / "out.gpkg"], classes=CLASSES, provenance={}, options=options) as sink:
            sink.begin(order[0])
            sink.write(Rows(0, values))
            sink.end()
            if order[0] is scenes[0]:
                with pytest.raises(UsageError, match=r"far\.tif crosses the antimeridian"):
                    sink.begin(order[1])
                continue
            sink.begin(order[1])
            sink.write(Rows(0, values))
            sink.close()
    assert read(tmp_path / "out.gpkg").geom_type.unique().tolist() == ["MultiPolygon"]


def test_a_map_around_the_globe_is_whole_in_geojson_wherever_it_begins(tmp_path: Path) -> None:
    values = np.ones((180, 360), dtype=np.uint8)
    values[60:120, 100:300] = 2
    for west in (-180, 0, -0.5, 179.5):
        run([tmp_path / "out.geojson"], values, transform=Affine(1, 0, west, 0, -1, 90), crs="EPSG:4326")
        table = read(tmp_path / "out.geojson")
        assert table.geometry.is_valid.all()
        assert table.geometry.area.sum() == pytest.approx(360 * 180)
        assert table.geometry.area[table.class_id == 2].sum() == pytest.approx(60 * 200)
        assert_coverage(table.geometry.explode().values)


@pytest.mark.parametrize(
    ("crs", "place"),
    [
        ("EPSG:3857", ACROSS),
        ("EPSG:6933", ACROSS),
        ("ESRI:54009", ACROSS),
        ("EPSG:3857", {"transform": Affine(9, 0, 0, 0, -4, 80), "crs": "EPSG:4326"}),
        ("EPSG:3832", {"transform": Affine(9, 0, -180, 0, -4, 80), "crs": "EPSG:4326"}),  # ends at 30 degrees west
        ("EPSG:3832", {"transform": Affine(5000, 0, 1.5e5, 0, -5000, 6e6), "crs": "EPSG:32626"}),
    ],
)
def test_polygons_are_cut_where_a_projection_of_the_globe_ends(tmp_path: Path, crs: str, place: dict[str, Any]) -> None:
    values = noise(40, 40)
    values[10:20] = 1
    run([tmp_path / "out.fgb"], values, to_crs=crs, **place)
    table = read(tmp_path / "out.fgb")
    assert table.geometry.is_valid.all()
    assert (table.geometry.count_geometries() == 2).any()
    assert_coverage(table.geometry.explode().values)
    half = shapely.total_bounds(table.geometry.values)[2]
    assert shapely.total_bounds(table.geometry.values)[0] == pytest.approx(-half, rel=1e-3)


@pytest.mark.parametrize("west", [-180, 0])
@pytest.mark.parametrize("top", [-58, -57.5])  # the latter counts its cells by centres, and reaches over the pole
def test_a_map_in_degrees_closes_around_a_pole(tmp_path: Path, west: float, top: float) -> None:
    rows = 32 if top == -58 else 33
    values = np.kron(np.random.default_rng(0).integers(0, 3, (9, 18)), np.ones((4, 20), dtype=int))[:rows]
    values[10:14] = 1  # a ring
    options = {"transform": Affine(1, 0, west, 0, -1, top), "crs": "EPSG:4326", "keep_background": True}
    run([tmp_path / "out.fgb"], values.astype(np.uint8), to_crs="EPSG:3031", **options)
    table = read(tmp_path / "out.fgb")
    assert table.geometry.is_valid.all()
    assert_coverage(table.geometry.explode().values)
    assert shapely.get_num_interior_rings(shapely.union_all(table.geometry.values)) == 0
    np.testing.assert_allclose(table.to_crs("EPSG:6932").area, table.area_m2, rtol=2e-3)


def test_what_is_torn_apart_without_anyone_knowing_is_refused() -> None:
    there = Reprojection("EPSG:32660", "EPSG:3857", pixel=5000, metres=5000)
    points = np.array([[6.8e5, 6e6], [8e5, 6e6], [8e5, 6.1e6], [6.8e5, 6e6]])
    ends = np.array([0, 1])
    with pytest.raises(OutputError, match="would tear polygons apart"):
        there.apply(FeatureBatch({}, points, np.array([0, 4]), ends, ends, multi=False))


@pytest.mark.parametrize("crs", ["EPSG:3035", "+proj=aeqd +lat_0=52 +lon_0=10"])
def test_what_a_projection_turns_inside_out_is_refused(tmp_path: Path, crs: str) -> None:
    values = np.kron(np.random.default_rng(0).integers(1, 4, (9, 18)), np.ones((2, 2), dtype=int)).astype(np.uint8)
    where = {"transform": Affine(10, 0, -180, 0, -10, 90), "crs": "EPSG:4326"}
    with pytest.raises(OutputError, match=r"inside out|tear polygons apart"):
        run([tmp_path / "world.fgb"], values, to_crs=crs, **where)
    where["transform"] = Affine(1, 0, -20, 0, -1, 72)
    run([tmp_path / "part.fgb"], values, to_crs=crs, **where)
    assert_coverage(read(tmp_path / "part.fgb").geometry.values)


def test_several_maps_make_one_layer_that_tells_them_apart(tmp_path: Path) -> None:
    path, values = tmp_path / "out.gpkg", noise(20, 20)
    with PolygonSink([path], classes=CLASSES, provenance={}) as sink:
        for number in range(2):
            sink.begin(
                scene_info(values.shape, path=f"{number}.tif", transform=NORTH_UP * Affine.translation(0, number * 30))
            )
            sink.write(Rows(0, values))
            one = sink.end()
        assert not path.exists()
        summary = sink.close()
    table = read(path)
    assert summary.polygons == {name: 2 * count for name, count in one.polygons.items()}
    assert table.scene.value_counts().to_dict() == {"0.tif": len(table) // 2, "1.tif": len(table) // 2}
    assert_coverage(table.geometry.values)


def test_maps_in_several_crs_need_one_for_the_layer(tmp_path: Path) -> None:
    path, values = tmp_path / "out.gpkg", noise(20, 20)
    scenes = [scene_info(values.shape), scene_info(values.shape, crs="EPSG:32646")]

    def run_all(options: PolygonSettings) -> None:
        with PolygonSink([path], classes=CLASSES, provenance={}, options=options) as sink:
            for scene in scenes:
                sink.begin(scene)
                sink.write(Rows(0, values))
                sink.end()
            sink.close()

    with pytest.raises(UsageError, match=r"in EPSG:32646, but the layer is in EPSG:32645"):
        run_all(PolygonSettings())
    assert list(tmp_path.iterdir()) == []
    run_all(PolygonSettings(crs="EPSG:4326"))
    table = read(path)
    assert table.crs == "EPSG:4326"
    assert_coverage(table.geometry.values)
    np.testing.assert_allclose(table.to_crs("EPSG:6933").area, table.area_m2, rtol=1e-3)


def test_attributes_are_those_asked_for_in_their_order(tmp_path: Path) -> None:
    run([tmp_path / "out.gpkg"], noise(20, 20), attributes=("pixels", "class_id"))
    assert list(read(tmp_path / "out.gpkg").columns) == ["pixels", "class_id", "geometry"]


def test_a_map_without_crs_cannot_be_reprojected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no CRS to transform from"):
        run([tmp_path / "out.gpkg"], noise(20, 20), crs=None, to_crs="EPSG:4326")


def test_regularized_buildings_are_one_class_and_a_coverage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Only one class can be regularized") as refusal:
        run([tmp_path / "out.gpkg"], noise(80, 80), regularize="2px")
    assert "building" in str(refusal.value.hint)
    run([tmp_path / "out.gpkg"], noise(80, 80), regularize="2px", classes=("building",), min_area="8px")
    table = read(tmp_path / "out.gpkg")
    assert set(table.class_name) == {"building"}
    assert_coverage(table.geometry.values)


def test_a_map_that_breaks_off_spoils_the_layer(tmp_path: Path) -> None:
    values = noise(20, 20)
    with PolygonSink([tmp_path / "out.gpkg"], classes=CLASSES, provenance={}) as sink:
        sink.begin(scene_info(values.shape))
        sink.write(Rows(0, values[:10]))
        with pytest.raises(OutputError, match="The previous map has not ended"):
            sink.begin(scene_info(values.shape))
        with pytest.raises(OutputError, match=r"map\.tif ended after 10 of 20 rows"):
            sink.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", VECTOR_SUFFIXES)
def test_every_format_takes_multipolygons_and_confidence(tmp_path: Path, suffix: str) -> None:
    path, values = tmp_path / f"out{suffix}", noise(20, 20)
    sink = PolygonSink([path], classes=CLASSES, provenance={}, options=PolygonSettings(connectivity=8, crs="EPSG:4326"))
    with sink:
        sink.begin(scene_info(values.shape), confidence=True)
        sink.write(Rows(0, values, np.full(values.shape, 127, dtype=np.uint8)))
        sink.close()
    table = read(path)
    lowest = "conf_min" if suffix == ".shp" else "confidence_min"
    assert set(table[lowest]) == {0.5}
    assert table.geometry.is_valid.all()
    assert (table.geometry.count_geometries() > 1).any()
    assert_coverage(table.geometry.explode().values)


def test_a_style_shows_classes_that_occur_or_have_a_name(tmp_path: Path) -> None:
    path, nameless = tmp_path / "out.gpkg", ClassTable.from_names([*(f"class {i}" for i in range(200)), "water"])

    def style(values: np.ndarray, **options: Any) -> list[str] | None:
        with PolygonSink([path], classes=nameless, provenance={}, options=PolygonSettings(raw=True, **options)) as sink:
            sink.begin(scene_info(values.shape))
            sink.write(Rows(0, values))
            sink.close()
        qml = path.with_suffix(".qml")
        if not qml.exists():
            return None
        root = ElementTree.parse(qml).getroot()
        assert {entry.get("value") for entry in root.iter("category")} <= {str(entry.id) for entry in nameless}
        return [str(entry.get("label")) for entry in root.iter("category")]

    values = np.array([[3, 3, 7], [255, 190, 190]], dtype=np.uint8)
    assert style(values) == ["class 3", "class 7", "class 190", "water"]
    assert style(np.full((2, 2), 255, dtype=np.uint8)) == ["water"]
    assert style(values, attributes=("pixels",)) is None  # nothing to tell classes apart by


def test_a_shapefile_has_a_spatial_index_of_all_its_features(tmp_path: Path) -> None:
    run([tmp_path / "out.shp"], noise(80, 80))
    table = read(tmp_path / "out.shp")
    count = struct.unpack("<i", (tmp_path / "out.qix").read_bytes()[8:12])[0]  # the header: SQT, byte order, version
    assert count == len(table)
    box = tuple(table.geometry.iloc[-1].bounds)
    found = geopandas.read_file(tmp_path / "out.shp", bbox=box)
    assert len(found) == shapely.intersects(table.geometry.values, shapely.box(*box)).sum()


TURNED = Affine(0.3, 0.4, 654_321.7, 0.4, -0.3, 9_876_543.3)
GROUNDS = {
    "UTM": (UTM, Affine(0.1, 0, 654_321.7, 0, -0.1, 5_876_543.3)),
    "UTM, turned": (UTM, TURNED),
    "degrees": ("EPSG:4326", Affine(1e-6, 0, -122.4194, 0, -1e-6, 37.7749)),
}


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize(
    "options", [{"regularize": "px"}, {"simplify": "px", "smooth": True}], ids=["square", "smooth"]
)
@settings(max_examples=3, deadline=None)
@given(values=maps(side=40), length=st.sampled_from([1, 3, 8]))
def test_every_geometry_in_every_file_is_valid(
    ground: str, options: dict[str, Any], values: np.ndarray, length: int
) -> None:
    check_valid(ground, options, values, length)


@pytest.mark.slow
@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize(
    "options", [{"regularize": "px"}, {"simplify": "px", "smooth": True}], ids=["square", "smooth"]
)
@settings(max_examples=100, deadline=None)
@given(values=maps(side=50), length=st.sampled_from([1, 2, 3, 5, 8]))
def test_thousands_of_files_hold_valid_geometries(
    ground: str, options: dict[str, Any], values: np.ndarray, length: int
) -> None:
    check_valid(ground, options, values, length)


def check_valid(ground: str, options: dict[str, Any], values: np.ndarray, length: int) -> None:
    crs, transform = GROUNDS[ground]
    options = {name: f"{length}px" if text == "px" else text for name, text in options.items()}
    classes = ("road",) if "regularize" in options else None
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "out.geojson", Path(folder) / "out.fgb"]
        classmap = np.where(values < 0, 255, np.minimum(values, 2)).astype(np.uint8)
        run(paths, classmap, crs=crs, transform=transform, keep_background=not classes, classes=classes, **options)
        for path in paths:
            assert read(path).geometry.is_valid.all(), path.suffix


@pytest.mark.parametrize("options", [{}, {"connectivity": 8}, {"simplify": "1px"}], ids=["four", "eight", "simplified"])
def test_pieces_of_regions_make_these_again(tmp_path: Path, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random((300, 30)) < 0.6, 1, np.where(rng.random((300, 30)) < 0.9, 2, 255)).astype(np.uint8)
    run([tmp_path / "whole.fgb"], values, **options)
    for height in (400, 7):
        (tmp_path / str(height)).mkdir()
        run([tmp_path / str(height) / "out.fgb"], values, height=height, max_vertices=500, **options)
    assert (tmp_path / "400" / "out.fgb").read_bytes() == (tmp_path / "7" / "out.fgb").read_bytes()
    whole, pieces = read(tmp_path / "whole.fgb"), read(tmp_path / "7" / "out.fgb")
    assert len(whole) < len(pieces)
    assert whole.region_id.nunique() == pieces.region_id.nunique() == len(whole)
    assert (
        shapely.get_num_coordinates(pieces.geometry.values).max() < 500 + 2 * 129 * 31 * 1.25
    )  # rings close with a vertex that is there twice
    assert_coverage(pieces.geometry.explode().values)
    assert sorted(pieces.groupby("region_id").pixels.sum()) == sorted(whole.pixels)
    if "simplify" not in options:
        where, number = (
            burnt(np.asarray(table.geometry.values), table.region_id.to_numpy(), values.shape, NORTH_UP)
            for table in (whole, pieces)
        )
        pairs = np.unique(np.column_stack([where.ravel(), number.ravel()]), axis=0)
        assert len(pairs) == len(whole) + ((values == 255) | (values == 0)).any()  # one to one
