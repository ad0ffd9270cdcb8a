"""Vector formats by file name."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from satseg.errors import UsageError
from satseg.vectorization.layer import Layer, Writer

VECTOR_SUFFIXES = (".gpkg", ".parquet", ".fgb", ".geojson", ".geojsonl", ".shp")
"""Suffixes of the formats that polygons are written in."""


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
    if suffix in (".geojson", ".geojsonl"):
        from satseg.vectorization.geojson_writer import GeoJSONWriter

        return GeoJSONWriter(target, layer, collection=suffix == ".geojson")
    assert isinstance(target, Path)
    if suffix == ".parquet":
        from satseg.vectorization.parquet_writer import ParquetWriter

        return ParquetWriter(target, layer)
    from satseg.vectorization.gdal_writer import GDALWriter

    return GDALWriter(target, layer)
