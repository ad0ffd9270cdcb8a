"""Turn outlines of buildings into right-angled ones.

Each ring is turned into the building's own directions (the mean of its edges' directions modulo a right angle, weighted
by length), thinned, and its edges are told apart into those along and those across. Neighbouring edges of one kind
become one straight side, placed at the mean of the pixel outline it stands for; sides shorter than asked for go, the
shortest first. Where that makes no valid outline near the building, the smallest rectangle around it is tried, and then
the thinned outline is taken.

Right-angled buildings no longer fit their neighbours vertex by vertex; overlaps are cut from the smaller one.
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

_THINNED = 0.5  # share of the shortest side by which outlines are thinned before sides are told apart
_STRAIGHT = 0.15  # the same to find the building's directions: pixels' edges have none of their own
_LEAST_IOU = 0.75
_RECTANGLE_IOU = 0.9
_NOTHING = 1e-9  # squares of the shortest side; what is smaller is left by rounding


def regularized(parts: Sequence[Regions], shortest: tuple[float, float]) -> Regions:
    """Return all features of a map with right-angled outlines, without overlaps.

    Args:
        parts: Features of one polygon each.
        shortest: Length of the shortest side to keep, as columns and rows.

    Returns:
        The features with float64 corners; those that lie in larger ones altogether are gone.
    """
    import shapely

    regions = concatenate([Regions.none(), *parts])
    if not len(regions):
        return regions
    to_units = Affine.scale(1 / shortest[0], 1 / shortest[1])
    polygons = without_overlaps(regularize(to_shapely(regions, to_units), shortest=1.0))
    kept = regions.where(~shapely.is_empty(polygons))
    oriented = shapely.orient_polygons(polygons[~shapely.is_empty(polygons)])  # rows go down: clockwise as it is seen
    _, points, (rings, ends) = shapely.to_ragged_array(oriented)
    numbers = np.arange(len(kept) + 1)
    return replace(kept, corners=points * shortest, rings=rings, polygons=ends, features=numbers)


def without_overlaps(polygons: np.ndarray) -> np.ndarray:
    """Cut overlaps from the smaller polygon of each pair; of one that falls apart the largest part stays.

    Args:
        polygons: (P,) valid shapely polygons.

    Returns:
        (P,) shapely polygons, empty where nothing is left.
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
    """Make outlines right-angled, each for itself.

    Args:
        polygons: (P,) shapely polygons, in units in which a right angle is one.
        shortest: Length of the shortest side to keep, in the same units.

    Returns:
        (P,) valid shapely polygons.
    """
    import shapely

    thinned = shapely.simplify(polygons, _THINNED * shortest)
    rectangles = shapely.minimum_rotated_rectangle(polygons)
    squared = np.array([_squared(rough, thin, shortest) for rough, thin in zip(polygons, thinned, strict=True)])
    result: np.ndarray = thinned
    for candidates, least in ((rectangles, _RECTANGLE_IOU), (squared, _LEAST_IOU)):  # the last that is near wins
        near = _iou(candidates, polygons) >= least
        result = np.where(near, candidates, result)
    return result


def _iou(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    import shapely

    usable = shapely.is_valid(ones) & (shapely.area(ones) > 0)
    ones = np.where(usable, ones, shapely.Polygon())
    common = shapely.area(shapely.intersection(ones, others))
    return common / (shapely.area(ones) + shapely.area(others) - common)


def _squared(rough: Polygon, thin: Polygon, shortest: float) -> Polygon | None:
    """Return a polygon with right angles only, which may be invalid, or None where there is none."""
    import shapely

    angle = _direction(shapely.get_coordinates(shapely.simplify(rough.exterior, _STRAIGHT * shortest)))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    rings = [_square_ring(shapely.get_coordinates(ring) @ turn, shortest) for ring in (thin.exterior, *thin.interiors)]
    if rings[0] is None:
        return None
    return shapely.Polygon(rings[0] @ turn.T, [ring @ turn.T for ring in rings[1:] if ring is not None])


def _direction(points: np.ndarray) -> float:
    """Return the direction of edges modulo a right angle, in radians; long ones count for more."""
    steps = np.diff(points, axis=0)
    lengths, angles = np.hypot(*steps.T), np.arctan2(steps[:, 1], steps[:, 0])
    return float(np.angle((lengths**2 * np.exp(4j * angles)).sum())) / 4


def _square_ring(points: np.ndarray, shortest: float) -> np.ndarray | None:
    """Return a closed ring of sides along and across, or None where fewer than four are left."""
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
    """Drop sides that are too short, the shortest first; the two beside one become one side."""
    sides = list(zip(places.tolist(), lengths.tolist(), strict=True))
    while len(sides) > 4:
        spans = [abs(sides[(i + 1) % len(sides)][0] - sides[i - 1][0]) for i in range(len(sides))]
        i = int(np.argmin(spans))
        if spans[i] >= shortest:
            break
        if i in (0, len(sides) - 1):  # so that the pair to be joined does not wrap around
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
