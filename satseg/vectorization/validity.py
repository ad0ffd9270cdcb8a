"""Make outlines valid in the coordinates in which they are written.

Rounding coordinates can make a spike invalid, so validity is checked last. And in a projection of a pole, a polygon
that surrounds it in longitude and latitude touches itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from satseg.files.arrow import arrow_flags
from satseg.vectorization.table import FeatureBatch


def make_valid(batch: FeatureBatch, *, grid: float = 0.0) -> tuple[FeatureBatch, np.ndarray]:
    """Make polygons valid: an invalid one is replaced by the largest part of the area in its outline.

    Args:
        batch: Features in the coordinates in which they are written.
        grid: Step of the coordinates in the file, a power of ten; 0 if they are written in full.

    Returns:
        Features with at least one polygon that is not empty; (F,) bool, whether each given feature is kept.
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
    columns = {name: column.filter(arrow_flags(kept)) for name, column in batch.columns.items()}
    features = np.concatenate([[0], np.cumsum(counts[kept])])
    return replace(batch, columns=columns, points=points, rings=rings, polygons=polygons, features=features), kept


def split_self_touching(batch: FeatureBatch) -> FeatureBatch:
    """Split polygons that touch themselves into the parts that they enclose."""
    import shapely

    found = shapely.from_ragged_array(shapely.GeometryType.POLYGON, batch.points, (batch.rings, batch.polygons))
    wrong = np.flatnonzero(~shapely.is_valid(found))
    if not len(wrong):
        return batch
    counts = np.ones(len(found), dtype=np.int64)
    parts = [found[i : i + 1] for i in range(len(found))]
    for i in wrong.tolist():
        own = _parts(shapely.make_valid(found[i], method="structure", keep_collapsed=False))
        if len(own):  # else it lies entirely beyond the pole
            parts[i], counts[i] = own, len(own)
    _, points, (rings, polygons) = shapely.to_ragged_array(np.concatenate(parts))
    features = np.concatenate([[0], np.cumsum(counts)])[batch.features]
    return replace(batch, points=points, rings=rings, polygons=polygons, features=features)


def dissolve_touching(batch: FeatureBatch) -> FeatureBatch:
    """Dissolve polygons of a multipolygon that share an edge."""
    import shapely

    several = np.flatnonzero(np.diff(batch.features) > 1)
    if not len(several):
        return batch
    found = shapely.from_ragged_array(shapely.GeometryType.POLYGON, batch.points, (batch.rings, batch.polygons))
    parts = [found[first:end] for first, end in zip(batch.features[:-1], batch.features[1:], strict=True)]
    wrong = [i for i in several.tolist() if not shapely.is_valid(shapely.MultiPolygon(list(parts[i])))]
    if not wrong:
        return batch
    for i in wrong:
        parts[i] = _parts(shapely.union_all(parts[i]))
    _, points, (rings, polygons) = shapely.to_ragged_array(np.concatenate(parts))
    return replace(batch, points=points, rings=rings, polygons=polygons, features=np.cumsum([0, *map(len, parts)]))


def _parts(geometry: object) -> np.ndarray:
    import shapely

    parts = shapely.get_parts(geometry)
    parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    return np.asarray(shapely.orient_polygons(parts))


def _largest_part(polygon: object, grid: float) -> object:
    import shapely

    found = shapely.make_valid(polygon, method="structure", keep_collapsed=False)
    if grid:
        found = shapely.set_precision(found, grid)
    parts = _parts(found)
    return parts[np.argmax(shapely.area(parts))] if len(parts) else shapely.Polygon()
