"""Write polygons with GDAL's drivers: GeoPackage, FlatGeobuf, Shapefile."""

from __future__ import annotations

import json
import logging
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from queue import Queue
from threading import Thread

import pyarrow as pa

from satseg.classes import MapClass
from satseg.errors import OutputError, one_line
from satseg.files.names import layer_name, plain_target
from satseg.files.ogr import pyogrio
from satseg.geo.crs import parse_crs, short_name
from satseg.outputs.sidecars import STYLE
from satseg.qgis.style import qml
from satseg.vectorization.footprint import FOOTPRINT
from satseg.vectorization.table import CLASS, GEOMETRY, FeatureBatch, PolygonLayer, schema

log = logging.getLogger("satseg")

EPOCH = "1970-01-01T00:00:00.000Z"
"""Date written where a format requires one, so that equal runs give equal bytes."""

_DRIVERS = {".gpkg": "GPKG", ".fgb": "FlatGeobuf", ".shp": "ESRI Shapefile"}
_DBF_NAMES = {
    "perimeter_m": "perim_m",
    "confidence_mean": "conf_mean",
    "confidence_min": "conf_min",
    "confidence_p05": "conf_p05",
}
"""Field names in Shapefiles have at most ten letters."""

_WAITING = 2  # batches between tracer and writer
_STOP = object()
_FAIL = object()


class _AbortedError(Exception):
    """The writer was aborted."""


class GDALWriter:
    """Feeds an Arrow stream to GDAL in a thread of its own, while tracing continues.

    Args:
        path: File to write; its suffix determines the driver.
        layer: The layer.
    """

    def __init__(self, path: Path, layer: PolygonLayer) -> None:
        self._path = path
        self._layer = layer
        self._queue: Queue[object] = Queue(_WAITING)
        self._schema = schema(layer.attributes)
        if path.suffix.lower() == ".shp":
            names = [_DBF_NAMES.get(name, name) for name in self._schema.names]
            log.info(
                "%s: a Shapefile holds at most 2 GB, and its field names are shortened to ten letters: %s.",
                path.name,
                ", ".join(f"{old} is {new}" for old, new in zip(self._schema.names, names, strict=True) if old != new),
            )
            if layer.crs is not None and parse_crs(layer.crs).is_bound:
                log.warning(
                    "%s: a Shapefile cannot store the datum shift of %s; a GeoPackage can.",
                    path.name,
                    short_name(layer.crs),
                )
            self._schema = pa.schema([field.with_name(name) for field, name in zip(self._schema, names, strict=True)])
        self._error: BaseException | None = None
        self._ended = False  # whether the thread has taken the last item
        self._present: set[int] = set()  # ids of classes that have been written
        self._thread = Thread(target=self._run, name=f"write {path.name}", daemon=True)
        self._thread.start()

    def write(self, batch: FeatureBatch) -> None:
        """Queue a batch; waits while the queue is full."""
        rows = batch.to_arrow()
        if CLASS in rows.schema.names:
            self._present.update(rows.column(CLASS).unique().to_pylist())
        self._put(rows.rename_columns(self._schema.names))

    def close(self) -> None:
        """Wait for the writer and finish the file."""
        self._put(_STOP)
        self._thread.join()
        self._raise_error()

    def abort(self) -> None:
        """Stop the writer."""
        if self._thread.is_alive():
            self._queue.put(_FAIL)
            self._thread.join()

    def _put(self, item: object) -> None:
        self._raise_error()
        self._queue.put(item)

    def _raise_error(self) -> None:
        if self._error is not None:
            raise OutputError(
                f"Cannot write {self._path.name}: {one_line(self._error)}.",
                hint="The disk may be full, or the polygons too many for the format: use GeoPackage or GeoParquet.",
            ) from self._error

    def _batches(self) -> Iterator[pa.RecordBatch]:
        while (item := self._queue.get()) is not _STOP:
            if item is _FAIL:
                self._ended = True
                raise _AbortedError
            yield item
        self._ended = True

    def _run(self) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a missing CRS has been reported already
                self._write_all()
        except BaseException as error:
            self._error = error
            while not self._ended and self._queue.get() not in (_STOP, _FAIL):
                pass  # drain the queue, so that the tracer does not block

    def _write_all(self) -> None:
        driver = _DRIVERS[self._path.suffix.lower()]
        with plain_target(self._path) as target:
            pyogrio.write_arrow(
                pa.RecordBatchReader.from_batches(self._schema, self._batches()),
                str(target),
                layer=layer_name(self._path.stem),
                driver=driver,
                geometry_name=GEOMETRY,
                geometry_type=self._layer.geometry_type,
                crs=self._layer.crs,
                encoding="UTF-8" if driver == "ESRI Shapefile" else None,
                **_options(driver, self._layer),
            )
            if driver == "GPKG":
                _finish_geopackage(target, self._layer.footprint.text)
                classes = styled_classes(self._layer, self._present)
                if classes:
                    self._path.with_suffix(STYLE).write_text(qml(classes), encoding="utf-8")


def _options(driver: str, layer: PolygonLayer) -> dict[str, object]:
    if driver == "GPKG":
        return {
            "layer_metadata": dict(layer.provenance),
            "layer_options": {"SPATIAL_INDEX": "YES", "GEOMETRY_NAME": "geom"},
        }
    if driver == "FlatGeobuf":
        return {"layer_options": {"DESCRIPTION": json.dumps(dict(layer.provenance))}}
    return {"layer_options": {"DBF_DATE_LAST_UPDATE": EPOCH[:10], "2GB_LIMIT": "NO", "SPATIAL_INDEX": "YES"}}


def styled_classes(layer: PolygonLayer, present: set[int]) -> list[MapClass]:
    """Return the classes of a style: those in the layer, and those with a name."""
    if layer.classes is None or CLASS not in layer.attributes:
        return []
    return [entry for entry in layer.classes if entry.id in present or entry.name != f"class {entry.id}"]


def _finish_geopackage(path: Path, footprint: str | None) -> None:
    """Add the footprint of the maps to the metadata of the layer, and reset the dates.

    Args:
        path: File with one layer.
        footprint: Footprint of all maps, which is complete only now; None if unknown.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")  # the file is temporary; waiting for the disk takes seconds
        if footprint is not None:
            connection.execute(
                "UPDATE gpkg_metadata SET metadata = replace(metadata, '  </Metadata>', ?)",
                (f'    <MDI key="{FOOTPRINT}">{footprint}</MDI>\n  </Metadata>',),
            )
        connection.execute("UPDATE gpkg_contents SET last_change = ?", (EPOCH,))
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'gpkg_metadata_reference'").fetchone():
            connection.execute("UPDATE gpkg_metadata_reference SET timestamp = ?", (EPOCH,))
