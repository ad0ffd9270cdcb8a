"""The layer of polygons that is written, and its attribute table: polygons as Arrow record batches."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from satseg.files.arrow import arrow_numbers, arrow_texts
from satseg.vectorization.footprint import Footprint
from satseg.vectorization.ground import measure
from satseg.vectorization.object_records import ObjectColumns
from satseg.vectorization.regions import Regions
from satseg.vectorization.wkb import to_wkb

if TYPE_CHECKING:
    from affine import Affine

    from satseg.classes import ClassTable

log = logging.getLogger("satseg")

CLASS, GEOMETRY = "class_id", "geometry"

_TYPES = {
    "class_id": pa.int32(),
    "class_name": pa.string(),
    "object_id": pa.int32(),
    "score": pa.float32(),
    "area_m2": pa.float64(),
    "perimeter_m": pa.float64(),
    "pixels": pa.int64(),
    "confidence_mean": pa.float32(),
    "confidence_min": pa.float32(),
    "confidence_p05": pa.float32(),
    "region_id": pa.int64(),
    "scene": pa.string(),
}


def schema(attributes: Iterable[str]) -> pa.Schema:
    """Return the schema of a layer: attributes, then the geometry as well-known binary."""
    return pa.schema([*((name, _TYPES[name]) for name in attributes), (GEOMETRY, pa.binary())])


@dataclass(frozen=True)
class PolygonLayer:
    """A layer of polygons.

    Args:
        attributes: Names of its columns (see :mod:`~satseg.vectorization.settings`); the geometry comes last.
        multi: Whether geometries are multipolygons. In GeoJSON, polygons cut at the antimeridian are in any case.
        repair: Whether rounded coordinates may make polygons invalid, so that each is checked and made valid.
        crs: CRS of the polygons, or None.
        pixel: Approximate side of a pixel of the (first) map in units of the CRS.
        metres: The same in metres on the ground; 1 if unknown.
        classes: Names and colours, or None if values are ids.
        provenance: Origin of the polygons, as name and value.
        footprint: Footprint of the maps, which grows until the layer is complete.
    """

    attributes: tuple[str, ...]
    multi: bool
    repair: bool
    crs: str | None
    pixel: float
    metres: float
    classes: ClassTable | None
    provenance: Mapping[str, str]
    footprint: Footprint = field(default_factory=Footprint)

    @property
    def geometry_type(self) -> str:
        """Name of the geometries' type."""
        return "MultiPolygon" if self.multi else "Polygon"


@dataclass(frozen=True, eq=False)
class FeatureBatch:
    """Features with their attributes, still as arrays.

    Args:
        columns: Attributes by name, (F,) each.
        points: (V, 2) float64 (x, y) in CRS units.
        rings: (R + 1,) first point of each ring, and the end.
        polygons: (P + 1,) first ring of each polygon, and the end.
        features: (F + 1,) first polygon of each feature, and the end.
        multi: Whether all geometries are multipolygons, or only those of several polygons.
    """

    columns: Mapping[str, pa.Array]
    points: np.ndarray
    rings: np.ndarray
    polygons: np.ndarray
    features: np.ndarray
    multi: bool

    def to_arrow(self) -> pa.RecordBatch:
        """Return the rows with geometry."""
        multi = np.full(len(self.features) - 1, self.multi) | (np.diff(self.features) > 1)
        data, ends = to_wkb(self.points, self.rings, self.polygons, self.features, multi=multi)
        buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data)]
        geometry = pa.Array.from_buffers(pa.binary(), len(ends) - 1, buffers)
        return pa.RecordBatch.from_arrays([*self.columns.values(), geometry], schema=schema(self.columns))

    def bounds(self) -> np.ndarray:
        """Return (F, 4) left, bottom, right, top of each feature."""
        starts = self.starts()
        low = np.minimum.reduceat(self.points, starts)
        return np.concatenate([low, np.maximum.reduceat(self.points, starts)], axis=1)

    @property
    def mixed(self) -> bool:
        """Whether some geometries are multipolygons and others are not."""
        return not self.multi and bool((np.diff(self.features) > 1).any())

    def starts(self) -> np.ndarray:
        """Return (F,) the first point of each feature."""
        return self.rings[self.polygons[self.features[:-1]]]


class GroundMeasures:
    """Areas and perimeters on the ellipsoid; unknown, with one warning, if the raster has no geodetic datum.

    Args:
        transform: Pixel to CRS coordinates.
        crs: CRS of the raster, or None.
    """

    def __init__(self, transform: Affine, crs: str | None) -> None:
        self._transform = transform
        self._crs = crs
        if crs is None:
            log.warning("The raster has no CRS: polygons are in its coordinates, and areas are unknown.")

    def measure(self, regions: Regions) -> tuple[np.ndarray, np.ndarray]:
        """Return square metres and metres, (F,) float64 each, NaN if unknown."""
        if self._crs is not None:
            try:
                return measure(regions, self._transform, self._crs)
            except ValueError as error:
                log.warning("Areas are unknown: %s.", error)
                self._crs = None
        unknown = np.full(len(regions), np.nan)
        return unknown, unknown


def columns(
    regions: Regions,
    areas: np.ndarray,
    perimeters: np.ndarray,
    numbers: np.ndarray,
    *,
    attributes: Iterable[str],
    classes: ClassTable | None,
    objects: ObjectColumns | None,
    scene: str,
) -> dict[str, pa.Array]:
    """Return the selected attribute columns; without a class table, class names are made from the values."""
    values = regions.values if objects is None else objects.classes
    made = {
        "class_id": lambda: arrow_numbers(values, pa.int32()),
        "class_name": lambda: _names(values, classes),
        "object_id": lambda: arrow_numbers(objects.ids if objects else np.empty(0), pa.int32()),
        "score": lambda: _shares(objects.scores if objects else np.empty(0)),
        "area_m2": lambda: arrow_numbers(areas, pa.float64(), unknown=np.isnan(areas)),
        "perimeter_m": lambda: arrow_numbers(perimeters, pa.float64(), unknown=np.isnan(perimeters)),
        "pixels": lambda: arrow_numbers(regions.pixels, pa.int64()),
        "confidence_mean": lambda: _shares(regions.confidence[:, 0]),
        "confidence_min": lambda: _shares(regions.confidence[:, 1]),
        "confidence_p05": lambda: _shares(regions.confidence[:, 2]),
        "region_id": lambda: arrow_numbers(numbers, pa.int64()),
        "scene": lambda: arrow_texts([scene] * len(regions)),
    }
    return {name: made[name]() for name in attributes}


def _shares(values: np.ndarray) -> pa.Array:
    return arrow_numbers(values, pa.float32(), unknown=np.isnan(values))


def _names(values: np.ndarray, classes: ClassTable | None) -> pa.Array:
    if classes is not None:
        return arrow_texts(classes.names).take(arrow_numbers(values, pa.int64()))
    present, positions = np.unique(values, return_inverse=True)
    return arrow_texts(f"class {value}" for value in present).take(arrow_numbers(positions, pa.int64()))
