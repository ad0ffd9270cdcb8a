"""Regularize outlines of buildings: make them right-angled, without gaps or overlaps between neighbours.

Narrow gaps between polygons are closed first, since their corners would divide the walls on both sides. Then all
outlines of a map are drawn together. Each ring is divided into sides along and across a main direction. At a boundary
between two polygons, only the sides of one of them are used, for both. All corners and junctions are placed at once,
such that every wall is straight and close to what was traced.

Where polygons would overlap, walls draw back, or take the line of the neighbour's wall. What is still in the way, and
outlines that are invalid or far from the building, give way to simplified ones. In the end, these lose all vertices
that they can spare.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np
from affine import Affine

from satseg.vectorization.arcs import NOBODY, Arcs, arcs_of
from satseg.vectorization.coarsen import coarsened
from satseg.vectorization.conflicts import Usability, arcs_in_the_way, conflicting_pairs, separate
from satseg.vectorization.directions import main_directions
from satseg.vectorization.drawing import SQUARED, TRACED, Drawing, Outlines
from satseg.vectorization.gaps import gaps_closed
from satseg.vectorization.groups import Groups
from satseg.vectorization.noding import Rings, to_polygons
from satseg.vectorization.regions import Regions, concatenate, to_shapely
from satseg.vectorization.sides import sides_of

log = logging.getLogger("satseg")

_JOINS = 3  # drawings at most in which ends of short edges become one point

_SEPARATIONS = 4  # drawings in which walls move apart, before outlines give way

_COARSE = 0.75  # tolerance of simplification of outlines that have given way, as a share of the shortest side

_GAP = 0.5  # width of gaps that are closed, as a share of the shortest side

_STAIR = 0.5  # tolerance of simplification in pixels before outlines are compared with what was traced


def regularized(parts: Sequence[Regions], shortest: tuple[float, float]) -> Regions:
    """Return all features of a map with right-angled outlines, which form a valid coverage like those given.

    Args:
        parts: Features of one polygon each; their corners are those of pixels.
        shortest: Minimum length of a side, in columns and rows.

    Returns:
        The features with float64 corners.
    """
    regions = concatenate([Regions.none(), *parts])
    if not len(regions):
        return regions
    found = _with(regions, regularize(regions, shortest))
    return replace(found, corners=found.corners * shortest)


def _with(regions: Regions, polygons: np.ndarray) -> Regions:
    """Return features with other polygons (P,)."""
    import shapely

    oriented = shapely.orient_polygons(polygons)  # clockwise as displayed: rows go down
    _, corners, (rings, ends) = shapely.to_ragged_array(oriented)
    return replace(regions, corners=corners, rings=rings, polygons=ends)


def regularize(regions: Regions, shortest: tuple[float, float]) -> np.ndarray:
    """Return (P,) shapely polygons with right-angled outlines, in units of the shortest side.

    Args:
        regions: Features of one polygon each; their corners are those of pixels.
        shortest: Minimum length of a side, in columns and rows.
    """
    import shapely

    regions = _with(regions, gaps_closed(to_shapely(regions, Affine.identity()), _GAP * min(shortest)))
    arcs = _arcs(regions, shortest)
    traced = to_polygons(arcs.points, Rings(np.arange(len(arcs.points)), arcs.rings), regions.polygons)
    usability = Usability(shapely.simplify(traced, _STAIR / max(shortest)))
    angles = main_directions(arcs, len(regions))
    outlines = Outlines(arcs, sides_of(arcs.points, arcs.rings, angles[arcs.polygons]))
    groups = Groups(arcs)
    drawn = np.ones(len(regions), dtype=bool)
    for _ in range(_JOINS):
        drawn = groups.of(outlines.join(outlines.draw(drawn)))
        if not drawn.any():
            break
    polygons, drawn = np.full(len(regions), shapely.Polygon()), np.ones(len(regions), dtype=bool)
    for attempt in count():
        drawing, pairs = _draw(outlines, groups, polygons, drawn, regions.polygons)
        levels = outlines.level_of_polygons(len(regions))
        wrong = usability.unusable(polygons) & (levels < TRACED)
        if not wrong.any() and not len(pairs):
            _report(arcs.faces[outlines.levels > SQUARED], len(regions))
            return coarsened(polygons, outlines.loose(), _COARSE)
        drawn = wrong.copy()
        drawn[pairs] = True
        drawn = groups.with_those_in_contact(drawn, polygons)
        pairs = _smaller_first(pairs[~wrong[pairs].any(axis=1)], shapely.area(traced))
        giving, moved = np.append(wrong, False)[arcs.faces].any(axis=1), False  # nobody's place is the last one
        if attempt < _SEPARATIONS:
            moved = separate(outlines, drawing, arcs, polygons, pairs)
        else:
            giving |= arcs_in_the_way(drawing, arcs, polygons, levels, pairs)
        if not (outlines.give_way(giving) or moved):
            break
    return traced


def _report(faces: np.ndarray, polygons: int) -> None:
    """Say how many polygons have arcs that are not squared, given the polygons (N, 2) beside these."""
    count = len(np.setdiff1d(faces, [NOBODY]))
    if count:
        log.info(
            "%s of %s outlines are simplified instead of right-angled, at least in part: "
            "right angles do not fit them or their neighbours.",
            f"{count:,}",
            f"{polygons:,}",
        )


def _draw(
    outlines: Outlines, groups: Groups, polygons: np.ndarray, wanted: np.ndarray, ends: np.ndarray
) -> tuple[Drawing, np.ndarray]:
    """Draw some polygons (P,) bool, and those with which they conflict then.

    Args:
        outlines: Outlines.
        groups: What must be drawn together.
        polygons: (P,) shapely polygons; those that are drawn are replaced.
        wanted: (P,) bool, which polygons to draw.
        ends: (P + 1,) int64 first ring of each polygon, and the end.

    Returns:
        The drawing, and pairs (N, 2) int64 of its polygons that conflict.
    """
    while True:
        drawing = outlines.draw(wanted)
        polygons[wanted] = to_polygons(drawing.places, drawing.rings, ends)[wanted]
        pairs = conflicting_pairs(polygons, wanted)
        met = wanted.copy()
        met[pairs] = True
        if (met == wanted).all():
            return drawing, pairs
        wanted = groups.with_those_in_contact(met, polygons)


def _smaller_first(pairs: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return pairs (N, 2) of polygons with the smaller one of each in front."""
    return np.take_along_axis(pairs, np.argsort(sizes[pairs], axis=1, kind="stable"), axis=1)


def _arcs(regions: Regions, shortest: tuple[float, float]) -> Arcs:
    """Return the arcs of features, with points in units of the shortest side."""
    opening = np.ones(len(regions.corners), dtype=bool)
    opening[regions.rings[1:] - 1] = False
    corners = regions.corners[opening].astype(np.int64)
    _, vertices = np.unique(corners @ np.array([1, 1 << 32]), return_inverse=True)
    rings = regions.rings - np.arange(len(regions.rings))
    return arcs_of(corners / shortest, vertices, rings, regions.polygons)
