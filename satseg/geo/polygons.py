"""Polygons in the plane: repair, transform and clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import shapely

Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top in CRS coordinates."""

MANY_VERTICES = 2000
"""Polygons of more vertices are clipped by a faster algorithm."""

AREAL = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


def repair(geometries: np.ndarray) -> np.ndarray:
    """Return valid polygons in two dimensions; None if no area is left, or coordinates are not finite."""
    flat: np.ndarray = shapely.force_2d(geometries)
    flat[~is_finite(flat)] = None
    broken = ~shapely.is_missing(flat) & ~shapely.is_valid(flat)
    flat[broken] = shapely.make_valid(flat[broken], method="structure", keep_collapsed=False)
    mixed = np.flatnonzero(shapely.get_type_id(flat) == shapely.GeometryType.GEOMETRYCOLLECTION)
    for i in mixed:  # rare: a collection keeps its areal parts
        parts = shapely.get_parts(shapely.get_parts(flat[i]))
        flat[i] = shapely.union_all([part for part in parts if part.geom_type == "Polygon"])
    flat[~np.isin(shapely.get_type_id(flat), AREAL) | shapely.is_empty(flat)] = None
    return flat


def is_finite(geometries: np.ndarray) -> np.ndarray:
    """Tell which geometries have finite coordinates only, (N,) bool; true for missing and empty ones."""
    found = np.ones(len(geometries), dtype=bool)
    coordinates, of = shapely.get_coordinates(geometries, return_index=True)
    found[of[~np.isfinite(coordinates).all(axis=1)]] = False
    return found


def reproject(geometries: np.ndarray, transform: Callable[..., Any]) -> np.ndarray:
    """Return geometries transformed by ``transform(x, y)`` and repaired; None if a coordinate has no image."""

    def moved(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = transform(x, y)
        lost = ~(np.isfinite(x) & np.isfinite(y))  # infinite rather than NaN: else rings would not be closed
        return np.where(lost, np.inf, x), np.where(lost, np.inf, y)

    return repair(shapely.transform(geometries, moved, interleaved=False))


def intersection_over_union(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the IoU of each pair of valid polygons."""
    common = shapely.area(shapely.intersection(ones, others))
    return np.asarray(common / (shapely.area(ones) + shapely.area(others) - common))


def meet(sides: Any, bounds: Bounds) -> Any:
    """Tell whether boxes (left, bottom, right, top; numbers or arrays) share a point with bounds."""
    left, bottom, right, top = sides
    return (left <= bounds[2]) & (right >= bounds[0]) & (bottom <= bounds[3]) & (top >= bounds[1])


def padded(bounds: Bounds, share: float) -> Bounds:
    """Return bounds extended on each side by a share of their width and height."""
    left, bottom, right, top = bounds
    x, y = share * (right - left), share * (top - bottom)
    return left - x, bottom - y, right + x, top + y


def clipped(geometries: np.ndarray, boxes: Sequence[Bounds]) -> np.ndarray:
    """Clip valid polygons to the union of boxes; those that lie entirely in one box are unchanged."""
    left, bottom, right, top = shapely.bounds(geometries).T
    inside = np.zeros(len(geometries), dtype=bool)
    for box in boxes:
        inside |= (left >= box[0]) & (bottom >= box[1]) & (right <= box[2]) & (top <= box[3])
    if inside.all():
        return geometries
    made = geometries.copy()
    out = geometries[~inside]
    parts = [_cut(out, box) for box in boxes]
    made[~inside] = repair(parts[0] if len(parts) == 1 else shapely.union_all([repair(part) for part in parts], axis=0))
    return made


def _cut(geometries: np.ndarray, box: Bounds) -> np.ndarray:
    """Clip polygons to a box; those of many vertices by an algorithm that is fifty times as fast but less robust."""
    many = shapely.get_num_coordinates(geometries) > MANY_VERTICES
    cut = np.empty_like(geometries)
    cut[~many] = shapely.intersection(geometries[~many], shapely.box(*box))
    cut[many] = shapely.clip_by_rect(geometries[many], *box)
    return cut
