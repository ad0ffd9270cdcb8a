"""Polygons of a vector file, streamed once into an unnamed file on disk, from where those near a place are fetched."""

from __future__ import annotations

import json
import logging
import mmap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from shapely.errors import ShapelyError

from satseg.errors import LabelError
from satseg.fields import FieldError, Fields, parse_json, shown
from satseg.files.causes import cause, remedy
from satseg.files.names import is_local_file, split_layer, vector_name
from satseg.geo.crs import crs_name
from satseg.geo.layer_crs import layer_crs
from satseg.geo.polygons import AREAL, Bounds, is_finite, meet, repair

log = logging.getLogger("satseg")

_BATCH = 8192
_SMALL = 2**18  # bytes
_SIDES = ("left", "bottom", "right", "top")
_SCHEMA = pa.schema(
    [*((side, pa.float64()) for side in _SIDES), ("kind", pa.int32()), ("rank", pa.float64()), ("wkb", pa.binary())]
)


@dataclass(frozen=True)
class Features:
    """Polygons near a place, in the order of their file.

    Args:
        geometries: Valid polygons and multipolygons in the CRS of their file.
        kinds: int32 kind of each, as the reader of the file numbered them.
        ranks: float64; those of higher rank lie on top.
        numbers: int64 position of each among all that the store holds.
    """

    geometries: np.ndarray
    kinds: np.ndarray
    ranks: np.ndarray
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.geometries)


class FeatureStore:
    """Valid polygons on disk, in the order they came, mapped into memory as the system sees fit; few are held there.

    A million buildings take some 200 MB of disk and a few megabytes of memory. The file has no name, so that nothing
    is left of it, however the process ends.
    """

    def __init__(self) -> None:
        self.count = 0
        self.repaired = 0
        self.dropped = 0
        self.infinite = 0
        self._file = TemporaryFile(prefix="satseg-labels-")  # noqa: SIM115 - it lives as long as the store
        self._writer = pa.ipc.new_file(pa.PythonFile(self._file, "w"), _SCHEMA)
        self._extents: list[Bounds] = []
        self._batches: list[pa.RecordBatch] = []

    def add(self, geometries: np.ndarray, kinds: np.ndarray, ranks: np.ndarray) -> None:
        """Add features: geometries are repaired, and those that hold no polygon left out.

        So are those with coordinates that are not finite, as failed changes of CRS leave them; they are counted apart.
        """
        finite = is_finite(geometries)
        self.infinite += int((~finite).sum())
        geometries, kinds, ranks = geometries[finite], kinds[finite], ranks[finite]
        valid = shapely.is_valid(geometries)
        sound = valid & np.isin(shapely.get_type_id(geometries), AREAL) & ~shapely.is_empty(geometries)
        if not sound.all():
            mended = repair(geometries[~sound])
            self.dropped += int(shapely.is_missing(mended).sum())
            self.repaired += int((~shapely.is_missing(mended) & ~valid[~sound]).sum())
            geometries = geometries.copy()
            geometries[~sound] = mended
        usable = ~shapely.is_missing(geometries)
        geometries = geometries[usable]
        if not len(geometries):
            return
        bounds = shapely.bounds(geometries)
        columns = [*bounds.T, kinds[usable], ranks[usable], shapely.to_wkb(geometries)]
        self._writer.write_batch(pa.record_batch([pa.array(column) for column in columns], schema=_SCHEMA))
        self._extents.append((*bounds[:, :2].min(axis=0).tolist(), *bounds[:, 2:].max(axis=0).tolist()))
        self.count += len(geometries)

    def finish(self) -> None:
        """End adding; from here on features can be fetched."""
        self._writer.close()
        self._file.flush()
        if self._file.tell() <= _SMALL:  # thousands of scenes may have labels of their own, and files open are few
            self._file.seek(0)
            reader = pa.ipc.open_file(pa.py_buffer(self._file.read()))
            self._file.close()
        else:
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            reader = pa.ipc.open_file(pa.py_buffer(mapped))
        self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]

    @property
    def extent(self) -> Bounds:
        """Bounds of all features together."""
        sides = np.array(self._extents)
        left, bottom = sides[:, :2].min(axis=0).tolist()
        right, top = sides[:, 2:].max(axis=0).tolist()
        return left, bottom, right, top

    def near(self, boxes: Sequence[Bounds] | None = None) -> Iterator[Features]:
        """Yield the features whose bounds meet any box (None: all), some thousand at a time, in their order."""
        first = 0
        for extent, batch in zip(self._extents, self._batches, strict=True):
            first, before = first + len(batch), first
            if boxes is not None and not any(meet(extent, box) for box in boxes):
                continue
            sides = [batch.column(side).to_numpy() for side in _SIDES]
            close = np.full(len(batch), boxes is None)
            for box in boxes or ():
                close |= meet(sides, box)
            found = np.flatnonzero(close)
            if len(found):
                chosen = batch.take(pa.array(found))
                wkb = chosen.column("wkb").to_numpy(zero_copy_only=False)
                kinds, ranks = chosen.column("kind").to_numpy(), chosen.column("rank").to_numpy()
                yield Features(shapely.from_wkb(wkb), kinds, ranks, before + found)


@dataclass(frozen=True)
class VectorLayer:
    """One layer of a vector file.

    Args:
        path: File, without the layer.
        name: Name of the layer; of a Parquet file, which has none, that of the file as GDAL takes it.
        fields: Names of its attributes.
        crs: ``EPSG:...``, where it is that exactly, or WKT; None where it states none.
        count: Features, whether they have a polygon or not; negative where the file does not tell.
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
        """Find the layer: that of ``file.gpkg|layername=roads`` (as QGIS writes it), else the first with geometries.

        Raises:
            LabelError: It is no vector file, or has no such layer.
        """
        file, wanted = split_layer(path)
        if is_parquet(file):  # the GDAL that comes with pyogrio does not read it
            return cls._open_parquet(file)
        with _readable(file), vector_name(file) as spelt:
            spatial = [str(name) for name, kind in pyogrio.list_layers(spelt) if kind is not None]
            if wanted and wanted not in spatial:
                raise LabelError(f"{file} has no layer {wanted!r} with geometries; it has {', '.join(spatial)}.")
            if not spatial:
                raise LabelError(f"{file} has no layer with geometries.")
            if len(spatial) > 1 and not wanted:
                log.warning("%s has %d layers; labels are read from %r.", file, len(spatial), spatial[0])
            name = wanted or spatial[0]
            info = pyogrio.read_info(spelt, layer=name)
            crs = layer_crs(file, spelt, name, info)
        return cls(file, name, tuple(info["fields"]), crs, int(info["features"]))

    @classmethod
    def _open_parquet(cls, path: str) -> VectorLayer:
        with _readable(path), _parquet(path) as file:
            names = file.schema_arrow.names
            described = (file.metadata.metadata or {}).get(b"geo")  # the schema has it only where no other is kept
            count = file.metadata.num_rows
        if described is None:
            raise LabelError(f"{path} is no GeoParquet file: it does not say which column holds geometries.")
        with _readable(path):
            geometry, column = _geometry_column(described, names)
            crs = column.get("crs", "OGC:CRS84")  # the default of the specification; null is unknown
            named = None if crs is None else crs_name(crs if isinstance(crs, str) else json.dumps(crs))
        if column["encoding"] != "WKB":
            raise LabelError(f"{path} holds geometries as {shown(column['encoding'])}, not as WKB.")
        return cls(path, Path(path).stem, tuple(name for name in names if name != geometry), named, count, geometry)

    def told(self) -> dict[str, str]:
        """Return what the layer tells of itself by name, as satseg and others write it; nothing where it cannot."""
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
                hint=f"It has {', '.join(self.fields)}." if self.fields else "It has no attributes at all.",
            )

    def batches(self, fields: list[str], where: str | None = None) -> Iterator[tuple[np.ndarray, dict[str, list[Any]]]]:
        """Stream the layer.

        Args:
            fields: Attributes to read.
            where: Condition in SQL that features must meet.

        Yields:
            Geometries in two dimensions, None where there is none, and the attributes by name.

        Raises:
            LabelError: The file is damaged, or the condition is not understood.
        """
        if is_parquet(self.path):
            yield from self._parquet_batches(fields, where)
            return
        try:
            with (
                _readable(self.path),
                vector_name(self.path) as spelt,
                pyogrio.open_arrow(
                    spelt, layer=self.name, columns=fields, where=where, batch_size=_BATCH, use_pyarrow=True
                ) as (meta, reader),
            ):
                geometry = meta["geometry_name"] or "wkb_geometry"
                for batch in reader:
                    wkb = batch.column(geometry).to_numpy(zero_copy_only=False)
                    yield (
                        _parse(wkb),
                        {field: batch.column(field).to_pylist() for field in fields},
                    )
        except LabelError as error:
            if where is not None:
                error.hint = f"The condition was --where {where!r}."
            raise

    def _parquet_batches(self, fields: list[str], where: str | None) -> Iterator[Any]:
        if where is not None:
            raise LabelError(
                f"{self.path} cannot be asked for --where {where!r}: Parquet files are read without SQL.",
                hint="Convert it to a GeoPackage: ogr2ogr labels.gpkg FILE",
            )
        with _readable(self.path), _parquet(self.path) as file:
            for batch in file.iter_batches(_BATCH, columns=[self.geometry, *fields]):
                wkb = batch.column(self.geometry).to_numpy(zero_copy_only=False)
                yield (
                    _parse(wkb),
                    {field: batch.column(field).to_pylist() for field in fields},
                )


def _geometry_column(described: bytes, names: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the name of the column of geometries, one of ``names``, and what GeoParquet says of it."""
    geo = Fields(parse_json(described), "geo")
    geometry = geo.text("primary_column")
    if geometry not in names:
        raise FieldError(f"geo.primary_column is {shown(geometry)}, and there is no such column")
    column = geo.part("columns").part(geometry)
    column.value("encoding")
    return geometry, column.entries()


def has_features(path: str) -> bool:
    """Tell whether a file has a layer with geometries."""
    try:
        with vector_name(split_layer(path)[0]) as spelt:
            return any(kind is not None for _, kind in pyogrio.list_layers(spelt))
    except (DataSourceError, DataLayerError):
        return False


def _parse(wkb: np.ndarray) -> np.ndarray:
    geometries: np.ndarray = shapely.from_wkb(wkb)
    return shapely.force_2d(geometries) if shapely.has_z(geometries).any() else geometries


def is_parquet(path: str) -> bool:
    """Tell whether a vector file is GeoParquet, by its name."""
    return path.lower().endswith((".parquet", ".geoparquet"))


@contextmanager
def _parquet(path: str) -> Iterator[pq.ParquetFile]:
    """Open a file under exactly its name, which pyarrow would take for a URI or a pattern; it may be a URI, too."""
    with ExitStack() as stack:
        source = stack.enter_context(open(path, "rb")) if is_local_file(path) else path
        yield stack.enter_context(pq.ParquetFile(source))


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Say in one sentence what the libraries raise on files that they cannot read."""
    try:
        yield
    except (DataSourceError, DataLayerError) as error:
        raise LabelError(f"Labels {path} cannot be read: {cause(error)}.", hint=remedy(error)) from error
    except (ValueError, RuntimeError, OSError, ShapelyError, pa.ArrowException) as error:
        told = f"Labels {path} hold features that cannot be read: {cause(error)}."
        raise LabelError(told, hint=remedy(error)) from error
