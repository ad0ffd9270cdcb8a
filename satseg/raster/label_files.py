"""Open the files of labels: class rasters and vector features, laid over each other in the order they are named."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from satseg.classes import ClassTable
from satseg.errors import LabelError, UsageError
from satseg.raster.class_found import Reading
from satseg.raster.class_map import ClassMap
from satseg.raster.class_map_check import UnnamedValuesError
from satseg.raster.labels import LabelSource, PixelLength, Refinements
from satseg.raster.names import is_local_file, split_layer
from satseg.raster.raster_labels import RasterLabels, is_raster
from satseg.raster.vector_labels import VectorLabels


def open_labels(
    path: str | Path | Sequence[str | Path] | Mapping[str, str],
    *,
    class_field: str | None = None,
    classes: ClassTable | None = None,
    class_map: ClassMap | None = None,
    where: str | None = None,
    burn_order: str = "file",
    all_touched: bool = False,
    unlabelled: Iterable[int] = (),
    labelled_area: str | Path | None = None,
    ignore_border: PixelLength | None = None,
    boundary: PixelLength | None = None,
    may_be_empty: bool = False,
) -> LabelSource:
    """Open labels: whatever GDAL opens as a raster is a class raster, all else is read as features.

    Args:
        path: A class raster or a vector file, several of them from the bottom to the top, or a class raster for each
            scene by the scene's path.
        class_field: Attribute that names the class of each feature; without it all features of a file are one class,
            named like the file.
        classes: A table that classes must be found in by name. Without it the table is made from the values found.
        class_map: Which value is of which class; without it every value is one.
        where: Condition in SQL that features must meet.
        burn_order: What lies on top where polygons of a file overlap, as :class:`VectorLabels` takes it.
        all_touched: Label all pixels that a polygon touches.
        unlabelled: Values of class rasters that mean that nobody looked there.
        labelled_area: Vector file of the polygons outside of which nothing is known.
        ignore_border: Distance from outlines within which labels are ignored.
        boundary: Width of the class ``boundary`` along outlines and between touching objects.
        may_be_empty: Whether a vector file may hold no feature at all.

    Raises:
        LabelError: A file does not exist, or is neither; the field does not exist; a value is not in ``classes``.
        UsageError: There are no labels.
    """
    layers: list[VectorLabels | RasterLabels] = []
    if isinstance(path, Mapping):
        layers.append(RasterLabels(path, Reading(class_map, frozenset(unlabelled))))
        path = []
    names = [path] if isinstance(path, str | Path) else list(path)
    reading = Reading(class_map, frozenset(unlabelled), alone=len(names) == 1)
    unnamed: list[UnnamedValuesError] = []
    for name in names:
        try:
            if _exists(str(name)) and is_raster(str(name)):
                layers.append(RasterLabels(str(name), reading))
            else:
                layers.append(
                    VectorLabels(
                        str(name),
                        class_field=class_field,
                        class_map=class_map,
                        where=where,
                        burn_order=burn_order,
                        all_touched=all_touched,
                        may_be_empty=may_be_empty,
                    )
                )
        except UnnamedValuesError as error:  # what all files hold is told at once
            unnamed.append(error)
    if unnamed:
        raise UnnamedValuesError.joined(unnamed)
    if not layers:
        raise UsageError("There are no labels.", hint="Name them with --labels FILE.")
    area = VectorLabels(str(labelled_area)) if labelled_area and _exists(str(labelled_area)) else None
    refinements = Refinements(area, ignore_border, boundary)
    return LabelSource(layers, classes=classes, class_map=class_map, refinements=refinements)


def _exists(name: str) -> bool:
    file, _ = split_layer(name)
    if is_local_file(file) and not os.path.exists(file):
        raise LabelError(f"Labels {file} do not exist.")
    if is_local_file(file) and Path(file).is_fifo():  # GDAL would wait for somebody to write into it
        raise LabelError(f"Labels {file} are a pipe, and no file.", hint="Write what comes out of it to a file first.")
    return True
