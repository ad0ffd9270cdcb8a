"""Areas of interest: the windows and pixels of a scene that lie in the polygons of a vector file."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.windows import Window

from satseg.errors import AreaError, LabelError
from satseg.geo.crs import is_local
from satseg.geo.grid import doubt_of_points
from satseg.geo.polygons import is_finite, repair
from satseg.geo.scene_projection import SceneProjection
from satseg.geo.vector_layer import VectorLayer
from satseg.records import SceneInfo

log = logging.getLogger("satseg")

_SNAP = 1 / 256  # px
_LONGEST_EDGE = 8192  # px


@dataclass(frozen=True, eq=False)
class AreaOfInterest:
    """The polygons to which processing is limited.

    Args:
        path: Their file.
        geometries: Valid polygons and multipolygons.
        crs: Their CRS, as WKT or ``EPSG:...``; None if unknown.
    """

    path: str
    geometries: np.ndarray
    crs: str | None

    @classmethod
    def read(cls, path: str | Path) -> AreaOfInterest:
        """Read all polygons of a layer; invalid ones are repaired.

        Polygons with coordinates that are not finite are left out, with a warning.

        Args:
            path: Any vector file, see :class:`~satseg.geo.vector_layer.VectorLayer`; ``file.gpkg|layername=fields``
                names one of several layers.

        Raises:
            AreaError: It does not exist, cannot be read, or holds no polygon.
        """
        try:
            layer = VectorLayer.open(str(path))
            raw, name, crs = layer.geometries(), layer.path, layer.crs
        except LabelError as error:
            raise AreaError(f"Cannot read the area of interest: {error.message}", hint=error.hint) from error
        infinite = int((~is_finite(raw)).sum())
        geometries = repair(raw)
        geometries = geometries[~shapely.is_missing(geometries)]
        if not len(geometries):
            finite = " whose coordinates are all finite" if infinite else ""
            raise AreaError(f"The area of interest {name} has no polygon{finite}.")
        if infinite:
            log.warning(
                "%s: %d features are left out because some of their coordinates are infinite or NaN.",
                name,
                infinite,
            )
        left, bottom, right, top = shapely.total_bounds(geometries)
        doubt = doubt_of_points(np.array([left, right, right, left]), np.array([bottom, bottom, top, top]), crs)
        if doubt:
            log.warning("%s %s.", name, doubt)
        return cls(name, geometries, crs)

    def on(self, scene: SceneInfo) -> SceneArea:
        """Reproject the area onto the grid of a scene; edges are straight in the CRS in which they were drawn.

        Raises:
            AreaError: Only one of the two has a CRS, PROJ knows no transformation between them, or the area does not
                overlap the scene.
        """
        if self.crs is None and scene.crs is not None and not is_local(scene.crs):
            raise AreaError(
                f"The area of interest {self.path} has no CRS.", hint="Assign it: ogr2ogr -a_srs EPSG:... NEW FILE"
            )
        if scene.crs is None and self.crs is not None and not is_local(self.crs):
            raise AreaError(f"{scene.path} has no CRS, so {self.path} cannot be located in it.")
        outline = shapely.Polygon([scene.transform * corner for corner in _corners(scene)])
        moved = SceneProjection(self.crs, scene, name=self.path, error=AreaError).apply(self.geometries, outline)
        pixels = _in_pixels(moved, scene)
        if not len(pixels):
            raise AreaError(
                f"The area of interest {self.path} does not overlap {scene.path}.",
                hint="Check that both cover the same ground and that their CRSs are right.",
            )
        return SceneArea(pixels)


class SceneArea:
    """An area on the grid of one scene. It can be pickled.

    Args:
        polygons: Valid polygons in pixels of the scene (column, row), with vertices at multiples of 1/256.
    """

    def __init__(self, polygons: np.ndarray) -> None:
        self._polygons = polygons
        self._tree = shapely.STRtree(polygons)

    def touches(self, window: Window) -> bool:
        """Tell whether the area touches a window."""
        return bool(len(self._near(window)))

    def inside(self, window: Window) -> np.ndarray:
        """Tell which pixels have their centre in the area.

        The result for a pixel does not depend on the window: vertices lie at multiples of 1/256 px and edges are
        short, so shifting the origin by whole pixels is exact.

        Returns:
            (row, col) bool.
        """
        shape = (int(window.height), int(window.width))
        near = self._near(window)
        if not len(near):
            return np.zeros(shape, dtype=bool)
        origin = Affine.translation(int(window.col_off), int(window.row_off))
        burnt = rasterize(self._polygons[np.sort(near)], out_shape=shape, transform=origin, dtype="uint8")
        return np.asarray(burnt, dtype=bool)

    def on_ground(self, transform: Affine) -> shapely.Geometry:
        """Return the area in the CRS of the scene, given the transform of the scene."""
        moved = shapely.transform(self._polygons, lambda x, y: transform * (x, y), interleaved=False)
        return shapely.union_all(moved)

    @property
    def digest(self) -> str:
        """SHA-256 of the polygons in hexadecimal; the same for equal areas on equal grids."""
        return hashlib.sha256(b"".join(shapely.to_wkb(self._polygons))).hexdigest()

    def _near(self, window: Window) -> Any:
        left, top = window.col_off, window.row_off
        outline = shapely.box(left, top, left + window.width, top + window.height)
        return self._tree.query(outline, predicate="intersects")


def _in_pixels(geometries: np.ndarray, scene: SceneInfo) -> np.ndarray:
    """Return polygons in pixels of the scene, clipped to it and snapped."""
    inverse = ~scene.transform
    pixels = shapely.transform(geometries, lambda x, y: inverse * (x, y), interleaved=False)
    cut = shapely.intersection(repair(pixels), shapely.box(-1, -1, scene.width + 1, scene.height + 1))
    snapped = shapely.set_precision(shapely.segmentize(repair(cut), _LONGEST_EDGE), _SNAP)
    parts: np.ndarray = shapely.get_parts(repair(snapped))
    return parts[shapely.intersects(parts, shapely.box(0, 0, scene.width, scene.height))]


def _corners(scene: SceneInfo) -> list[tuple[float, float]]:
    return [(0, 0), (scene.width, 0), (scene.width, scene.height), (0, scene.height)]
