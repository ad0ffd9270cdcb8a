"""Areas on the ellipsoid, against geodesic areas of densified outlines.

Covers ``wide``.
"""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import CRS, Geod, Transformer

from satseg.vectorization.ground import Ground, measure
from satseg.vectorization.regions import Regions, concatenate, to_shapely
from satseg.vectorization.trace import Tracer

PLACES = {
    "degrees": ("EPSG:4326", Affine(0.001, 0, 85, 0, -0.001, 27)),
    "Web Mercator": ("EPSG:3857", Affine(0.15, 0, 9.5e6, 0, -0.15, 3.2e6)),
    "UTM": ("EPSG:32645", Affine(10, 0, 3e5, 0, -10, 3e6)),
    "UTM, rotated": ("EPSG:32645", Affine(8, 6, 3e5, 6, -8, 3e6)),
    "around the south pole": ("EPSG:3031", Affine(100, 0, -3000, 0, -100, 3000)),
    "across the antimeridian": ("EPSG:32660", Affine(100, 0, 700_000, 0, -100, 6e6)),
    "feet": ("EPSG:2263", Affine(10, 0, 9e5, 0, -10, 2e5)),
    "metres on a datum of grads": ("EPSG:27572", Affine(10, 0, 600_000, 0, -10, 2_428_000)),
    "grads from Paris": ("EPSG:4807", Affine(0.001, 0, 2, 0, -0.001, 54)),
}


@pytest.mark.parametrize("place", PLACES)
def test_areas_and_perimeters_equal_those_of_densified_outlines(place: str) -> None:
    crs, transform = PLACES[place]
    values = np.kron(np.random.default_rng(0).integers(0, 3, (12, 12)), np.ones((5, 5), dtype=int))
    tracer = Tracer(60)
    regions = concatenate([tracer.push(values), tracer.finish()])
    ground = Ground(transform, crs, columns=(0, 60), rows=(0, 60))
    areas, perimeters = np.transpose(_geodesic(to_shapely(regions, transform), crs, transform))
    for found_areas, found_perimeters in (ground.measure(regions), measure(regions, transform, crs)):
        np.testing.assert_allclose(found_areas, np.abs(areas), rtol=1e-6)
        np.testing.assert_allclose(found_perimeters, perimeters, rtol=1e-5)


@pytest.mark.parametrize("size", [0.0001, 0.25, 1.0, 5.0])
@pytest.mark.parametrize("top", [90.0, 61.0, 1.0, -70.0])
def test_pixels_in_degrees_have_the_area_between_their_parallels(size: float, top: float) -> None:
    values = np.array([[0, 1, 1], [2, 0, 1], [0, 2, 0]])
    tracer = Tracer(3)
    regions = concatenate([tracer.push(values), tracer.finish()])
    transform = Affine(size, 0, 100, 0, -size, top)
    areas, _ = measure(regions, transform, "EPSG:4326")
    geod = Geod(ellps="WGS84")
    expected = [_between_parallels(geod, polygon, 200) for polygon in to_shapely(regions, transform)]
    np.testing.assert_allclose(areas, expected, rtol=1e-7, atol=1e-7)


def test_a_globe_of_pixels_has_its_area_whatever_the_pixels() -> None:
    expected = 510_065_621_724_088.4  # square metres of WGS 84
    for size, unit, crs in ((1.0, 360, "EPSG:4326"), (7.5, 360, "EPSG:4326"), (1.0, 400, "EPSG:4901")):
        width, height = round(unit / size), round(unit / 2 / size)
        values = np.indices((height, width)).sum(axis=0) % 2
        tracer = Tracer(width, diagonal=True)
        regions = concatenate([tracer.push(values), tracer.finish()])
        areas, _ = measure(regions, Affine(size, 0, -unit / 2, 0, -size, unit / 4), crs)
        assert areas.sum() == pytest.approx(expected, rel=1e-9 if unit == 360 else 1e-3)  # another ellipsoid
    shifted = np.zeros((181, 360), dtype=int)  # counted by centres, the grid reaches over both poles
    tracer = Tracer(360)
    regions = concatenate([tracer.push(shifted), tracer.finish()])
    areas, _ = measure(regions, Affine(1, 0, 0, 0, -1, 90.5), "EPSG:4326")
    assert areas.sum() == pytest.approx(expected, rel=1e-9)


def _between_parallels(geod: Geod, polygon: shapely.Polygon, parts: int) -> float:
    """Return the area of a polygon whose edges run along parallels and meridians, from geodesics ever shorter."""
    step = max(polygon.bounds[2] - polygon.bounds[0], polygon.bounds[3] - polygon.bounds[1]) / parts
    rough, fine = (abs(geod.geometry_area_perimeter(shapely.segmentize(polygon, part))[0]) for part in (step, step / 2))
    return float(fine + (fine - rough) / 3)  # the error goes with the square of the step


def _geodesic(polygons: np.ndarray, crs: str, transform: Affine, parts: int = 5) -> list[tuple[float, float]]:
    step = abs(transform.determinant) ** 0.5 / parts
    source = CRS(crs)
    to_native = Transformer.from_crs(source, source.geodetic_crs, always_xy=True)
    unit = np.degrees(source.geodetic_crs.axis_info[0].unit_conversion_factor)
    outlines = shapely.transform(
        shapely.segmentize(polygons, step), lambda xy: unit * np.column_stack(to_native.transform(*xy.T))
    )
    return [source.get_geod().geometry_area_perimeter(outline) for outline in outlines]


def test_a_crs_without_relation_to_the_ground_is_refused() -> None:
    local = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    with pytest.raises(ValueError, match="has no geodetic datum"):
        Ground(Affine(1, 0, 0, 0, -1, 0), local, columns=(0, 9), rows=(0, 9))


WIDE_PLACES = {
    "Web Mercator": ("EPSG:3857", Affine(600e3, 0, -18e6, 0, -600e3, 9e6)),
    "around the south pole": ("EPSG:3031", Affine(200e3, 0, -3e6 + 50, 0, -200e3, 3e6 + 30)),
    "with the south pole as a corner": ("EPSG:3031", Affine(200e3, 0, -3e6, 0, -200e3, 3e6)),
    "north, turned": ("EPSG:3995", Affine(160e3, 120e3, -3e6, 120e3, -160e3, 0)),
    "equal area": ("EPSG:6933", Affine(200e3, 0, -5e6, 0, -200e3, 6e6)),
}


@pytest.mark.parametrize("place", WIDE_PLACES)
def test_polygons_as_wide_as_continents_are_measured_as_exactly(place: str) -> None:
    crs, transform = WIDE_PLACES[place]
    values = np.where(np.random.default_rng(1).random((30, 30)) < 0.2, 1, 0)
    tracer = Tracer(30)
    regions = concatenate([tracer.push(values), tracer.finish()])
    areas, _ = measure(regions, transform, crs)
    outlines = to_shapely(regions, transform)
    expected = np.abs(np.transpose(_geodesic(outlines, crs, transform, parts=40))[0])
    np.testing.assert_allclose(areas, expected, rtol=1e-6)


def test_the_globe_in_web_mercator_has_the_area_between_its_parallels() -> None:
    size = 2 * 20037508.342789244 / 36
    tracer = Tracer(36)
    regions = concatenate([tracer.push(np.zeros((36, 36), dtype=int)), tracer.finish()])
    areas, _ = measure(regions, Affine(size, 0, -18 * size, 0, -size, 18 * size), "EPSG:3857")
    top = np.degrees(np.arctan(np.sinh(np.pi)))
    expected = (
        2
        * 36
        * abs(Geod(ellps="WGS84").geometry_area_perimeter(shapely.segmentize(shapely.box(0, 0, 10, top), 0.01))[0])
    )
    assert areas == pytest.approx([expected], rel=1e-6)


def test_a_flat_outline_has_no_area() -> None:
    ends = np.array([0, 1])
    flat = np.array([[3.0, 1.0], [3.0, 5.0], [3.0, 2.0], [3.0, 1.0]])
    numbers = np.zeros(1, dtype=np.int64)
    regions = Regions(flat, np.array([0, 4]), ends, ends, numbers, numbers, np.zeros((1, 3)), numbers)
    areas, perimeters = measure(regions, PLACES["UTM"][1], "EPSG:32645")
    assert areas == pytest.approx([0])
    assert np.isfinite(perimeters).all()
