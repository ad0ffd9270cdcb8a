"""Vector formats by file name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from satseg.errors import UsageError
from satseg.vectorization.layer import Layer, Writer

if TYPE_CHECKING:
    from satseg.records import SceneInfo

VECTOR_SUFFIXES = (".gpkg", ".parquet", ".fgb", ".geojson", ".geojsonl", ".shp")
"""Suffixes of the formats that polygons are written in."""

_IN_DEGREES = (".geojson", ".geojsonl")  # always in longitude and latitude


def suffix_of(path: Path) -> str:
    """Return the suffix of a vector file in lower case.

    Raises:
        UsageError: It names no format that polygons are written in.
    """
    suffix = path.suffix.lower()
    if suffix not in VECTOR_SUFFIXES:
        raise UsageError(
            f"{path} names no vector format that satseg writes.", hint=f"Use one of {' '.join(VECTOR_SUFFIXES)}."
        )
    return suffix


def open_writer(target: Path | IO[str], layer: Layer) -> Writer:
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


def require_way(scene: SceneInfo, crs: str | None, targets: Iterable[Path | IO[str]]) -> None:
    """Check that polygons of a scene can be brought to where they are written.

    Args:
        scene: The grid of their map.
        crs: The CRS that was asked for, or None.
        targets: Files, and text streams.

    Raises:
        UsageError: The scene has no CRS to come from.
        OutputError: There is no way between its CRS and that of an output.
    """
    from satseg.vectorization.geojson_writer import CRS84
    from satseg.vectorization.reproject import transformer_between

    for target in targets:
        if crs is not None and scene.crs is None:
            raise UsageError(f"{scene.path} has no CRS to come from.", hint="Drop --crs.")
        degrees = not isinstance(target, Path) or target.suffix.lower() in _IN_DEGREES
        for wanted in (crs, CRS84 if degrees else None):
            if wanted is not None and scene.crs is not None:
                transformer_between(scene.crs, wanted)
