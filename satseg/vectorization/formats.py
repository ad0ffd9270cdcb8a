"""Vector formats by file name, the layer that is written, and the interface of the writers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from satseg.errors import UsageError
from satseg.vectorization.footprint import Footprint

if TYPE_CHECKING:
    from satseg.classes import ClassTable
    from satseg.records import SceneInfo
    from satseg.vectorization.table import FeatureBatch

VECTOR_SUFFIXES = (".gpkg", ".parquet", ".fgb", ".geojson", ".geojsonl", ".shp")
"""Suffixes of the formats that polygons are written in."""

_IN_DEGREES = (".geojson", ".geojsonl")  # always in longitude and latitude


@dataclass(frozen=True)
class PolygonLayer:
    """A layer of polygons.

    Args:
        attributes: Names of its columns (see :mod:`~satseg.vectorization.settings`); the geometry comes last.
        multi: Whether geometries are multipolygons. In GeoJSON, polygons cut at the antimeridian are in any case.
        coverage: Whether polygons match their neighbours vertex by vertex; if not, each is made valid on its own.
        crs: CRS of the polygons, or None.
        pixel: Approximate side of a pixel of the (first) map in units of the CRS.
        metres: The same in metres on the ground; 1 if unknown.
        classes: Names and colours, or None if values are ids.
        provenance: Origin of the polygons, as name and value.
        footprint: Footprint of the maps, which grows until the layer is complete.
    """

    attributes: tuple[str, ...]
    multi: bool
    coverage: bool
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


class Writer(Protocol):
    """Writes batches of features to one output."""

    def write(self, batch: FeatureBatch) -> None:
        """Take the next batch.

        Raises:
            OutputError: It cannot be written.
        """
        ...

    def close(self) -> None:
        """Complete the output.

        Raises:
            OutputError: It cannot be written.
        """
        ...

    def abort(self) -> None:
        """Stop, leaving the output incomplete."""
        ...


def suffix_of(path: Path) -> str:
    """Return the suffix of a vector file in lower case.

    Raises:
        UsageError: Polygons cannot be written in that format.
    """
    suffix = path.suffix.lower()
    if suffix not in VECTOR_SUFFIXES:
        raise UsageError(
            f"satseg cannot write the vector format of {path}.", hint=f"Use one of {' '.join(VECTOR_SUFFIXES)}."
        )
    return suffix


def open_writer(target: Path | IO[str], layer: PolygonLayer) -> Writer:
    """Open the writer for a file by its suffix; a text stream takes GeoJSONSeq.

    Raises:
        OutputError: The file cannot be written.
    """
    suffix = suffix_of(target) if isinstance(target, Path) else ".geojsonl"
    if suffix in _IN_DEGREES:
        from satseg.vectorization.geojson_writer import GeoJSONWriter

        return GeoJSONWriter(target, layer, collection=suffix == ".geojson")
    assert isinstance(target, Path)
    if suffix == ".parquet":
        from satseg.vectorization.parquet_writer import ParquetWriter

        return ParquetWriter(target, layer)
    from satseg.vectorization.gdal_writer import GDALWriter

    return GDALWriter(target, layer)


def require_transformation(scene: SceneInfo, crs: str | None, targets: Iterable[Path | IO[str]]) -> None:
    """Check that polygons of a scene can be reprojected to the CRS of each output.

    Args:
        scene: The grid of their map.
        crs: The CRS of the polygons, or None for that of the scene.
        targets: Files and text streams.

    Raises:
        UsageError: The scene has no CRS.
        OutputError: PROJ knows no transformation between its CRS and that of an output.
    """
    from satseg.vectorization.geojson_writer import CRS84
    from satseg.vectorization.reproject import transformer_between

    for target in targets:
        if crs is not None and scene.crs is None:
            raise UsageError(f"{scene.path} has no CRS to transform from.", hint="Leave out `crs`.")
        degrees = not isinstance(target, Path) or target.suffix.lower() in _IN_DEGREES
        for wanted in (crs, CRS84 if degrees else None):
            if wanted is not None and scene.crs is not None:
                transformer_between(scene.crs, wanted)
