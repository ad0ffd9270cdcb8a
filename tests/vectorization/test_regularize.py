"""Right-angled outlines: near the buildings, with few vertices, and a coverage like what was traced.

Covers ``drawing``.
"""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from planar_checks import assert_coverage
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter

from satseg.vectorization.regions import Regions, concatenate, to_shapely
from satseg.vectorization.regularize import regularized
from satseg.vectorization.trace import Tracer

PIXELS = Affine.identity()
SHAPES = {
    "rectangle": shapely.box(30, 30, 70, 90),
    "L": shapely.Polygon([(30, 30), (90, 30), (90, 50), (50, 50), (50, 90), (30, 90)]),
    "court": shapely.difference(shapely.box(25, 25, 95, 95), shapely.box(45, 45, 75, 75)),
}


def traced(values: np.ndarray) -> Regions:
    tracer = Tracer(values.shape[1])
    return concatenate([tracer.push(values), tracer.finish()])


def burnt(shapes: list[shapely.Polygon], side: int = 120) -> np.ndarray:
    """Return ids of shapes, -1 where there is none."""
    return rasterize(zip(shapes, range(len(shapes)), strict=True), out_shape=(side, side), fill=-1, dtype="int32")


def shaken(values: np.ndarray, *, by: float, seed: int = 0) -> np.ndarray:
    """Return ids whose borders are displaced by smooth noise, in pixels."""
    rng = np.random.default_rng(seed)
    noise = [gaussian_filter(rng.standard_normal(values.shape), 5) for _ in range(2)]
    places = [np.rint(at + by * field / field.std()) for at, field in zip(np.indices(values.shape), noise, strict=True)]
    rows, columns = (np.clip(at, 0, size - 1).astype(int) for at, size in zip(places, values.shape, strict=True))
    return values[rows, columns]


def polygons_of(values: np.ndarray, shortest: tuple[float, float], *, least: int = 1) -> np.ndarray:
    """Return regularized polygons, checked to be a coverage; regions below ``least`` px are left out."""
    regions = traced(values)
    regions = regions.where(regions.pixels >= least)
    found = regularized([regions], shortest)
    assert found.values.tolist() == regions.values.tolist()
    polygons = to_shapely(found, PIXELS)
    assert_coverage(polygons)
    assert (shapely.area(polygons) > 0).all()
    return polygons


def iou(one: shapely.Polygon, other: shapely.Polygon) -> float:
    return shapely.intersection(one, other).area / shapely.union(one, other).area


def corners(polygon: shapely.Polygon) -> list[float]:
    """Return the angles between the edges of all rings in degrees, 0 where one goes straight on."""
    found = []
    for ring in (polygon.exterior, *polygon.interiors):
        steps = np.diff(shapely.get_coordinates(ring), axis=0)
        before = np.roll(steps, 1, axis=0)
        cross = before[:, 0] * steps[:, 1] - before[:, 1] * steps[:, 0]
        found += np.degrees(np.arctan2(np.abs(cross), (before * steps).sum(axis=1))).tolist()
    return found


def assert_right_angled(polygon: shapely.Polygon, *, vertices: int | None = None) -> None:
    angles = np.array(corners(polygon))
    np.testing.assert_allclose(angles[angles > 1], 90, atol=1e-3)
    np.testing.assert_allclose(angles[angles <= 1], 0, atol=1e-3)
    assert vertices is None or len(angles) == vertices


def mosaic(rng: np.random.Generator, count: int, *, side: int = 60) -> np.ndarray:
    """Return ids of the nearest of some points, with gaps."""
    points = rng.random((count, 2)) * side
    rows, columns = np.indices((side, side))
    ids = ((rows[..., None] - points[:, 0]) ** 2 + (columns[..., None] - points[:, 1]) ** 2).argmin(axis=-1)
    return np.where(np.isin(ids, np.flatnonzero(rng.random(count) < 0.2)), -1, ids)


def rectangles(rng: np.random.Generator, count: int, *, side: int = 60) -> np.ndarray:
    """Return ids of rectangles on top of each other."""
    ids = np.full((side, side), -1)
    for i in range(count):
        top, left = rng.integers(0, side - 4, 2)
        height, width = rng.integers(1, side // 3, 2)
        ids[top : top + height, left : left + width] = i
    return ids


@pytest.mark.parametrize("angle", [0, 17, 30, 45, 80])
@pytest.mark.parametrize("name", SHAPES)
def test_turned_buildings_get_their_corners_back(name: str, angle: float) -> None:
    building = shapely.affinity.rotate(SHAPES[name], angle, origin=(60, 60))
    (found,) = polygons_of(burnt([building]), (8, 8))
    assert iou(found, building) > 0.95
    assert_right_angled(found, vertices=shapely.get_num_coordinates(building) - 1 - len(building.interiors))


def test_what_has_no_right_angles_keeps_its_outline() -> None:
    disc = shapely.Point(60, 60).buffer(40)
    (found,) = polygons_of(burnt([disc]), (10, 10))
    assert iou(found, disc) > 0.75


def test_outlines_without_right_angles_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    shapes = [shapely.Polygon([(5, 5), (55, 5), (5, 55)]), shapely.box(70, 70, 110, 110)]
    with caplog.at_level("INFO", "satseg"):
        polygons_of(burnt(shapes[1:]), (10, 10))
        assert not caplog.messages
        polygons_of(burnt(shapes), (30, 30))
    (message,) = caplog.messages
    assert message.startswith("1 of 2 outlines are simplified")


@pytest.mark.parametrize("angle", [0, 30])
@pytest.mark.parametrize("by", [0, 1.5])
def test_row_houses_share_their_walls_and_are_right_angled(angle: float, by: float) -> None:
    boxes = [shapely.box(20 + 40 * i, 60, 60 + 40 * i, 120) for i in range(4)]
    houses = [shapely.affinity.rotate(house, angle, origin=(100, 100)) for house in boxes]
    found = polygons_of(shaken(burnt(houses, 200), by=by), (8, 8), least=20)
    assert len(found) == 4
    for polygon, house in zip(sorted(found, key=lambda found: found.centroid.x), houses, strict=True):
        assert_right_angled(polygon, vertices=4)
        assert iou(polygon, house) > (0.97 if by == 0 else 0.9)
    union = shapely.coverage_union_all(found)
    assert shapely.get_type_id(union) == shapely.GeometryType.POLYGON or len(shapely.get_parts(union)) == 1


def test_a_set_back_house_keeps_its_front() -> None:
    houses = [shapely.box(20, 40, 60, 100), shapely.box(60, 55, 100, 100)]
    one, other = polygons_of(shaken(burnt(houses), by=1), (8, 8))
    assert_right_angled(one)
    assert_right_angled(other)
    assert min(iou(one, houses[0]), iou(other, houses[1])) > 0.9


def test_junctions_have_one_place() -> None:
    crossing = np.zeros((80, 80), dtype=int)
    crossing[:40, 40:], crossing[40:, :40], crossing[40:, 40:] = 1, 2, 3
    crossing[:, :10] = -1
    for polygon in polygons_of(crossing, (6, 6)):
        assert_right_angled(polygon, vertices=4)
    tee = np.where(np.indices((80, 80))[0] < 40, 0, np.where(np.indices((80, 80))[1] < 30, 1, 2))
    assert sorted(len(corners(polygon)) for polygon in polygons_of(tee, (6, 6))) == [4, 4, 5]


def test_a_small_offset_of_two_walls_that_meet_a_third_becomes_a_crossing() -> None:
    values = np.zeros((80, 80), dtype=int)
    values[:40, 40:], values[40:, :42], values[40:, 42:] = 1, 2, 3
    for polygon in polygons_of(values, (8, 8)):
        assert_right_angled(polygon, vertices=4)


def test_an_object_in_the_hole_of_another_one_fills_it() -> None:
    values = np.full((100, 100), -1)
    values[10:90, 10:90], values[30:70, 30:60] = 0, 1
    outer, inner = sorted(polygons_of(shaken(values, by=1), (8, 8)), key=shapely.area, reverse=True)
    assert len(outer.interiors) == 1
    assert shapely.Polygon(outer.interiors[0]).equals(inner)
    assert_right_angled(outer, vertices=8)


def test_an_object_that_stands_alone_in_a_hole_stays_inside() -> None:
    values = np.full((100, 100), -1)
    values[10:90, 10:90], values[30:70, 30:70], values[34:66, 34:66] = 0, -1, 1
    outer, inner = sorted(polygons_of(values, (8, 8)), key=shapely.area, reverse=True)
    assert shapely.equals_exact(inner, shapely.box(34, 34, 66, 66).normalize(), 1e-3, normalize=True)
    assert shapely.touches(outer, inner) or shapely.disjoint(outer, inner)


def test_a_small_hole_is_filled() -> None:
    values = np.full((60, 60), -1)
    values[10:50, 10:50], values[30, 30] = 0, -1
    (found,) = polygons_of(values, (8, 8))
    assert len(found.interiors) == 0


def test_regions_that_touch_at_a_corner_do_not_overlap() -> None:
    values = np.full((60, 60), -1)
    values[10:30, 10:30], values[30:50, 30:50] = 0, 0
    for found in polygons_of(values, (5, 5)):
        assert_right_angled(found, vertices=4)


def test_objects_of_one_pixel_are_kept() -> None:
    values = np.full((30, 30), -1)
    values[5:25, 5:25], values[10, 25], values[10, 26], values[2, 2] = 0, 1, 2, 3
    found = polygons_of(values, (6, 6))
    assert len(found) == 4


def test_an_object_keeps_the_corners_that_it_shared_with_holes_which_are_filled() -> None:
    drawn = (".###....", ".#.###..", "#.#.#..#", ".#.####.", ".###...#")
    polygons_of(np.array([[0 if pixel == "#" else -1 for pixel in row] for row in drawn]), (2, 2))


def test_neighbours_do_not_overlap_where_only_a_strip_parts_them() -> None:
    boxes = [
        shapely.box(20, 20, 60, 100),
        shapely.affinity.rotate(shapely.box(61.5, 20, 100, 100), 2, origin=(61.5, 60)),
    ]
    found = polygons_of(shaken(burnt(boxes), by=1.5, seed=3), (8, 8))
    assert shapely.area(shapely.intersection(*found[np.argsort(-shapely.area(found))[:2]])) < 1e-9


@pytest.mark.parametrize("shortest", [1.0, 3.0, 8.0, 25.0])
@pytest.mark.parametrize("seed", range(3))
def test_maps_of_any_kind_stay_a_coverage(seed: int, shortest: float) -> None:
    rng = np.random.default_rng(seed)
    polygons_of(rectangles(rng, 20), (shortest, shortest))
    polygons_of(mosaic(rng, 20), (shortest, 1.3 * shortest))
    polygons_of(shaken(rectangles(rng, 12), by=1.5, seed=seed), (shortest, shortest))
    polygons_of(rng.integers(-1, 3, (20, 20)), (shortest, shortest))
    polygons_of((gaussian_filter(rng.standard_normal((40, 40)), 1) > 0).astype(int) - 1, (shortest, shortest))


def test_what_is_far_away_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    one, other = (shaken(rectangles(rng, 15), by=1.5, seed=seed) for seed in (4, 5))
    apart = np.full((60, 20), -1)
    alone = polygons_of(one, (5, 5))
    both = polygons_of(np.hstack([one, apart, np.where(other < 0, other, other + 15)]), (5, 5))
    both = both[shapely.bounds(both)[:, 2] < 70]
    assert len(both) == len(alone)
    for found, wanted in zip(sorted(both, key=_key), sorted(alone, key=_key), strict=True):
        assert shapely.symmetric_difference(found, wanted).area < 1e-6


def _key(polygon: shapely.Polygon) -> tuple[float, ...]:
    return tuple(np.round(polygon.bounds, 3))


def test_narrow_gaps_do_not_divide_a_wall() -> None:
    houses = np.full((80, 100), -1)
    houses[10:70, 10:50], houses[10:70, 50:90] = 0, 1
    houses[15:69:6, 50] = -1
    one, other = polygons_of(houses, (8, 8))
    for polygon in (one, other):
        assert_right_angled(polygon, vertices=4)
    assert shapely.intersection(one, other).length == pytest.approx(60, abs=1)


def test_equal_maps_give_equal_bytes() -> None:
    values = shaken(mosaic(np.random.default_rng(5), 25), by=1)
    one, other = (regularized([traced(values)], (5.0, 5.0)) for _ in range(2))
    assert one.corners.tobytes() == other.corners.tobytes()
    assert one.rings.tobytes() == other.rings.tobytes()


def test_there_may_be_nothing() -> None:
    assert len(regularized([], (5.0, 5.0))) == 0


def test_features_keep_what_is_known_of_them() -> None:
    values = np.full((60, 80), -1)
    values[10:30, 10:40], values[35:55, 45:75] = 0, 0
    regions = traced(values)
    found = regularized([regions], (4.0, 4.0))
    assert found.pixels.tolist() == regions.pixels.tolist() == [600, 600]
    for one, other in zip(to_shapely(found, PIXELS), to_shapely(regions, PIXELS), strict=True):
        assert shapely.symmetric_difference(one, other).area < 1e-6
