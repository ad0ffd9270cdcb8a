"""Let rings that lie on each other share all their points.

Where walls of neighbours have become one line, a strip between them has vanished, and the points of one wall lie on the
edges of the other. They become points of both, and points that no longer divide anything are dropped.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NEAR = 1e-4
"""Distance up to which points and edges lie on each other, as a share of the shortest side."""

_ROUNDS = 10


class Rings(NamedTuple):
    """Open rings of numbered points.

    Args:
        points: (W,) int64 points of all rings.
        ends: (R + 1,) int64 first point of each ring, and the end; rings may be empty.
    """

    points: np.ndarray
    ends: np.ndarray

    def following(self, shift: int = -1) -> np.ndarray:
        """Return the point (W,) after each point of the rings, or with a shift of 1 the one before it."""
        filled = np.flatnonzero(np.diff(self.ends))
        first, last = self.ends[:-1][filled], self.ends[1:][filled] - 1
        rolled = np.roll(self.points, shift)
        if shift < 0:
            rolled[last] = self.points[first]
        else:
            rolled[first] = self.points[last]
        return rolled

    def where(self, wanted: np.ndarray) -> Rings:
        """Return the rings with the points where ``wanted`` (W,) is true."""
        return Rings(self.points[wanted], np.append(0, np.cumsum(wanted))[self.ends])


def to_polygons(places: np.ndarray, rings: Rings, polygons: np.ndarray) -> np.ndarray:
    """Return (P,) shapely polygons, empty where the outer ring is; empty holes are left out.

    Args:
        places: (N, 2) float64 places of points.
        rings: Open rings of these points.
        polygons: (P + 1,) int64 first ring of each polygon, and the end.
    """
    import shapely

    sizes = np.diff(rings.ends)
    held = np.repeat(sizes[polygons[:-1]] > 2, np.diff(polygons)) & (sizes > 2)
    counts = np.add.reduceat(held.astype(np.int64), polygons[:-1])
    sizes = sizes[held]
    starts = np.append(0, np.cumsum(sizes + 1))
    inside = np.arange(starts[-1]) - np.repeat(starts[:-1], sizes + 1)
    at = np.repeat(rings.ends[:-1][held], sizes + 1) + inside % np.repeat(sizes, sizes + 1)
    found = np.full(len(counts), shapely.Polygon())
    kind, points = shapely.GeometryType.POLYGON, places[rings.points[at]]
    found[counts > 0] = shapely.from_ragged_array(kind, points, (starts, np.append(0, np.cumsum(counts[counts > 0]))))
    return found


def noded(rings: Rings, places: np.ndarray) -> Rings:
    """Return rings that share all points of their common lines, without needless ones.

    Args:
        rings: Rings.
        places: (N, 2) float64 places of the numbered points, in units of the shortest side.
    """
    for _ in range(_ROUNDS):
        rings = _without_spikes(_merged(rings, places))
        rings = _without_spikes(_without_needless(rings, places))
        more = _with_points_of_others(rings, places)
        if len(more.points) == len(rings.points):
            break
        rings = more
    return rings


def _merged(rings: Rings, places: np.ndarray) -> Rings:
    """Give points in the same place the same number."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    used = np.unique(rings.points)
    pairs = KDTree(places[used]).query_pairs(NEAR, output_type="ndarray")
    if not len(pairs):
        return rings
    shape = (len(used), len(used))
    _, groups = connected_components(coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=shape), directed=False)
    _, first = np.unique(groups, return_index=True)
    numbers = np.arange(len(places))
    numbers[used] = used[first][groups]
    return rings._replace(points=numbers[rings.points])


def _without_spikes(rings: Rings) -> Rings:
    """Drop points that follow themselves, and those from which the ring returns the way it came."""
    while True:
        needless = (rings.points == rings.following()) | (rings.following() == rings.following(1))
        if not needless.any():
            return rings
        rings = rings.where(~needless)


def _with_points_of_others(rings: Rings, places: np.ndarray) -> Rings:
    """Insert points into the edges on which they lie."""
    import shapely

    starts, ends = rings.points, rings.following()
    edges, numbers = np.unique(np.sort(np.column_stack([starts, ends])), axis=0, return_inverse=True)
    used = np.unique(starts)
    tree = shapely.STRtree(shapely.linestrings(places[edges]))
    points, on = tree.query(shapely.points(places[used]), predicate="dwithin", distance=NEAR)
    points = used[points]
    inside = (points != edges[on, 0]) & (points != edges[on, 1])
    points, on = points[inside], on[inside]
    if not len(points):
        return rings
    order = np.argsort(on, kind="stable")
    points, on = points[order], on[order]
    counts = np.bincount(on, minlength=len(edges))[numbers]  # by edge of a ring: points to be inserted
    at = np.repeat(np.arange(len(starts)), counts)
    which = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
    added = points[np.searchsorted(on, numbers[at]) + which]
    step = places[ends[at]] - places[starts[at]]
    share = ((places[added] - places[starts[at]]) * step).sum(axis=1) / (step * step).sum(axis=1)
    positions = np.concatenate([np.arange(len(starts)), at])
    order = np.lexsort((np.concatenate([np.full(len(starts), -1.0), share]), positions))
    return Rings(np.concatenate([starts, added])[order], rings.ends + np.append(0, np.cumsum(counts))[rings.ends])


def _without_needless(rings: Rings, places: np.ndarray) -> Rings:
    """Drop points with two neighbours in line with them."""
    count = len(places)
    one, other = rings.points, rings.following()
    links = np.unique(np.concatenate([one * count + other, other * count + one]))
    degrees = np.bincount(links // count, minlength=count)
    middle = np.flatnonzero(degrees == 2)
    first = np.searchsorted(links, middle * count)
    left, right = places[links[first] % count], places[links[first + 1] % count]
    (ax, ay), (bx, by) = (places[middle] - left).T, (right - left).T
    off = np.abs(ax * by - ay * bx) / np.maximum(np.hypot(bx, by), NEAR)
    needless = np.zeros(count, dtype=bool)
    needless[middle[off < NEAR]] = True
    return rings.where(~needless[rings.points])
