"""Write polygons as GeoJSON and GeoJSONSeq, always in longitude and latitude (OGC:CRS84)."""

from __future__ import annotations

import io
import json
import math
import warnings
from pathlib import Path
from typing import IO

import pyarrow as pa

from satseg.errors import OutputError, one_line
from satseg.files.ogr import pyogrio
from satseg.geo.crs import METRES_PER_DEGREE, metres_per_unit
from satseg.vectorization.reproject import Reprojection
from satseg.vectorization.table import GEOMETRY, FeatureBatch, PolygonLayer
from satseg.vectorization.validity import make_valid

CRS84 = "OGC:CRS84"


class GeoJSONWriter:
    """Writes one feature per line, as GeoJSONSeq or in a FeatureCollection (GeoJSON).

    Args:
        target: File to write, or an open text stream, which is not closed.
        layer: The layer.
        collection: Whether features are wrapped in a FeatureCollection.
    """

    def __init__(self, target: Path | IO[str], layer: PolygonLayer, *, collection: bool) -> None:
        self._target = target
        self._collection = collection
        self._first = True
        self._digits = _digits(layer)
        self._geometry_type = layer.geometry_type
        self._repair = layer.repair
        self._to_degrees = Reprojection(layer.crs, CRS84, pixel=layer.pixel, metres=layer.metres) if layer.crs else None
        try:
            self._file = target.open("w", encoding="utf-8", newline="\n") if isinstance(target, Path) else target
        except OSError as error:
            raise OutputError(f"Cannot write {target}: {error.strerror}.") from error
        if collection:
            head = json.dumps({"type": "FeatureCollection", "provenance": dict(layer.provenance)})
            self._put(head[:-1] + ', "features": [')

    def write(self, batch: FeatureBatch) -> None:
        """Write a batch of features."""
        if self._to_degrees is not None:
            batch = self._to_degrees.apply(batch)
        if self._repair:
            batch, _ = make_valid(batch, grid=10.0**-self._digits)
        kind = "Unknown" if batch.mixed else self._geometry_type  # polygons cut at the antimeridian have several parts
        text = _encode(batch.to_arrow(), kind, self._digits)
        if self._collection:
            self._put(("\n" if self._first else ",\n") + ",\n".join(text.splitlines()))
        else:
            self._put(text)
        self._first = False

    def close(self) -> None:
        """Complete the text; a stream is flushed, not closed."""
        if self._collection:
            self._put("\n]}\n")
        try:
            self._file.flush()
            self._close_file()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._failure(error) from error

    def abort(self) -> None:
        """Close the incomplete file."""
        self._close_file()

    def _close_file(self) -> None:
        if isinstance(self._target, Path):
            self._file.close()

    def _put(self, text: str) -> None:
        try:
            self._file.write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> OutputError:
        name = self._target.name if isinstance(self._target, Path) else "to stdout"
        return OutputError(f"Cannot write {name}: {one_line(error)}.")


def _digits(layer: PolygonLayer) -> int:
    """Return the number of decimals for a precision of at least a thousandth of a pixel."""
    pixel = layer.pixel
    if layer.crs:
        pixel *= metres_per_unit(layer.crs) * (1 / METRES_PER_DEGREE)
    return min(15, max(7, 3 - math.floor(math.log10(pixel))))


def _encode(rows: pa.RecordBatch, geometry_type: str, digits: int) -> str:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyogrio.write_arrow(
            pa.Table.from_batches([rows]),
            buffer,
            driver="GeoJSONSeq",
            layer="polygons",
            geometry_name=GEOMETRY,
            geometry_type=geometry_type,
            crs=CRS84,
            layer_options={"RS": "NO", "COORDINATE_PRECISION": str(digits)},
        )
    return buffer.getvalue().decode("utf-8")
