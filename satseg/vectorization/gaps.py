"""Close narrow gaps between the polygons of a coverage."""

from __future__ import annotations

import numpy as np


def gaps_closed(polygons: np.ndarray, width: float) -> np.ndarray:
    """Return polygons without the gaps that are nowhere wider than a width and open to no outside.

    A gap becomes part of the polygon with which it has the longest boundary.

    Args:
        polygons: (P,) shapely polygons that form a valid coverage.
        width: Width of the widest gap to close.
    """
    import shapely

    tree = shapely.STRtree(polygons)
    gaps = shapely.polygons(_holes(_unions(polygons, tree.query(polygons, predicate="intersects"))))
    gaps = gaps[shapely.is_empty(shapely.buffer(gaps, -width / 2, join_style="mitre"))]
    gaps = np.delete(gaps, tree.query(gaps, predicate="contains")[0])
    ones, others = tree.query(gaps, predicate="intersects")
    shared = shapely.length(shapely.intersection(shapely.boundary(gaps[ones]), polygons[others]))
    order = np.lexsort((others, -shared, ones))  # by gap, the longest boundary first
    first = order[np.diff(ones[order], prepend=-1) != 0]
    gaps, owners = gaps[ones[first]], others[first]
    grown, places = np.unique(owners, return_inverse=True)
    closed, parts = polygons.copy(), np.concatenate([polygons[grown], gaps])
    order = np.argsort(np.concatenate([np.arange(len(grown)), places]), kind="stable")
    ends = np.cumsum(np.bincount(places) + 1)
    closed[grown] = [shapely.coverage_union_all(own) for own in np.split(parts[order], ends[:-1])] if len(grown) else []
    return closed


def _unions(polygons: np.ndarray, touching: np.ndarray) -> np.ndarray:
    """Return the unions of polygons (P,) that touch, given pairs (2, N); that of a whole map takes far more time."""
    import shapely
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(touching.shape[1]), tuple(touching)), shape=(len(polygons),) * 2)
    count, groups = connected_components(links, directed=False)
    order = np.argsort(groups, kind="stable")
    own = np.split(polygons[order], np.searchsorted(groups[order], np.arange(1, count)))
    return shapely.get_parts([shapely.coverage_union_all(group) for group in own])


def _holes(polygons: np.ndarray) -> np.ndarray:
    """Return all inner rings of polygons."""
    import shapely

    rings, owners = shapely.get_rings(polygons, return_index=True)
    return rings[np.diff(owners, prepend=-1) == 0]
