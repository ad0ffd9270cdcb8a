"""Outlines that are not those of a planar map, made valid in the coordinates in which they are written.

Rounding can fold a spike over that was valid in other coordinates, so it is here that it shows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from satseg.vectorization.table import Batch


def made_valid(batch: Batch, *, grid: float = 0.0) -> tuple[Batch, np.ndarray]:
    """Return features whose polygons are valid, and which they are.

    Of a polygon that is not, the largest part stays of what its outline encloses.

    Args:
        batch: Features in the coordinates in which they are written.
        grid: Step of the coordinates in the file, a power of ten; 0 where they are written in full.

    Returns:
        Features with at least one polygon that holds something; (F,) bool, whether each given one is among them.
    """
    import shapely

    digits = round(-np.log10(grid)) if grid else None
    points = batch.points if digits is None else np.round(batch.points, digits)
    kind = shapely.GeometryType.POLYGON
    found = shapely.from_ragged_array(kind, points, (batch.rings, batch.polygons))
    wrong = np.flatnonzero(~shapely.is_valid(found))
    if not len(wrong):
        return replace(batch, points=points), np.ones(len(batch.features) - 1, dtype=bool)
    originals = shapely.from_ragged_array(kind, batch.points, (batch.rings, batch.polygons))[wrong]
    found[wrong] = [_largest_part(polygon, grid) for polygon in originals]
    held = shapely.is_valid(found) & (shapely.area(found) > 0)
    counts = np.add.reduceat(held.astype(np.int64), batch.features[:-1])
    _, points, (rings, polygons) = shapely.to_ragged_array(found[held])
    kept = counts > 0
    columns = {name: column.filter(pa.array(kept)) for name, column in batch.columns.items()}
    features = np.concatenate([[0], np.cumsum(counts[kept])])
    return replace(batch, columns=columns, points=points, rings=rings, polygons=polygons, features=features), kept


def _largest_part(polygon: object, grid: float) -> object:
    import shapely

    found = shapely.make_valid(polygon, method="structure", keep_collapsed=False)
    if grid:
        found = shapely.set_precision(found, grid)
    parts = shapely.get_parts(found)
    parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    if not len(parts):
        return shapely.Polygon()
    return shapely.orient_polygons(parts[np.argmax(shapely.area(parts))])
