"""Read layers of vector files: every format that OGR opens, and GeoParquet.

All polygons that the package takes come through here: labels, areas of interest, regions and polygons to evaluate.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from shapely.errors import ShapelyError

from satseg.errors import LabelError
from satseg.fields import FieldError, Fields, parse_json, shown
from satseg.files.causes import cause, remedy
from satseg.files.names import is_local_file, split_layer, vector_name
from satseg.files.ogr import DataLayerError, DataSourceError, pyogrio
from satseg.geo.crs import identify_crs
from satseg.geo.layer_crs import layer_crs

log = logging.getLogger("satseg")

BATCH_FEATURES = 8192  # features


@dataclass(frozen=True)
class VectorLayer:
    """A layer of a vector file.

    Args:
        path: File, without the layer.
        name: Name of the layer; for Parquet, which has no layers, the stem of the file.
        fields: Names of its attributes.
        crs: ``EPSG:...`` if it is exactly that CRS, else WKT; None if it has none.
        count: Features, with or without a polygon; negative if the file does not say.
        geometry: Column of the geometries in a Parquet file; empty for others.
    """

    path: str
    name: str
    fields: tuple[str, ...]
    crs: str | None
    count: int
    geometry: str = ""

    @classmethod
    def open(cls, path: str) -> VectorLayer:
        """Open a layer: the one in ``file.gpkg|layername=roads`` (QGIS syntax), else the first with geometries.

        Raises:
            LabelError: The file does not exist, is not a vector file, or has no such layer.
        """
        file, wanted = split_layer(path)
        _require_file(file)
        if is_parquet(file):  # the GDAL that comes with pyogrio does not read it
            return cls._open_parquet(file)
        with _readable(file), vector_name(file) as spelt:
            spatial = [str(name) for name, kind in pyogrio.list_layers(spelt) if kind is not None]
            if not spatial:
                raise LabelError(f"{file} has no layer with geometries.")
            if wanted and wanted not in spatial:
                raise LabelError(f"{file} has no layer {wanted!r} with geometries; it has {', '.join(spatial)}.")
            if len(spatial) > 1 and not wanted:
                log.warning("%s has %d layers; %r is read.", file, len(spatial), spatial[0])
            name = wanted or spatial[0]
            info = pyogrio.read_info(spelt, layer=name)
            crs = layer_crs(file, spelt, name, info)
        return cls(file, name, tuple(info["fields"]), crs, int(info["features"]))

    @classmethod
    def _open_parquet(cls, path: str) -> VectorLayer:
        with _readable(path), _parquet(path) as file:
            names = file.schema_arrow.names
            described = (file.metadata.metadata or {}).get(b"geo")  # the Arrow schema may lack it
            count = file.metadata.num_rows
        if described is None:
            raise LabelError(f"{path} is not a GeoParquet file: it does not name a geometry column.")
        with _readable(path):
            geometry, column = _geometry_column(described, names)
            crs = column.get("crs", "OGC:CRS84")  # the default of the specification; null means unknown
            code = None if crs is None else identify_crs(crs if isinstance(crs, str) else json.dumps(crs))
        if column["encoding"] != "WKB":
            raise LabelError(f"{path} encodes geometries as {shown(column['encoding'])}, not as WKB.")
        return cls(path, Path(path).stem, tuple(name for name in names if name != geometry), code, count, geometry)

    def metadata(self) -> dict[str, str]:
        """Return the metadata of the layer by name; empty if it cannot be read."""
        try:
            if is_parquet(self.path):
                with _parquet(self.path) as file:
                    raw = file.metadata.metadata or {}
                return {name.decode(): value.decode() for name, value in raw.items()}
            with vector_name(self.path) as spelt:
                return dict(pyogrio.read_info(spelt, layer=self.name)["layer_metadata"] or {})
        except (DataSourceError, DataLayerError, OSError, ValueError, pa.ArrowException):
            return {}

    def require(self, field: str) -> None:
        """Refuse a field that the layer does not have.

        Raises:
            LabelError: It has no such attribute.
        """
        if field not in self.fields:
            raise LabelError(
                f"{self.path} has no attribute {field!r}.",
                hint=f"Its attributes are {', '.join(self.fields)}." if self.fields else "It has no attributes.",
            )

    def has_numbers(self, field: str) -> bool:
        """Tell whether the layer has a field, and this holds numbers."""
        if field not in self.fields:
            return False
        if is_parquet(self.path):
            with _readable(self.path), _parquet(self.path) as file:
                kind = file.schema_arrow.field(field).type
            return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
        with _readable(self.path), vector_name(self.path) as spelt:
            info = pyogrio.read_info(spelt, layer=self.name)
        return np.dtype(info["dtypes"][list(info["fields"]).index(field)]).kind in "iuf"

    def geometries(self) -> np.ndarray:
        """Return all geometries in two dimensions, (N,) objects; None for features without one.

        Raises:
            LabelError: The file is damaged.
        """
        return np.concatenate([np.empty(0, dtype=object), *(geometries for geometries, _ in self.batches([]))])

    def batches(self, fields: list[str], where: str | None = None) -> Iterator[tuple[np.ndarray, dict[str, list[Any]]]]:
        """Stream the layer.

        Args:
            fields: Attributes to read.
            where: SQL condition that selects features.

        Yields:
            Geometries in two dimensions, None for features without one, and the attributes by name.

        Raises:
            LabelError: The file is damaged, or the condition is invalid.
        """
        if is_parquet(self.path):
            yield from self._parquet_batches(fields, where)
            return
        try:
            with (
                _readable(self.path),
                vector_name(self.path) as spelt,
                pyogrio.open_arrow(
                    spelt, layer=self.name, columns=fields, where=where, batch_size=BATCH_FEATURES, use_pyarrow=True
                ) as (meta, reader),
            ):
                for batch in reader:
                    yield _columns(batch, meta["geometry_name"] or "wkb_geometry", fields)
        except LabelError as error:
            if where is not None:
                error.hint = f"The condition was `where={where!r}`."
            raise

    def _parquet_batches(self, fields: list[str], where: str | None) -> Iterator[Any]:
        if where is not None:
            raise LabelError(
                f"{self.path} is a Parquet file, which does not support the SQL condition `where={where!r}`.",
                hint="Convert it to a GeoPackage: ogr2ogr labels.gpkg FILE",
            )
        with _readable(self.path), _parquet(self.path) as file:
            for batch in file.iter_batches(BATCH_FEATURES, columns=[self.geometry, *fields], use_threads=False):
                yield _columns(batch, self.geometry, fields)


def has_features(path: str) -> bool:
    """Tell whether OGR finds a layer with geometries in a file."""
    try:
        with vector_name(split_layer(path)[0]) as spelt:
            return any(kind is not None for _, kind in pyogrio.list_layers(spelt))
    except (DataSourceError, DataLayerError):
        return False


def is_parquet(path: str) -> bool:
    """Tell whether a vector file is GeoParquet, by its name."""
    return path.lower().endswith((".parquet", ".geoparquet"))


def _require_file(path: str) -> None:
    if not is_local_file(path):
        return
    if not os.path.exists(path):
        raise LabelError(f"{path} does not exist.")
    if Path(path).is_fifo():  # GDAL would wait for a writer
        raise LabelError(f"{path} is a pipe, not a file.", hint="Write its contents to a file first.")


def _geometry_column(described: bytes, names: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the name of the geometry column, one of ``names``, and its GeoParquet metadata."""
    geo = Fields(parse_json(described), "geo")
    geometry = geo.text("primary_column")
    if geometry not in names:
        raise FieldError(f"geo.primary_column is {shown(geometry)}, and there is no such column")
    column = geo.part("columns").part(geometry)
    column.value("encoding")
    return geometry, column.entries()


def _columns(batch: pa.RecordBatch, geometry: str, fields: Sequence[str]) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """Return the geometries of a batch in two dimensions, and its attributes by name."""
    geometries: np.ndarray = shapely.from_wkb(batch.column(geometry).to_numpy(zero_copy_only=False))
    if shapely.has_z(geometries).any():
        geometries = shapely.force_2d(geometries)
    return geometries, {field: batch.column(field).to_pylist() for field in fields}


@contextmanager
def _parquet(path: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file by exactly its name, which pyarrow might take for a URI or a pattern; or by its URI."""
    with ExitStack() as stack:
        source = stack.enter_context(open(path, "rb")) if is_local_file(path) else path
        yield stack.enter_context(pq.ParquetFile(source, pre_buffer=False))


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Raise the exceptions of the libraries about unreadable files as one sentence."""
    try:
        yield
    except (DataSourceError, DataLayerError) as error:
        raise LabelError(f"{path} cannot be read as a vector file: {cause(error)}.", hint=remedy(error)) from error
    except (ValueError, RuntimeError, OSError, ShapelyError, pa.ArrowException) as error:
        message = f"{path} holds features that cannot be read: {cause(error)}."
        raise LabelError(message, hint=remedy(error)) from error
