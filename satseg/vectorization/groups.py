"""Polygons that must be drawn together, since a change of one may change the others."""

from __future__ import annotations

import numpy as np

from satseg.vectorization.arcs import Arcs
from satseg.vectorization.noding import NEAR


class Groups:
    """Groups of polygons that share vertices.

    Args:
        arcs: Arcs of all polygons.
    """

    def __init__(self, arcs: Arcs) -> None:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        polygons = np.repeat(arcs.polygons, np.diff(arcs.rings))
        count = polygons.max() + 1
        shape = (count + arcs.vertices.max() + 1,) * 2
        links = coo_array((np.ones(len(polygons)), (polygons, count + arcs.vertices)), shape=shape)
        self._groups = connected_components(links, directed=False)[1][:count]

    def of(self, wanted: np.ndarray) -> np.ndarray:
        """Return (P,) bool, which polygons are in a group with one of those that are wanted (P,) bool."""
        found = np.zeros(len(self._groups), dtype=bool)
        found[self._groups[wanted]] = True
        return found[self._groups]

    def with_those_in_contact(self, wanted: np.ndarray, polygons: np.ndarray) -> np.ndarray:
        """Return (P,) bool like :meth:`of`, with all groups that are linked to these where polygons (P,) touch."""
        import shapely

        tree = shapely.STRtree(polygons)
        found, grown = np.zeros_like(wanted), self.of(wanted)
        while (new := grown & ~found).any():
            found, met = grown, grown.copy()
            met[tree.query(polygons[new], predicate="dwithin", distance=NEAR)[1]] = True
            grown = self.of(met)
        return found
