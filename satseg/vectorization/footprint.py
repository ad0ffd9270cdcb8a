"""Footprints of polygon layers: the ground covered by their maps, where the absence of polygons is information."""

from __future__ import annotations

import logging

import numpy as np
import shapely
from pyproj.exceptions import ProjError
from shapely.errors import ShapelyError

from satseg.geo.crs import full_turn, is_geographic, same_crs, transformer
from satseg.geo.grid import Grid
from satseg.geo.polygons import is_finite, repair, reproject
from satseg.geo.vector_layer import VectorLayer
from satseg.raster.area import AreaOfInterest
from satseg.records import SceneInfo

log = logging.getLogger("satseg")

FOOTPRINT = "SATSEG_FOOTPRINT"
"""Name of the metadata of layers that stores it: polygons in the CRS of the layer, as WKT."""

_LONGEST = 2**20  # characters
_AT_ONCE = 64  # scenes
_PIECES = 64  # of a side of a scene, which is curved in another CRS


class Footprint:
    """The footprint of the scenes of a layer, as they are added."""

    def __init__(self) -> None:
        self._scenes: list[shapely.Polygon] = []
        self._names: list[str] = []
        self._known = True

    def add(self, scene: SceneInfo, crs: str | None) -> None:
        """Add the footprint of a scene.

        Args:
            scene: Its grid.
            crs: CRS of the layer.
        """
        moved = ground_of(scene, crs)
        self._known &= moved is not None
        if moved is not None:
            self._scenes.append(moved)
            self._names.append(scene.path)

    def shared(self) -> tuple[str, str, float] | None:
        """Return two scenes that overlap, and the share of the smaller one; None if no overlap reaches 1 %.

        Scenes are compared a few at a time until two are found: for many scenes of one area, there are too many pairs.
        """
        ground = shapely.make_valid(np.array(self._scenes, dtype=object))
        areas, tree = shapely.area(ground), shapely.STRtree(ground)
        for start in range(0, len(ground), _AT_ONCE):
            one, other = tree.query(ground[start : start + _AT_ONCE], predicate="intersects")
            one, other = (one + start)[one + start < other], other[one + start < other]
            least = np.minimum(areas[one], areas[other])
            shares = shapely.area(shapely.intersection(ground[one], ground[other])) / np.where(least > 0, least, np.inf)
            if len(shares) and shares.max() >= 0.01:
                most = int(shares.argmax())
                return self._names[one[most]], self._names[other[most]], float(shares[most])
        return None

    @property
    def text(self) -> str | None:
        """The footprint as WKT; None if that of a scene is unknown, or it is too long to be stored."""
        if not self._known or not self._scenes:
            return None
        text = shapely.to_wkt(shapely.union_all(self._scenes), rounding_precision=-1)
        return text if len(text) <= _LONGEST else None


def read_footprint(layer: VectorLayer) -> AreaOfInterest | None:
    """Return the footprint of a layer that satseg wrote; None if it has none."""
    text = layer.metadata().get(FOOTPRINT)
    if text is None or len(text) > _LONGEST:
        return None
    try:
        found = repair(np.array([shapely.from_wkt(text)], dtype=object))
    except ShapelyError:
        return None
    known = not shapely.is_missing(found).any()
    return AreaOfInterest(layer.path, shapely.get_parts(found), layer.crs) if known else None


def ground_of(scene: SceneInfo, there: str | None) -> shapely.Polygon | None:
    """Return the outline of a scene in a CRS; None if it is torn or not defined there."""
    outline, here = shapely.Polygon(np.stack(Grid.of_scene(scene).corners(), axis=1)), scene.crs
    if here is None or there is None:
        return outline if here == there else None
    if same_crs(here, there):
        return outline
    try:
        moving = transformer(here, there)
    except ProjError:
        return None
    fine = shapely.segmentize(outline, shapely.length(outline) / (4 * _PIECES))
    (moved,) = reproject(np.array([fine], dtype=object), moving.transform)
    if moved is None or moved.geom_type != "Polygon" or not is_finite(np.array([moved])).all():
        return None
    left, _, right, _ = moved.bounds
    return None if is_geographic(there) and right - left > full_turn(there) / 2 else moved
