"""Divide the classes in the work rasters of a map into objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from satseg.classes import ClassTable
from satseg.errors import UsageError
from satseg.labels.labels import BOUNDARY
from satseg.mapfile.work_raster import WorkRaster
from satseg.objects.division import MOST_MARGIN, Division, Maps
from satseg.objects.watershed import Block
from satseg.prediction.settings import PredictionSettings
from satseg.prediction.streaming import strip_rows
from satseg.records import MapLayer

_READ = (MapLayer.CLASSES, MapLayer.DISTANCE, MapLayer.BOUNDARY)


def open_division(
    rasters: Mapping[MapLayer, WorkRaster],
    folder: Path,
    classes: ClassTable,
    settings: PredictionSettings,
    *,
    resample: Sequence[float],
) -> Division:
    """Return what divides a map, as its rows are finished.

    Args:
        rasters: Work rasters of the map, with distance and boundary.
        folder: Folder for rows that do not fit into memory.
        classes: Classes of the map.
        settings: Depth of markers, and extent of the largest object.
        resample: Size of the scene's pixels over that of the training, along rows and columns.

    Raises:
        UsageError: The largest object has too many pixels.
    """
    raster = rasters[MapLayer.CLASSES]
    groups = object_groups(classes)

    def read(block: Block) -> Maps:
        rows, columns = block.window
        found, distance, boundary = (
            rasters[layer].read(rows.start, rows.stop, columns.start, columns.stop)[0] for layer in _READ
        )
        return groups[found], distance, boundary

    return Division(
        read,
        raster.height,
        raster.width,
        depth=settings.marker_depth,
        margin=_margin(settings.max_object, resample),
        strip=strip_rows(raster.width),
        scratch=folder,
    )


def object_groups(classes: ClassTable) -> np.ndarray:
    """Return (256,) uint8, the group of each class id, within which objects lie; 0 for the background and nodata."""
    groups = np.zeros(256, dtype=np.uint8)
    for entry in classes:
        if entry.id != classes.background and entry.name != BOUNDARY:
            groups[entry.id] = entry.id + 1
    return groups


def _margin(extent: int, resample: Sequence[float]) -> int:
    """Return the extent of the largest object in pixels of the scene."""
    margin = max(math.ceil(extent / factor) for factor in resample)
    if margin > MOST_MARGIN:
        raise UsageError(
            f"Objects of `max_object={extent}` px have {margin} px in the scene, more than {MOST_MARGIN}.",
            hint="Lower `max_object`: larger objects may be divided.",
        )
    return margin
