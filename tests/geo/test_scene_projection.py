"""Polygons of one CRS on scenes in another: found where they are, bent as they should be, by a fast way.

Covers ``polygons``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from rasterio.windows import Window

from satseg.errors import LabelError
from satseg.geo.feature_store import FeatureStore
from satseg.geo.polygons import repair
from satseg.geo.scene_projection import SceneProjection
from satseg.labels.vector_labels import VectorLabels
from satseg.raster.area import AreaOfInterest
from satseg.records import BandSpec, SceneInfo
from satseg.tiling.split_regions import SplitRegions

_LOCAL = 'LOCAL_CS["Local Coordinates (m)",UNIT["metre",1]]'
_NATIONAL = (
    # Europe: Lambert conics, Gauss-Krueger, Krovak, Swiss and Dutch obliques, British and Irish grids, LAEA
    *(2154, 3942, 27572, 31370, 3812, 31287, 31256, 31468, 5514, 2056, 21781, 28992, 27700, 29902, 2157, 3035),
    *(3067, 3006, 2180, 3763, 25830, 3844, 23700, 2100, 5181, 3301, 3346, 3057),
    # North America: State Plane in feet and metres, Albers, the Canadian Lambert, Quebec
    *(2263, 2227, 2229, 2277, 2236, 6527, 2926, 5070, 3338, 3978, 32198),
    # elsewhere
    *(2193, 3112, 28355, 2326, 3826, 6677, 2048, 5880, 22185, 20790, 3395, 6933),
)


def _scene(transform: Affine, crs: str | None, width: int = 64, height: int = 48) -> SceneInfo:
    bands = BandSpec(("grey",), "uint8", (1.0,), (0.0,))
    return SceneInfo("scene.tif", width, height, bands, None, False, crs, transform, None)


def _labels(path: Path, shapes: list[Any], crs: str | int | None) -> VectorLabels:
    geopandas.GeoDataFrame(geometry=shapes, crs=crs).to_file(path)
    return VectorLabels(str(path))


def _burn(labels: VectorLabels, scene: SceneInfo, window: Window | None = None) -> np.ndarray:
    window = window or Window(0, 0, scene.width, scene.height)
    return labels.on(scene).objects(window, np.array([1], dtype=np.uint8))[0] > 0


def _centres_inside(shape: Any, crs: str | int, scene: SceneInfo, window: Window) -> np.ndarray:
    """Return which centres of pixels lie in a polygon, each moved to its CRS by itself."""
    columns, rows = np.meshgrid(
        np.arange(window.col_off, window.col_off + window.width) + 0.5,
        np.arange(window.row_off, window.row_off + window.height) + 0.5,
    )
    x, y = Transformer.from_crs(scene.crs, crs, always_xy=True).transform(*(scene.transform * (columns, rows)))
    return np.asarray(shapely.intersects_xy(shape, x, y))


def _middle_of_use(code: int) -> tuple[float, float]:
    area = CRS.from_epsg(code).area_of_use
    assert area is not None
    lon = (area.west + area.east) / 2 if area.west <= area.east else (area.west + area.east + 360) / 2
    return lon, (area.south + area.north) / 2


@pytest.mark.parametrize("code", _NATIONAL)
def test_polygons_in_degrees_are_found_in_national_grids_by_the_fast_way(code: int) -> None:
    lon, lat = _middle_of_use(code)
    x, y = Transformer.from_crs(4326, code, always_xy=True).transform(lon, lat)
    unit = 0.5 / CRS.from_epsg(code).axis_info[0].unit_conversion_factor
    scene = _scene(Affine(unit, 0, x - 32 * unit, 0, -unit, y + 24 * unit), f"EPSG:{code}")
    outline = shapely.Polygon([scene.transform * corner for corner in ((0, 0), (64, 0), (64, 48), (0, 48))])
    projection = SceneProjection("EPSG:4326", scene, name="labels", error=LabelError)
    boxes = projection.boxes(outline)

    assert boxes is not None  # else every polygon of the file is moved for every window
    assert min(box[2] - box[0] for box in boxes) < 0.01
    back = Transformer.from_crs(code, 4326, always_xy=True)
    ring = [back.transform(*(scene.transform * corner)) for corner in ((8, 8), (40, 8), (40, 32), (8, 32))]
    moved = projection.apply(np.array([shapely.Polygon(ring)]), outline)
    pixels = shapely.transform(moved, lambda xs, ys: ~scene.transform * (xs, ys), interleaved=False)[0]
    assert shapely.area(shapely.symmetric_difference(pixels, shapely.box(8, 8, 40, 32))) < 1


def test_only_polygons_near_a_window_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform((2.2, 48.7), (2.5, 49.0), (5000, 2))
    labels = _labels(tmp_path / "a.gpkg", [shapely.box(x, y, x + 1e-4, y + 1e-4) for x, y in places], "EPSG:4326")
    scene = _scene(Affine(0.5, 0, 652000, 0, -0.5, 6862000), "EPSG:2154", 1000, 1000)
    looked_at, near = [], FeatureStore.near

    def counted(self: FeatureStore, boxes: Any = None) -> Any:
        for features in near(self, boxes):
            looked_at.append(len(features))
            yield features

    monkeypatch.setattr(FeatureStore, "near", counted)
    burnt = _burn(labels, scene)

    assert burnt.any()
    assert sum(looked_at) < 20  # of 5000


@pytest.mark.parametrize("degrees", [0.2, 2.0])
@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:3035", "EPSG:3413"])
def test_long_edges_bend_with_their_crs(tmp_path: Path, degrees: float, crs: str) -> None:
    lon, lat = 14.2, 60.0
    shape = shapely.box(lon, lat - degrees, lon + degrees, lat)
    labels = _labels(tmp_path / "a.gpkg", [shape], "EPSG:4326")
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon + degrees / 2, lat)
    scene = _scene(Affine(1, 0, x - 256, 0, -1, y + 256), crs, 512, 512)
    found = _burn(labels, scene)

    assert (found != _centres_inside(shape, 4326, scene, Window(0, 0, 512, 512))).sum() <= 2
    assert 0 < found.mean() < 1


@pytest.mark.parametrize("scene_crs", ["EPSG:27572", "EPSG:2154", "EPSG:4326", "EPSG:4807"])
def test_labels_in_grads_from_paris_lie_where_they_should(tmp_path: Path, scene_crs: str) -> None:
    shape = shapely.box(0.1, 54.1, 0.2, 54.2)
    labels = _labels(tmp_path / "a.gpkg", [shape], "EPSG:4807")
    x, y = Transformer.from_crs(4807, scene_crs, always_xy=True).transform(0.1, 54.1)
    unit = 1e-4 if scene_crs in ("EPSG:4326", "EPSG:4807") else 10
    scene = _scene(Affine(unit, 0, x - 32 * unit, 0, -unit, y + 24 * unit), scene_crs)
    expected = _centres_inside(shape, 4807, scene, Window(0, 0, 64, 48))

    assert 0 < expected.mean() < 1
    assert np.array_equal(_burn(labels, scene), expected)


def test_a_long_edge_is_the_same_in_all_windows(tmp_path: Path) -> None:
    shape = shapely.Polygon([(14, 59), (16.1, 59.03), (16, 60.001), (14, 59.999)])
    labels = _labels(tmp_path / "a.gpkg", [shape], "EPSG:4326")
    x, y = Transformer.from_crs(4326, 32633, always_xy=True).transform(15, 60)
    scene = _scene(Affine(1, 0, x - 128, 0, -1, y + 128), "EPSG:32633", 256, 256)
    whole = _burn(labels, scene)

    for top in range(0, 256, 64):
        for left in range(0, 256, 64):
            part = _burn(labels, scene, Window(left, top, 64, 64))
            assert np.array_equal(part, whole[top : top + 64, left : left + 64])


@given(st.floats(-170, 170), st.floats(-70, 70), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_any_polygon_lies_where_its_points_lie(lon: float, lat: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    crs = f"EPSG:{(32601 if lat >= 0 else 32701) + int((lon + 180) // 6)}"
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    scene = _scene(Affine(30, 0, x, 0, -30, y), crs)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 5))
    ring = np.stack([lon + rng.uniform(0.01, 1) * np.cos(angles), lat + rng.uniform(0.01, 1) * np.sin(angles)], axis=1)
    shape = repair(np.array([shapely.Polygon(ring)]))[0]
    if shape is None:
        return
    projection = SceneProjection("EPSG:4326", scene, name="labels", error=LabelError)
    outline = shapely.Polygon([scene.transform * corner for corner in ((0, 0), (64, 0), (64, 48), (0, 48))])
    (moved,) = projection.apply(np.array([shape]), outline)
    columns, rows = np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5)
    expected = _centres_inside(shape, 4326, scene, Window(0, 0, 64, 48))
    found = (
        np.zeros_like(expected) if moved is None else shapely.contains_xy(moved, *(scene.transform * (columns, rows)))
    )

    assert (found != expected).sum() <= 2


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32614"])
@pytest.mark.parametrize(("scene_west", "labels_west"), [(258, -102), (-102, 258), (258, 258), (-102, -102)])
def test_longitudes_may_count_from_either_side(tmp_path: Path, crs: str, scene_west: float, labels_west: float) -> None:
    shape = shapely.box(labels_west + 0.01, 39.97, labels_west + 0.03, 39.99)
    if crs != "EPSG:4326":
        shape = geopandas.GeoSeries([shapely.segmentize(shape, 1e-3)], crs=4326).to_crs(crs)[0]
    labels = _labels(tmp_path / "a.gpkg", [shape], crs)
    scene = _scene(Affine(0.001, 0, scene_west, 0, -0.001, 40), "EPSG:4326")

    assert _burn(labels, scene)[10:30, 10:30].all()
    assert _burn(labels, scene).sum() == 400


def test_a_polygon_over_the_edge_of_a_global_scene_is_at_both_ends(tmp_path: Path) -> None:
    labels = _labels(tmp_path / "a.gpkg", [shapely.box(-10, 0, 10, 20)], "EPSG:4326")
    scene = _scene(Affine(1, 0, 0, 0, -1, 90), "EPSG:4326", 360, 180)
    expected = np.zeros((180, 360), dtype=bool)
    expected[70:90, :10] = expected[70:90, 350:] = True

    assert np.array_equal(_burn(labels, scene), expected)
    assert len(labels.on(scene).features(Window(0, 0, 360, 180), np.array([1], dtype=np.uint8))[1].numbers) == 1


@pytest.mark.parametrize("west", [-180, 0])
def test_a_projected_polygon_over_the_antimeridian_is_not_torn(tmp_path: Path, west: float) -> None:
    ring = Transformer.from_crs(4326, 3832, always_xy=True).transform([175, 185, 185, 175], [-10, -10, 10, 10])
    labels = _labels(tmp_path / "a.gpkg", [shapely.Polygon(np.transpose(ring))], "EPSG:3832")
    scene = _scene(Affine(1, 0, west, 0, -1, 90), "EPSG:4326", 360, 180)
    expected = np.zeros((180, 360), dtype=bool)
    expected[80:100, np.arange(175 - west, 185 - west).astype(int) % 360] = True

    assert np.array_equal(_burn(labels, scene), expected)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_coordinates_that_are_not_finite_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    far = [shapely.Polygon([(np.inf, np.inf)] * 4), shapely.Polygon([(0, 0), (9, 0), (9, np.nan), (0, 0)])]
    labels = _labels(tmp_path / "a.gpkg", [shapely.box(2, 2, 7, 7), *far], "EPSG:32633")
    scene = _scene(Affine(1, 0, 0, 0, -1, 10), "EPSG:32633", 10, 10)

    assert _burn(labels, scene).sum() == 25
    assert labels.dropped == 2
    assert "2 features are left out" in caplog.text
    with pytest.raises(LabelError, match="coordinates are all finite"):
        _labels(tmp_path / "b.gpkg", far, "EPSG:32633")


@pytest.mark.parametrize(
    ("crs", "shape", "phrase"),
    [
        ("EPSG:4326", shapely.box(500000, 5000000, 500100, 5000100), "metres labelled as degrees"),
        ("EPSG:2154", shapely.box(5e6, 5e5, 5.1e6, 6e5), "degrees outside the area of use of EPSG:2154"),
    ],
)
def test_labels_in_places_that_cannot_be_are_doubted(
    tmp_path: Path, crs: str, shape: Any, phrase: str, caplog: pytest.LogCaptureFixture
) -> None:
    _labels(tmp_path / "a.gpkg", [shape], crs)
    AreaOfInterest.read(tmp_path / "a.gpkg")

    assert [phrase in message for message in caplog.messages] == [True, True]


@pytest.mark.parametrize("west", [14.0, 374.0])
def test_regions_of_splits_bend_and_turn_as_labels_do(tmp_path: Path, west: float) -> None:
    shape = shapely.box(west, 58, west + 2, 60)
    geopandas.GeoDataFrame({"split": ["val"]}, geometry=[shape], crs=4326).to_file(tmp_path / "a.gpkg")
    x, y = Transformer.from_crs(4326, 32633, always_xy=True).transform(14.5, 60)
    scene = _scene(Affine(1, 0, x - 64, 0, -1, y + 64), "EPSG:32633", 128, 128)
    window = Window(0, 0, 128, 128)
    (region,) = SplitRegions.read(f"{tmp_path / 'a.gpkg'}:split").on(scene)
    expected = _centres_inside(shapely.box(14, 58, 16, 60), 4326, scene, window)

    assert 0 < expected.mean() < 1
    assert (region.covers(scene, window) != expected).sum() <= 1


@pytest.mark.parametrize(("labels_crs", "scene_crs"), [(_LOCAL, "EPSG:32633"), ("EPSG:32633", _LOCAL)])
def test_local_coordinates_have_no_place_on_the_ground(labels_crs: str, scene_crs: str) -> None:
    with pytest.raises(
        LabelError, match=r"has a local CRS \(Local Coordinates \(m\)\), which cannot be transformed"
    ) as caught:
        SceneProjection(labels_crs, _scene(Affine.scale(1, -1), scene_crs), name="labels.gpkg", error=LabelError)
    assert caught.value.hint


@pytest.mark.parametrize(("labels_crs", "scene_crs"), [(_LOCAL, _LOCAL), (None, _LOCAL), (_LOCAL, None), (None, None)])
def test_local_coordinates_are_taken_as_they_are_among_themselves(
    labels_crs: str | None, scene_crs: str | None
) -> None:
    projection = SceneProjection(labels_crs, _scene(Affine(1, 0, 0, 0, -1, 10), scene_crs), name="a", error=LabelError)
    shape = np.array([shapely.box(2, 2, 7, 7)])

    assert projection.apply(shape, shapely.box(0, 0, 10, 10))[0] == shape[0]
    assert projection.boxes(shapely.box(0, 0, 10, 10)) == [(0, 0, 10, 10)]


def test_a_pole_inside_of_a_scene_takes_in_all_longitudes(tmp_path: Path) -> None:
    cap = [shapely.box(-180, 89.5, 180, 90)]
    labels = _labels(tmp_path / "a.gpkg", cap, "EPSG:4326")
    scene = _scene(Affine(2000, 0, -128_000, 0, -2000, 128_000), "EPSG:3413", 128, 128)
    found, window = _burn(labels, scene), Window(0, 0, 128, 128)

    assert (found != _centres_inside(cap[0], 4326, scene, window)).sum() <= 4
