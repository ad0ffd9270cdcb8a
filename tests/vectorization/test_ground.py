"""Areas on the ellipsoid, against geodesic areas of densified outlines."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import CRS, Transformer

from satseg.vectorization.ground import Ground
from satseg.vectorization.regions import concatenate, to_shapely
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
    found_areas, found_perimeters = ground.measure(regions)
    np.testing.assert_allclose(found_areas, np.abs(areas), rtol=1e-6)
    np.testing.assert_allclose(found_perimeters, perimeters, rtol=1e-5)


def _geodesic(polygons: np.ndarray, crs: str, transform: Affine) -> list[tuple[float, float]]:
    step = abs(transform.determinant) ** 0.5 / 5
    source = CRS(crs)
    to_native = Transformer.from_crs(source, source.geodetic_crs, always_xy=True)
    unit = np.degrees(source.geodetic_crs.axis_info[0].unit_conversion_factor)
    outlines = shapely.transform(
        shapely.segmentize(polygons, step), lambda xy: unit * np.column_stack(to_native.transform(*xy.T))
    )
    return [source.get_geod().geometry_area_perimeter(outline) for outline in outlines]


def test_a_crs_without_relation_to_the_ground_is_refused() -> None:
    local = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    with pytest.raises(ValueError, match="does not relate to the ground"):
        Ground(Affine(1, 0, 0, 0, -1, 0), local, columns=(0, 9), rows=(0, 9))
