from __future__ import annotations

import pickle
from pathlib import Path

import geopandas
import numpy as np
import pandas
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from rasterio.windows import Window
from scene_files import GRID

from satseg.errors import AreaError
from satseg.geo.grid import ground_sampling_distance
from satseg.raster.area import AreaOfInterest
from satseg.records import BandSpec, SceneInfo
from satseg.sample import sample

HEIGHT, WIDTH = 40, 60
WHOLE = Window(0, 0, WIDTH, HEIGHT)


def scene(transform: Affine = GRID, crs: str | None = "EPSG:32632", width: int = WIDTH) -> SceneInfo:
    gsd = ground_sampling_distance(crs, transform, width, HEIGHT) if crs else None
    return SceneInfo(
        "scene.tif", width, HEIGHT, BandSpec(("gray",), "uint8", (1.0,), (0.0,)), None, False, crs, transform, gsd
    )


def placed(grid: Affine, corners: list[tuple[float, float]]) -> shapely.Polygon:
    return shapely.Polygon([grid * corner for corner in corners])


def box(left: float, top: float, right: float, bottom: float, grid: Affine = GRID) -> shapely.Polygon:
    """A box in pixels, placed on the ground."""
    return placed(grid, [(left, top), (right, top), (right, bottom), (left, bottom)])


def write(path: Path, shapes: list[object], crs: str | None = "EPSG:32632") -> AreaOfInterest:
    geopandas.GeoSeries(shapes, crs=crs).to_file(path)
    return AreaOfInterest.read(path)


TURNED = [GRID, GRID * Affine.rotation(20), Affine(2.0, 0, 500_000, 0, 2.0, 5_000_000)]


@pytest.mark.parametrize("grid", TURNED)
def test_pixels_with_their_centre_in_a_polygon_are_inside(tmp_path: Path, grid: Affine) -> None:
    area = write(tmp_path / "a.gpkg", [box(3, 2, 7.4, 5, grid), box(20.6, 30, 22, 32, grid)]).on(scene(grid))
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[2:5, 3:7] = expected[30:32, 21:22] = True
    assert (area.inside(WHOLE) == expected).all()
    assert (area.inside(Window(2, 1, 4, 3)) == expected[1:4, 2:6]).all()


def test_windows_beside_the_area_are_not_touched(tmp_path: Path) -> None:
    area = write(tmp_path / "a.gpkg", [placed(GRID, [(10, 10), (30, 10), (10, 30)])]).on(scene())
    assert area.touches(Window(5, 5, 10, 10))
    assert not area.touches(Window(0, 0, 9, 9))
    assert not area.touches(Window(25, 25, 10, 10))  # in the bounds of the triangle only
    assert not area.inside(Window(25, 25, 10, 10)).any()


corner = st.tuples(st.integers(-40, 140).map(lambda n: n / 2), st.integers(-40, 120).map(lambda n: n / 2))


@given(st.lists(corner, min_size=3, max_size=6), st.integers(3, 23), st.integers(3, 31))
@settings(max_examples=60, deadline=None)
def test_a_pixel_has_one_answer_in_all_windows(corners: list[tuple[float, float]], height: int, width: int) -> None:
    shape = shapely.make_valid(placed(GRID, corners))  # vertices on pixels' corners and centres, where rounding decides
    polygons = np.array([part for part in shapely.get_parts(shape) if part.area > 0 and part.geom_type == "Polygon"])
    if not len(polygons) or not any(part.intersects(box(0, 0, WIDTH, HEIGHT)) for part in polygons):
        return
    area = AreaOfInterest("a", polygons, "EPSG:32632").on(scene())
    whole = area.inside(WHOLE)
    for top in range(0, HEIGHT, height):
        for left in range(0, WIDTH, width):
            window = Window(left, top, min(width, WIDTH - left), min(height, HEIGHT - top))
            part = area.inside(window)
            assert (part == whole[top : top + height, left : left + width]).all()
            assert area.touches(window) or not part.any()


def test_edges_far_outside_and_odd_origins_round_nothing() -> None:
    rng = np.random.default_rng(3)
    grid = Affine(0.149291, 0, 9_513_201.37, 0, -0.149291, 3_201_877.91)
    info = scene(grid, width=30_000)
    corners = [tuple(p) for p in rng.uniform([-900, -900], [31_000, 900], (40, 2))]
    polygons = shapely.get_parts(shapely.buffer(placed(grid, corners), 0))
    area = AreaOfInterest("a", polygons, "EPSG:32632").on(info)
    whole = area.inside(Window(0, 0, 30_000, HEIGHT))
    assert 0.05 < whole.mean() < 0.95
    for left in range(1, 30_000 - 700, 613):
        for top in (0, 1, 17):
            assert (area.inside(Window(left, top, 613, 20)) == whole[top : top + 20, left : left + 613]).all()


def test_edges_stay_straight_in_the_crs_they_were_drawn_in(tmp_path: Path) -> None:
    # A parallel over 6 degrees of longitude rises by kilometres on a UTM grid.
    info = scene(Affine(10_000, 0, 250_000, 0, -10_000, 6_801_000), width=50)
    area = write(tmp_path / "a.geojson", [shapely.box(6, 60, 12, 61)], crs="EPSG:4326").on(info)
    x, y = info.transform * np.meshgrid(np.arange(50) + 0.5, np.arange(HEIGHT) + 0.5)
    points = geopandas.GeoSeries(shapely.points(x.ravel(), y.ravel()), crs="EPSG:32632").to_crs("EPSG:4326")
    expected = shapely.contains(shapely.box(6, 60, 12, 61), points.to_numpy()).reshape(HEIGHT, 50)
    assert expected.sum() > 300
    assert (area.inside(Window(0, 0, 50, HEIGHT)) == expected).all()


def test_the_whole_world_covers_any_scene(tmp_path: Path) -> None:
    world = write(tmp_path / "a.geojson", [shapely.box(-180, -90, 180, 90)], crs="EPSG:4326")
    beyond = Affine(0.01, 0, 179.8, 0, -0.01, -16)  # a scene in degrees that goes on past 180
    utm = Affine(2000, 0, 700_000, 0, -2000, 8_200_000)  # a scene over the antimeridian
    for info in (scene(), scene(beyond, "EPSG:4326"), scene(utm, "EPSG:32760"), scene(crs="EPSG:3031")):
        assert world.on(info).inside(WHOLE).all(), info.crs


@pytest.mark.parametrize("west", [179.9, -180.1])
def test_areas_over_the_antimeridian_are_found_from_both_sides(tmp_path: Path, west: float) -> None:
    parts = [shapely.box(179.9, -17, 180, -16), shapely.box(-180, -17, -179.9, -16)]
    area = write(tmp_path / "a.geojson", [shapely.MultiPolygon(parts)], crs="EPSG:4326")
    info = scene(Affine(0.005, 0, west - 0.05, 0, -0.005, -16.4), "EPSG:4326")
    inside = area.on(info).inside(WHOLE)
    assert inside[0].tolist() == [10 <= column < 50 for column in range(WIDTH)]


def test_invalid_polygons_are_repaired_and_others_left_out(tmp_path: Path) -> None:
    bow_tie = placed(GRID, [(0, 0), (8, 8), (8, 0), (0, 8)])
    area = write(tmp_path / "a.gpkg", [bow_tie, None]).on(scene())
    assert 20 < area.inside(WHOLE).sum() < 64


def test_an_area_is_known_by_its_digest_and_can_be_sent(tmp_path: Path) -> None:
    area = write(tmp_path / "a.gpkg", [box(3, 2, 7, 5)])
    other = write(tmp_path / "b.gpkg", [box(3, 2, 8, 5)])
    sent = pickle.loads(pickle.dumps(area.on(scene())))
    assert sent.digest == area.on(scene()).digest != other.on(scene()).digest
    assert (sent.inside(WHOLE) == area.on(scene()).inside(WHOLE)).all()


def test_a_layer_can_be_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.gpkg"
    for name, shape in (("one", box(0, 0, 1, 1)), ("two", box(0, 0, 5, 5))):
        geopandas.GeoSeries([shape], crs="EPSG:32632").to_file(path, layer=name)
    assert AreaOfInterest.read(f"{path}|layername=two").on(scene()).inside(WHOLE).sum() == 25
    assert AreaOfInterest.read(path).on(scene()).inside(WHOLE).sum() == 1
    assert "has 2 layers; 'one' is read" in caplog.text
    with pytest.raises(AreaError, match="no layer 'three' with geometries; it has one, two"):
        AreaOfInterest.read(f"{path}|layername=three")


def test_what_cannot_be_used_is_said_in_one_sentence(tmp_path: Path, real_files: Path) -> None:
    (tmp_path / "text.geojson").write_text("hello")
    geopandas.GeoSeries([shapely.Point(0, 0)], crs="EPSG:32632").to_file(tmp_path / "points.gpkg")
    for path, message in [
        (tmp_path / "none.gpkg", "does not exist"),
        (tmp_path / "text.geojson", "cannot be read"),
        (tmp_path / "points.gpkg", "has no polygon"),
        (real_files / "vectors" / "nospatial.gpkg", "no layer with geometries"),
    ]:
        with pytest.raises(AreaError, match=message) as caught:
            AreaOfInterest.read(path)
        assert "\n" not in caught.value.message


@pytest.mark.filterwarnings("ignore:.crs. was not provided")
def test_an_area_without_crs_serves_scenes_without_one(tmp_path: Path) -> None:
    area = write(tmp_path / "bare.shp", [placed(GRID, [(10, 10), (30, 10), (30, 20), (10, 20)])], crs=None)

    assert area.on(scene(crs=None)).inside(WHOLE).sum() == 200
    assert area.on(scene(crs='LOCAL_CS["site",UNIT["metre",1]]')).inside(WHOLE).sum() == 200
    with pytest.raises(AreaError, match="has no CRS"):
        area.on(scene())


def test_polygons_of_infinite_coordinates_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shapes = [placed(GRID, [(10, 10), (30, 10), (30, 20), (10, 20)]), shapely.Polygon([(np.inf, np.inf)] * 4)]
    area = write(tmp_path / "a.gpkg", shapes)

    assert area.on(scene()).inside(WHOLE).sum() == 200
    assert "1 features are left out" in caplog.text
    with pytest.raises(AreaError, match="no polygon whose coordinates are all finite"):
        write(tmp_path / "b.gpkg", shapes[1:])


def test_an_area_elsewhere_and_a_scene_without_crs_are_refused(tmp_path: Path) -> None:
    area = write(tmp_path / "a.gpkg", [box(3, 2, 7, 5)])
    with pytest.raises(AreaError, match=r"has no CRS"):
        area.on(scene(crs=None))
    for elsewhere in (scene(GRID * Affine.translation(500, 0)), scene(crs="EPSG:32650")):
        with pytest.raises(AreaError, match=r"does not overlap scene.tif"):
            area.on(elsewhere)


def test_it_agrees_with_burning_the_polygons_as_they_are() -> None:
    path = sample().labels
    frame = geopandas.read_file(path)
    left, _, _, top = frame.total_bounds
    grid = Affine(0.5, 0, left, 0, -0.5, top)
    info = SceneInfo("s.tif", 500, 400, BandSpec(("g",), "uint8", (1.0,), (0.0,)), None, False, "EPSG:3857", grid, None)
    inside = AreaOfInterest.read(path).on(info).inside(Window(0, 0, 500, 400))
    burnt = rasterize(frame.geometry, out_shape=(400, 500), transform=grid).astype(bool)
    assert inside.any()
    assert (inside != burnt).mean() < 1e-4  # snapping moves vertices by 1/512 px at most


@pytest.mark.parametrize(
    "suffix", [".gpkg", ".shp", ".fgb", ".geojson", ".geojsonl", ".kml", ".parquet", ".geoparquet"]
)
def test_every_vector_format_is_read(tmp_path: Path, suffix: str) -> None:
    frame = geopandas.GeoDataFrame({"id": [1]}, geometry=[box(10, 10, 30, 20)], crs="EPSG:32632")
    path = tmp_path / f"area{suffix}"
    if "parquet" in suffix:
        frame.to_parquet(path)
    elif suffix in (".shp", ".gpkg", ".fgb"):
        frame.to_file(path)
    else:
        frame.to_crs("EPSG:4326").to_file(path, driver={".kml": "KML"}.get(suffix))
    inside = AreaOfInterest.read(path).on(scene()).inside(WHOLE)
    assert (
        inside == AreaOfInterest(str(path), frame.geometry.to_numpy(), "EPSG:32632").on(scene()).inside(WHOLE)
    ).all()


def test_a_parquet_file_without_geometries_is_refused(tmp_path: Path) -> None:
    pandas.DataFrame({"a": [1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(AreaError, match="not a GeoParquet file"):
        AreaOfInterest.read(tmp_path / "a.parquet")
