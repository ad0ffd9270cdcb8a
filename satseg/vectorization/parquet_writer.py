"""Write polygons as GeoParquet 1.1."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from satseg.errors import OutputError, one_line
from satseg.files.arrow import arrow_numbers
from satseg.geo.crs import parse_crs
from satseg.vectorization.footprint import FOOTPRINT
from satseg.vectorization.table import GEOMETRY, FeatureBatch, PolygonLayer, schema

_ROW_GROUP = 8192
_BOX = ("xmin", "ymin", "xmax", "ymax")
_BBOX_TYPE = pa.struct([pa.field(name, pa.float64()) for name in _BOX])


class ParquetWriter:
    """Writes batches as row groups, the rows of a batch in the order of a space-filling curve.

    Args:
        path: File to write.
        layer: The layer.
    """

    def __init__(self, path: Path, layer: PolygonLayer) -> None:
        self._path = path
        self._layer = layer
        self._low = np.full(2, np.inf)
        self._high = np.full(2, -np.inf)
        try:
            columns = schema(layer.attributes).append(pa.field("bbox", _BBOX_TYPE))
            self._file = path.open("wb")  # pyarrow may take a name for a URI
            self._writer = pq.ParquetWriter(self._file, columns, compression="zstd", compression_level=3)
        except (OSError, pa.ArrowException) as error:
            raise OutputError(f"Cannot write {path.name}: {one_line(error)}.") from error

    def write(self, batch: FeatureBatch) -> None:
        """Write a batch as row groups."""
        bounds = batch.bounds()
        self._low = np.minimum(self._low, bounds[:, :2].min(axis=0))
        self._high = np.maximum(self._high, bounds[:, 2:].max(axis=0))
        boxes = pa.StructArray.from_arrays(
            [arrow_numbers(side, pa.float64()) for side in bounds.T], fields=list(_BBOX_TYPE)
        )
        rows = batch.to_arrow().append_column("bbox", boxes).take(arrow_numbers(_curve_order(bounds), pa.int64()))
        try:
            self._writer.write_batch(rows, row_group_size=_ROW_GROUP)
        except (OSError, pa.ArrowException) as error:
            raise OutputError(f"Cannot write {self._path.name}: {one_line(error)}.") from error

    def close(self) -> None:
        """Write the metadata and close the file."""
        metadata = {"geo": json.dumps(self._geo()), **self._layer.provenance}
        if (ground := self._layer.footprint.text) is not None:
            metadata[FOOTPRINT] = ground
        try:
            self._writer.add_key_value_metadata(metadata)
            self._writer.close()
            self._file.close()
        except (OSError, pa.ArrowException) as error:
            raise OutputError(f"Cannot write {self._path.name}: {one_line(error)}.") from error

    def abort(self) -> None:
        """Close the incomplete file."""
        self._writer.close()
        self._file.close()

    def _geo(self) -> dict[str, object]:
        crs = self._layer.crs
        column = {
            "encoding": "WKB",
            "geometry_types": [self._layer.geometry_type],
            "crs": parse_crs(crs).to_json_dict() if crs else None,
            "orientation": "counterclockwise",
            "covering": {"bbox": {side: ["bbox", side] for side in _BOX}},
        }
        if np.isfinite(self._low).all():
            column["bbox"] = [*self._low.tolist(), *self._high.tolist()]
        return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


def _curve_order(bounds: np.ndarray) -> np.ndarray:
    """Return the order of boxes by the Morton code of their centres on a grid of 65,536 x 65,536 cells."""
    centres = bounds[:, :2] + bounds[:, 2:]
    low, high = centres.min(axis=0), centres.max(axis=0)
    cells = ((centres - low) / np.where(high > low, high - low, 1) * 65_535).astype(np.uint64)
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        cells = (cells | (cells << np.uint64(shift))) & np.uint64(mask)
    return np.argsort(cells[:, 0] | (cells[:, 1] << np.uint64(1)), kind="stable")
