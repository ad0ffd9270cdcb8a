"""Open the files of labels: class rasters and vector features, laid over each other in the order they are named."""

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
from satseg.labels.labels import LabelSource, PixelLength, Refinements
from satseg.labels.raster_labels import RasterLabels, is_raster
from satseg.labels.vector_labels import VectorLabels
from satseg.raster.selection import shared_ending
from satseg.records import Progress, no_progress


def open_labels(
    path: str | Path | Sequence[str | Path] | Mapping[str, str | Sequence[str]],
    *,
    class_field: str | None = None,
    classes: ClassTable | None = None,
    class_map: ClassMap | None = None,
    where: str | None = None,
    burn_order: str = "file",
    all_touched: bool = False,
    unlabelled: Iterable[int] = (),
    labelled_area: str | Path | None = None,
    outside: str = BACKGROUND,
    ignore_border: PixelLength | None = None,
    boundary: PixelLength | None = None,
    may_be_empty: bool = False,
    progress: Progress = no_progress,
) -> LabelSource:
    """Open labels: whatever GDAL opens as a raster is a class raster, all else is read as features.

    Args:
        path: A class raster or a vector file; several of them from the bottom to the top; or those of each scene, by
            the scene's path. Then a vector file without a feature says that the scene has none.
        class_field: Attribute that names the class of each feature; without it all features of a file are one class,
            named like the file, or by what the names of the files of all scenes share.
        classes: A table that classes must be found in by name. Without it the table is made from the values found.
        class_map: Which value is of which class; without it every value is one.
        where: Condition in SQL that features must meet.
        burn_order: What lies on top where polygons of a file overlap, as :class:`VectorLabels` takes it.
        all_touched: Label all pixels that a polygon touches.
        unlabelled: Values of class rasters that mean that nobody looked there.
        labelled_area: Vector file of the polygons outside of which nothing is known.
        outside: What lies outside of all polygons: ``background``, or ``ignore`` where nothing is known there.
        ignore_border: Distance from outlines within which labels are ignored.
        boundary: Width of the class ``boundary`` along outlines and between touching objects.
        may_be_empty: Whether a vector file may hold no feature at all.
        progress: Told after each class raster that was read.

    Raises:
        LabelError: A file does not exist, or is neither; the field does not exist; a value is not in ``classes``.
        UsageError: There are no labels, or ``outside`` is something else.
    """
    if outside not in (BACKGROUND, IGNORE):
        raise UsageError(f"--outside takes {BACKGROUND} or {IGNORE}, not {outside!r}.")
    of_scenes = {scene: _listed(files) for scene, files in path.items()} if isinstance(path, Mapping) else None
    names = _names(_listed(path) if of_scenes is None else chain.from_iterable(of_scenes.values()))
    _check_existence(names)
    rasters = {name: None for name in names if is_raster(name)}
    alone = len(names) == 1 if of_scenes is None else all(len(files) == 1 for files in of_scenes.values())
    reading = Reading(class_map, frozenset(unlabelled), alone=alone)
    own_names = {} if of_scenes is None or class_field is not None else _shared_names(of_scenes)
    unnamed: list[UnnamedValuesError] = []  # what all files hold is told at once
    layers: dict[str, VectorLabels | RasterLabels] = {}
    with _collected(unnamed):
        values = ClassValues(list(rasters), reading, progress) if rasters else None
        layers = {name: RasterLabels(name, values, paired=of_scenes is not None) for name in rasters}
    for name in names:
        if name not in rasters:
            with _collected(unnamed):
                layers[name] = VectorLabels(
                    name,
                    class_field=class_field,
                    class_map=class_map,
                    where=where,
                    burn_order=burn_order,
                    all_touched=all_touched,
                    own_name=own_names.get(name),
                    may_be_empty=may_be_empty or of_scenes is not None,
                )
    if unnamed:
        raise UnnamedValuesError.joined(unnamed)
    if of_scenes is not None and not rasters and not any(layer.names for layer in layers.values()):
        raise LabelError(f"None of the files of labels holds a feature, such as {names[0]}.")
    if labelled_area:
        _check_existence([str(labelled_area)])
    area = VectorLabels(str(labelled_area)) if labelled_area else None
    return LabelSource(
        [layers[name] for name in names],
        of_scenes=None if of_scenes is None else _positions(of_scenes, names),
        classes=classes,
        class_map=class_map,
        refinements=Refinements(area, ignore_border, boundary, unknown_outside=outside == IGNORE),
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
    """Return the name of each file once, in the order in which they lie on each other.

    Raises:
        UsageError: There is none.
    """
    names = list(dict.fromkeys(files))
    if not names:
        raise UsageError("There are no labels.", hint="Name them with --labels FILE.")
    return names


def _positions(of_scenes: Mapping[str, Sequence[str]], names: Sequence[str]) -> dict[str, list[int]]:
    at = {name: number for number, name in enumerate(names)}
    return {scene: [at[file] for file in files] for scene, files in of_scenes.items()}


def _shared_names(of_scenes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return what the class of each vector file is called where files are many, and each is that of a scene.

    It is what the names of all of them end with, else the name of their folder: ``roofs`` for ``12_roofs.gpkg`` and
    ``13_roofs.gpkg``, and for ``roofs/city_12.gpkg``. Of the files of one scene, each is looked at with its like.
    """
    found: dict[str, str] = {}
    for column in zip_longest(*of_scenes.values()):
        files = [split_layer(file)[0] for file in column if file is not None]
        shared = shared_ending([PurePath(file).stem for file in files])
        folder = PurePath(os.path.abspath(files[0])).parent.name
        found |= dict.fromkeys(filter(None, column), printable(shared or folder or "labels"))
    return found


def _check_existence(names: Iterable[str]) -> None:
    """Refuse files that do not exist, all at once, and what GDAL would wait for.

    Raises:
        LabelError: There is one.
    """
    local = [file for file, _ in map(split_layer, names) if is_local_file(file)]
    missing = [file for file in local if not os.path.exists(file)]
    if missing:
        raise LabelError(f"Labels {', '.join(missing)} do not exist.")
    for file in local:
        if Path(file).is_fifo():  # GDAL would wait for somebody to write into it
            raise LabelError(
                f"Labels {file} are a pipe, and no file.", hint="Write what comes out of it to a file first."
            )
