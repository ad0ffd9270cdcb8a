"""Open label files: class rasters and vector features, laid over each other in the order in which they are named."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, zip_longest
from pathlib import Path, PurePath
from typing import Any

from satseg.classes import BACKGROUND, ClassTable
from satseg.errors import LabelError, UsageError, printable
from satseg.files.names import is_local_file, split_layer
from satseg.labels.class_found import Reading
from satseg.labels.class_map import IGNORE, ClassMap
from satseg.labels.class_map_check import UnnamedValuesError
from satseg.labels.class_values import ClassValues
from satseg.labels.id_raster import IdRaster
from satseg.labels.label_source import LabelSource, Layer
from satseg.labels.labels import PixelLength, Refinements
from satseg.labels.raster_labels import RasterLabels, is_raster
from satseg.labels.settings import LabelSettings
from satseg.labels.vector_labels import VectorLabels
from satseg.raster.selection import shared_ending
from satseg.records import Progress, no_progress


def open_labels(
    path: str | Path | Sequence[str | Path] | Mapping[str, str | Sequence[str]],
    settings: LabelSettings | None = None,
    *,
    class_map: ClassMap | None = None,
    classes: ClassTable | None = None,
    burn_order: str = "file",
    all_touched: bool = False,
    ignore_border: PixelLength | None = None,
    boundary: PixelLength | None = None,
    may_be_empty: bool = False,
    keep_objects: bool = False,
    ids: bool = False,
    progress: Progress = no_progress,
) -> LabelSource:
    """Open labels: files that GDAL opens as rasters are class rasters, all others are read as vector features.

    Args:
        path: A class raster or a vector file; several of them from bottom to top; or those of each scene, by the path
            of the scene. In the last case a vector file may have no features.
        settings: What the labels mean. Without ``class_field``, all features of a file are one class, named after the
            file, or after what the file names of all scenes have in common.
        class_map: The class map of the settings, as read; without it every value is a class.
        classes: A table in which all classes must be found. Without it the table is built from the values found.
        burn_order: Which polygons lie on top, see :class:`VectorLabels`.
        all_touched: Label all pixels that a polygon touches.
        ignore_border: Distance from outlines within which labels are ignored.
        boundary: Width of the class ``boundary`` along outlines and between touching objects.
        may_be_empty: Whether a vector file may have no features, and a raster of ids no object.
        keep_objects: Whether each polygon and each id of a raster is kept as an object; rasters then hold ids.
        ids: Whether rasters hold ids of objects in place of classes.
        progress: Called after each class raster that was read.

    Raises:
        LabelError: A file does not exist, or is neither raster nor vector; the field does not exist; a value is not in
            ``classes``; a raster that should hold ids holds classes.
        UsageError: There are no labels.
    """
    settings = settings or LabelSettings()
    of_scenes = {scene: _listed(files) for scene, files in path.items()} if isinstance(path, Mapping) else None
    names = _names(_listed(path) if of_scenes is None else chain.from_iterable(of_scenes.values()))
    _check_existence(names)
    rasters = {name: None for name in names if is_raster(name)}
    alone = len(names) == 1 if of_scenes is None else all(len(files) == 1 for files in of_scenes.values())
    reading = Reading(class_map, frozenset(settings.unlabelled), alone=alone)
    own_names = {} if of_scenes is None or settings.class_field is not None else _shared_names(of_scenes)
    unnamed: list[UnnamedValuesError] = []  # reported for all files at once
    layers: dict[str, Layer] = {}
    with _collected(unnamed):
        if keep_objects or ids:
            layers |= {
                name: IdRaster(
                    name,
                    class_map,
                    unlabelled=reading.unlabelled,
                    outside=IGNORE if settings.outside == IGNORE else BACKGROUND,
                    own_name=own_names.get(name),
                    paired=of_scenes is not None,
                    may_be_empty=may_be_empty or of_scenes is not None,
                )
                for name in rasters
            }
        elif rasters:
            values = ClassValues(list(rasters), reading, progress)
            layers |= {name: RasterLabels(name, values, paired=of_scenes is not None) for name in rasters}
    for name in names:
        if name not in rasters:
            with _collected(unnamed):
                layers[name] = VectorLabels(
                    name,
                    class_field=settings.class_field,
                    class_map=class_map,
                    where=settings.where,
                    burn_order=burn_order,
                    all_touched=all_touched,
                    own_name=own_names.get(name),
                    may_be_empty=may_be_empty or of_scenes is not None,
                    apart=keep_objects,
                )
    if unnamed:
        raise UnnamedValuesError.joined(unnamed)
    if of_scenes is not None and not rasters and not any(layer.names for layer in layers.values()):
        raise LabelError(f"None of the label files has a feature, such as {names[0]}.")
    if settings.labelled_area:
        _check_existence([settings.labelled_area], "The labelled area {} does not exist.")
    area = VectorLabels(settings.labelled_area) if settings.labelled_area else None
    return LabelSource(
        [layers[name] for name in names],
        of_scenes=None if of_scenes is None else _positions(of_scenes, names),
        classes=classes,
        class_map=class_map,
        refinements=Refinements(area, ignore_border, boundary, unknown_outside=settings.outside == IGNORE),
        taken=0 if keep_objects else None,
    )


@contextmanager
def _collected(errors: list[UnnamedValuesError]) -> Iterator[None]:
    try:
        yield
    except UnnamedValuesError as error:
        errors.append(error)


def _listed(files: Any) -> list[str]:
    return [str(files)] if isinstance(files, str | Path) else list(map(str, files))


def _names(files: Iterable[str]) -> list[str]:
    """Return distinct names of files, from bottom to top.

    Raises:
        UsageError: There is none.
    """
    names = list(dict.fromkeys(files))
    if not names:
        raise UsageError("There are no labels.", hint="Name their files with `labels`.")
    return names


def _positions(of_scenes: Mapping[str, Sequence[str]], names: Sequence[str]) -> dict[str, list[int]]:
    at = {name: number for number, name in enumerate(names)}
    return {scene: [at[file] for file in files] for scene, files in of_scenes.items()}


def _shared_names(of_scenes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the class name of each vector file if each scene has label files of its own.

    It is the common ending of their names, else the name of their folder: ``roofs`` for ``12_roofs.gpkg`` and
    ``13_roofs.gpkg``, and for ``roofs/city_12.gpkg``. The first files of all scenes are compared, then the second.
    """
    found: dict[str, str] = {}
    for column in zip_longest(*of_scenes.values()):
        files = [split_layer(file)[0] for file in column if file is not None]
        shared = shared_ending([PurePath(file).stem for file in files])
        folder = PurePath(os.path.abspath(files[0])).parent.name
        found |= dict.fromkeys(filter(None, column), printable(shared or folder or "labels"))
    return found


def _check_existence(names: Iterable[str], absence: str = "Labels {} do not exist.") -> None:
    """Refuse files that do not exist, all at once, and pipes.

    Raises:
        LabelError: There is one.
    """
    local = [file for file, _ in map(split_layer, names) if is_local_file(file)]
    missing = [file for file in local if not os.path.exists(file)]
    if missing:
        raise LabelError(absence.format(", ".join(missing)))
    for file in local:
        if Path(file).is_fifo():  # GDAL would wait for a writer
            raise LabelError(f"Labels {file} are a pipe, not a file.", hint="Write its contents to a file first.")
