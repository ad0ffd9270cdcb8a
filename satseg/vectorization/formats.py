"""Vector formats by file name, and the interface of their writers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from satseg.errors import UsageError

if TYPE_CHECKING:
    from satseg.records import SceneInfo
    from satseg.vectorization.table import FeatureBatch, PolygonLayer

STDOUT = "-"
"""Name of standard output in lists of outputs."""

VECTOR_SUFFIXES = (".gpkg", ".parquet", ".fgb", ".geojson", ".geojsonl", ".shp")
"""Suffixes of the formats that polygons are written in."""

_IN_DEGREES = (".geojson", ".geojsonl")  # always in longitude and latitude


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
