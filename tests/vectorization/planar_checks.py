"""What the polygons of a class map must be, checked by means that share no code with the tracer."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine
from hypothesis import strategies as st
from rasterio.features import rasterize, shapes

NORTH_UP = Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)


@st.composite
def maps(draw: st.DrawFn, *, side: int = 40) -> np.ndarray:
    """Class maps of 1..5 classes, -1 for nodata; noise, or blocks with noise on top."""
    shape = draw(st.tuples(st.integers(1, side), st.integers(1, side)))
    classes = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.integers(draw(st.sampled_from([0, -1])), classes, shape)
    if draw(st.booleans()):
        size = draw(st.integers(2, 8))
        blocks = rng.integers(0, classes, (shape[0] // size + 1, shape[1] // size + 1))
        large = np.kron(blocks, np.ones((size, size), dtype=int))[: shape[0], : shape[1]]
        values = np.where(rng.random(shape) < draw(st.sampled_from([0.02, 0.2])), values, large)
    return values


def without_collinear(polygon: shapely.Polygon) -> shapely.Polygon:
    """Drop vertices on straight lines; exact for axes-parallel edges."""
    return shapely.Polygon(_turns(polygon.exterior), [_turns(ring) for ring in polygon.interiors]).normalize()


def _turns(ring: shapely.LinearRing) -> np.ndarray:
    points = np.array(ring.coords)[:-1]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def as_set(polygons: np.ndarray, values: np.ndarray) -> list[tuple[int, bytes]]:
    """Return normalised geometries with their values, in an order of their own."""
    pairs = zip(values, polygons, strict=True)
    return sorted((int(value), without_collinear(polygon).wkb) for value, polygon in pairs)


def traced_by_gdal(values: np.ndarray, transform: Affine) -> tuple[list[shapely.Polygon], list[int]]:
    """Polygonise non-negative values with rasterio."""
    found = list(shapes(values.astype(np.int32), mask=values >= 0, transform=transform))
    return [shapely.geometry.shape(shape) for shape, _ in found], [int(value) for _, value in found]


def assert_coverage(polygons: np.ndarray) -> None:
    """Every polygon valid, no overlap, no gap inside, and neighbours meet vertex by vertex."""
    reasons = shapely.is_valid_reason(polygons)
    assert shapely.is_valid(polygons).all(), reasons[~shapely.is_valid(polygons)][0]
    assert shapely.coverage_is_valid(polygons)


def burnt(polygons: np.ndarray, values: np.ndarray, shape: tuple[int, int], transform: Affine) -> np.ndarray:
    """Rasterise polygons again; -1 where there is none."""
    if not len(polygons):
        return np.full(shape, -1, dtype=np.int32)
    pairs = zip(polygons, values.tolist(), strict=True)
    return rasterize(pairs, out_shape=shape, transform=transform, fill=-1, dtype="int32")
