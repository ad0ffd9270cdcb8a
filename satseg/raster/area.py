"""The area of interest: which windows and which pixels of a scene lie in polygons of a vector file."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.windows import Window

from satseg.errors import AreaError, LabelError
from satseg.files.causes import cause, remedy
from satseg.files.names import is_local_file, split_layer, vector_name
from satseg.geo.crs import is_local
from satseg.geo.grid import doubt_of_points
from satseg.geo.layer_crs import layer_crs
from satseg.geo.placing import Placing
from satseg.geo.polygons import is_finite, repair
from satseg.geo.vector_layer import VectorLayer, is_parquet
from satseg.records import SceneInfo

log = logging.getLogger("satseg")

_SNAP = 1 / 256  # px
_LONGEST_EDGE = 8192  # px


@dataclass(frozen=True, eq=False)
class AreaOfInterest:
    """Polygons that say where to work.

    Args:
        path: Where they come from.
        geometries: Valid polygons and multipolygons.
        crs: Their CRS, as WKT or ``EPSG:...``; None where it is unknown.
    """

    path: str
    geometries: np.ndarray
    crs: str | None

    @classmethod
    def read(cls, path: str | Path) -> AreaOfInterest:
        """Read all polygons of the first layer with geometries; invalid ones are repaired.

        Those with coordinates that are not finite are left out, which is said.

        Args:
            path: Any file that OGR opens; ``file.gpkg|layername=fields`` names a layer of several.

        Raises:
            AreaError: It does not exist, cannot be read, or holds no polygon.
        """
        name, crs, raw = _read_layer(str(path))
        infinite = int((~is_finite(raw)).sum())
        geometries = repair(raw)
        geometries = geometries[~shapely.is_missing(geometries)]
        if not len(geometries):
            finite = " whose coordinates are all finite" if infinite else ""
            raise AreaError(f"The area of interest {name} holds no polygon{finite}.")
        if infinite:
            log.warning(
                "%s: %d features are left out, since some of their coordinates are infinite or no numbers.",
                name,
                infinite,
            )
        left, bottom, right, top = shapely.total_bounds(geometries)
        doubt = doubt_of_points(np.array([left, right, right, left]), np.array([bottom, bottom, top, top]), crs)
        if doubt:
            log.warning("%s %s.", name, doubt)
        return cls(name, geometries, crs)

    def on(self, scene: SceneInfo) -> SceneArea:
        """Bring the area onto the grid of a scene; straight edges stay straight in the CRS they were drawn in.

        Raises:
            AreaError: Just one of both has a CRS, there is no way between the two, or nothing of the area meets the
                scene.
        """
        if self.crs is None and scene.crs is not None and not is_local(scene.crs):
            raise AreaError(
                f"The area of interest {self.path} states no CRS.", hint="Assign it: ogr2ogr -a_srs EPSG:..."
            )
        if scene.crs is None and self.crs is not None and not is_local(self.crs):
            raise AreaError(f"{scene.path} has no CRS, so that {self.path} cannot be found in it.")
        outline = shapely.Polygon([scene.transform * corner for corner in _corners(scene)])
        moved = Placing(self.crs, scene, name=self.path, error=AreaError).apply(self.geometries, outline)
        pixels = _in_pixels(moved, scene)
        if not len(pixels):
            raise AreaError(
                f"Nothing of the area of interest {self.path} meets {scene.path}.",
                hint="Check that both cover the same place, and that their CRS are stated rightly.",
            )
        return SceneArea(pixels)


class SceneArea:
    """An area on the grid of one scene. It can be pickled.

    Args:
        polygons: Valid polygons in pixels of the scene (column, row), their vertices at multiples of 1/256.
    """

    def __init__(self, polygons: np.ndarray) -> None:
        self._polygons = polygons
        self._tree = shapely.STRtree(polygons)

    def touches(self, window: Window) -> bool:
        """Tell whether a part of the area lies in a window or on its edge."""
        return bool(len(self._near(window)))

    def inside(self, window: Window) -> np.ndarray:
        """Tell which pixels have their centre in the area.

        A pixel gets the same answer in whatever window it is: vertices lie at multiples of 1/256 px and edges are
        short, so that moving the origin by whole pixels rounds nothing.

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
        """Return the area in the CRS of the scene, whose transform is given."""
        moved = shapely.transform(self._polygons, lambda x, y: transform * (x, y), interleaved=False)
        return shapely.union_all(moved)

    @property
    def digest(self) -> str:
        """SHA-256 of the polygons in hexadecimal: equal areas on equal grids have equal ones."""
        return hashlib.sha256(b"".join(shapely.to_wkb(self._polygons))).hexdigest()

    def _near(self, window: Window) -> Any:
        left, top = window.col_off, window.row_off
        outline = shapely.box(left, top, left + window.width, top + window.height)
        return self._tree.query(outline, predicate="intersects")


def _read_layer(path: str) -> tuple[str, str | None, np.ndarray]:
    """Return the name of a vector file, its CRS, and the geometries of a layer."""
    file, wanted = split_layer(path)
    if is_local_file(file) and not os.path.exists(file):
        raise AreaError(f"The area of interest {file} does not exist.")
    if is_local_file(file) and Path(file).is_fifo():  # GDAL would wait for somebody to write into it
        raise AreaError(f"The area of interest {file} is a pipe, and no file.")
    if is_parquet(file):
        return _read_parquet(file)
    try:
        with vector_name(file) as spelt:
            return file, *_read_polygons(file, spelt, wanted)
    except (DataSourceError, DataLayerError, ValueError, RuntimeError, shapely.errors.ShapelyError) as error:
        told = f"The area of interest {file} cannot be read: {cause(error)}."
        raise AreaError(told, hint=remedy(error)) from error


def _read_polygons(file: str, spelt: str, wanted: str | None) -> tuple[str | None, np.ndarray]:
    """Return the CRS and the geometries of a layer; ``spelt`` is what pyogrio calls the file."""
    spatial = [str(name) for name, kind in pyogrio.list_layers(spelt) if kind is not None]
    if not spatial or (wanted and wanted not in spatial):
        known = f"; it has {', '.join(spatial)}" if spatial else ""
        raise AreaError(f"{file} has no layer {f'{wanted!r} ' if wanted else ''}with geometries{known}.")
    if len(spatial) > 1 and not wanted:
        log.warning("%s has %d layers; the area of interest is %r.", file, len(spatial), spatial[0])
    layer = wanted or spatial[0]
    crs = layer_crs(file, spelt, layer, pyogrio.read_info(spelt, layer=layer), error=AreaError)
    _, _, wkb, _ = pyogrio.raw.read(spelt, layer=layer, columns=[])
    return crs, shapely.from_wkb(wkb)


def _read_parquet(file: str) -> tuple[str, str | None, np.ndarray]:
    """As :func:`_read_layer`, of GeoParquet, which the GDAL that comes with pyogrio does not read."""
    try:
        layer = VectorLayer.open(file)
        parts = [geometries for geometries, _ in layer.batches([])]
    except LabelError as error:
        raise AreaError(f"The area of interest {file} cannot be read: {error.message}", hint=error.hint) from error
    return file, layer.crs, np.concatenate(parts) if parts else np.empty(0, dtype=object)


def _in_pixels(geometries: np.ndarray, scene: SceneInfo) -> np.ndarray:
    """Return polygons in pixels of the scene, cut to it and snapped."""
    inverse = ~scene.transform
    pixels = shapely.transform(geometries, lambda x, y: inverse * (x, y), interleaved=False)
    cut = shapely.intersection(repair(pixels), shapely.box(-1, -1, scene.width + 1, scene.height + 1))
    snapped = shapely.set_precision(shapely.segmentize(repair(cut), _LONGEST_EDGE), _SNAP)
    parts: np.ndarray = shapely.get_parts(repair(snapped))
    return parts[shapely.intersects(parts, shapely.box(0, 0, scene.width, scene.height))]


def _corners(scene: SceneInfo) -> list[tuple[float, float]]:
    return [(0, 0), (scene.width, 0), (scene.width, scene.height), (0, scene.height)]
