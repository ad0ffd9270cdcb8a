"""Regularize outlines of buildings: make them right-angled.

Each ring is rotated to the main directions of the building (the mean of its edges' directions modulo a right angle,
weighted by length) and simplified, and its edges are classified as along or across. Consecutive edges of one kind
become one straight side, at the mean position of the outline that it replaces; sides below the minimum length are
removed, the shortest first. If the result is not a valid outline close to the building, the minimum rotated rectangle
is tried, then the simplified outline is used.

Regularized buildings no longer match their neighbours vertex by vertex; overlaps are cut from the smaller one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine

from satseg.vectorization.regions import Regions, concatenate, to_shapely

if TYPE_CHECKING:
    from shapely import Polygon

_THINNED = 0.5  # tolerance of simplification before edges are classified, as a share of the shortest side
_STRAIGHT = 0.15  # the same, before the main directions are computed
_LEAST_IOU = 0.75
_RECTANGLE_IOU = 0.9
_NOTHING = 1e-9  # in squares of the shortest side; smaller areas are rounding errors


def regularized(parts: Sequence[Regions], shortest: tuple[float, float]) -> Regions:
    """Return all features of a map with right-angled outlines, without overlaps.

    Args:
        parts: Features of one polygon each.
        shortest: Minimum length of a side, in columns and rows.

    Returns:
        The features with float64 corners; features inside larger ones are removed.
    """
    import shapely

    regions = concatenate([Regions.none(), *parts])
    if not len(regions):
        return regions
    to_units = Affine.scale(1 / shortest[0], 1 / shortest[1])
    polygons = without_overlaps(regularize(to_shapely(regions, to_units), shortest=1.0))
    kept = regions.where(~shapely.is_empty(polygons))
    oriented = shapely.orient_polygons(polygons[~shapely.is_empty(polygons)])  # clockwise as displayed: rows go down
    _, points, (rings, ends) = shapely.to_ragged_array(oriented)
    numbers = np.arange(len(kept) + 1)
    return replace(kept, corners=points * shortest, rings=rings, polygons=ends, features=numbers)


def without_overlaps(polygons: np.ndarray) -> np.ndarray:
    """Cut overlaps from the smaller polygon of each pair, and keep the largest part of the result.

    Args:
        polygons: (P,) valid shapely polygons.

    Returns:
        (P,) shapely polygons, empty if nothing is left.
    """
    import shapely

    found = polygons.copy()
    rank = np.argsort(np.argsort(-shapely.area(polygons), kind="stable"))
    ones, others = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    pairs = np.column_stack([ones, others])[rank[ones] < rank[others]]
    for larger, smaller in pairs[np.lexsort((rank[pairs[:, 0]], rank[pairs[:, 1]]))]:
        if shapely.relate_pattern(found[larger], found[smaller], "T********"):
            parts = shapely.get_parts(shapely.difference(found[smaller], found[larger]))
            parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
            largest = parts[np.argmax(shapely.area(parts))] if len(parts) else shapely.Polygon()
            found[smaller] = largest if largest.area > _NOTHING else shapely.Polygon()
    return found


def regularize(polygons: np.ndarray, *, shortest: float) -> np.ndarray:
    """Make outlines right-angled, each on its own.

    Args:
        polygons: (P,) shapely polygons, in units that preserve right angles.
        shortest: Minimum length of a side, in the same units.

    Returns:
        (P,) valid shapely polygons.
    """
    import shapely

    thinned = shapely.simplify(polygons, _THINNED * shortest)
    rectangles = shapely.minimum_rotated_rectangle(polygons)
    squared = np.array([_squared(rough, thin, shortest) for rough, thin in zip(polygons, thinned, strict=True)])
    result: np.ndarray = thinned
    for candidates, least in ((rectangles, _RECTANGLE_IOU), (squared, _LEAST_IOU)):  # the last close one wins
        near = _iou(candidates, polygons) >= least
        result = np.where(near, candidates, result)
    return result


def _iou(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    import shapely

    from satseg.geo.polygons import intersection_over_union

    usable = shapely.is_valid(ones) & (shapely.area(ones) > 0)
    ones = np.where(usable, ones, shapely.Polygon())
    return intersection_over_union(ones, others)


def _squared(rough: Polygon, thin: Polygon, shortest: float) -> Polygon | None:
    """Return a polygon with right angles only, which may be invalid, or None if there is none."""
    import shapely

    angle = _direction(shapely.get_coordinates(shapely.simplify(rough.exterior, _STRAIGHT * shortest)))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    rings = [_square_ring(shapely.get_coordinates(ring) @ turn, shortest) for ring in (thin.exterior, *thin.interiors)]
    if rings[0] is None:
        return None
    return shapely.Polygon(rings[0] @ turn.T, [ring @ turn.T for ring in rings[1:] if ring is not None])


def _direction(points: np.ndarray) -> float:
    """Return the mean direction of edges modulo a right angle, in radians, weighted by length."""
    steps = np.diff(points, axis=0)
    lengths, angles = np.hypot(*steps.T), np.arctan2(steps[:, 1], steps[:, 0])
    return float(np.angle((lengths**2 * np.exp(4j * angles)).sum())) / 4


def _square_ring(points: np.ndarray, shortest: float) -> np.ndarray | None:
    """Return a closed ring of sides along and across, or None if fewer than four are left."""
    steps = np.diff(points, axis=0)
    along = np.abs(steps[:, 0]) >= np.abs(steps[:, 1])
    if along.all() or not along.any():
        return None
    first = int(np.flatnonzero(along != np.roll(along, 1))[0])  # a side begins here
    middles = np.roll(points[:-1] + steps / 2, -first, axis=0)
    steps, along = np.roll(steps, -first, axis=0), np.roll(along, -first)
    number = np.cumsum(np.diff(along, prepend=along[:1]))
    axis = np.where(along, 1, 0)  # a side along has a place across
    rows = np.arange(len(steps))
    lengths = np.bincount(number, np.abs(steps[rows, 1 - axis]))
    places = np.bincount(number, np.abs(steps[rows, 1 - axis]) * middles[rows, axis]) / np.maximum(lengths, 1e-12)
    return _corners(_drop_short(places, lengths, shortest), bool(along[0]))


def _drop_short(places: np.ndarray, lengths: np.ndarray, shortest: float) -> np.ndarray:
    """Remove sides that are too short, the shortest first; the two sides beside it become one."""
    sides = list(zip(places.tolist(), lengths.tolist(), strict=True))
    while len(sides) > 4:
        spans = [abs(sides[(i + 1) % len(sides)][0] - sides[i - 1][0]) for i in range(len(sides))]
        i = int(np.argmin(spans))
        if spans[i] >= shortest:
            break
        if i in (0, len(sides) - 1):  # rotate, so that the pair to be joined does not wrap around
            sides = sides[2:] + sides[:2]
            continue
        (one, left), (two, right) = sides[i - 1], sides[i + 1]
        weight = max(left + right, 1e-12)
        sides[i - 1 : i + 2] = [((one * left + two * right) / weight, left + right)]
    return np.array([place for place, _ in sides])


def _corners(places: np.ndarray, begins_along: bool) -> np.ndarray | None:
    if len(places) < 4:
        return None
    following = np.roll(places, -1)
    is_along = (np.arange(len(places)) % 2 == 0) == begins_along
    ring = np.column_stack([np.where(is_along, following, places), np.where(is_along, places, following)])
    return np.concatenate([ring, ring[:1]])
