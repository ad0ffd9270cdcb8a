"""The classes of rasters whose polygons form one layer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from satseg.classes import MAX_CLASSES, ClassTable
from satseg.errors import SceneError
from satseg.labels.class_bands import ClassBands
from satseg.labels.class_found import Reading, Use
from satseg.labels.class_map import ClassMap, order_names
from satseg.labels.class_map_check import unmatched_message
from satseg.labels.class_values import ClassValues, Translation, own_name
from satseg.records import Progress, no_progress

log = logging.getLogger("satseg")


@dataclass(frozen=True, eq=False)
class MapClasses:
    """The classes of rasters whose polygons form one layer.

    Args:
        table: Their classes; None if values are ids, of instances for example.
        values: Their values; None for ids.
        band: Band of rasters with several, from 1.
    """

    table: ClassTable | None
    values: ClassValues | None
    band: int | None

    @classmethod
    def of(
        cls,
        paths: Sequence[str | Path],
        *,
        band: int | None,
        class_map: ClassMap | None,
        progress: Progress = no_progress,
    ) -> MapClasses:
        """Determine the classes of rasters, reading them as far as needed; ``progress`` is called after each.

        Raises:
            SceneError: One of them is not a class raster, their values are ambiguous, or some hold ids and others
                classes.
            UsageError: A band does not exist.
        """
        if class_map is None and _hold_ids(paths, band):
            log.info(
                "%s: values of more than 8 bits without names are treated as ids, and traced separately. Use "
                "`class_map` to make them classes.",
                paths[0],
            )
            return cls(None, None, band)
        values = ClassValues(paths, Reading(class_map, band=band, use=Use.POLYGONS), progress)
        names = ", ".join(map(str, paths))
        unmatched = None if class_map is None else unmatched_message(names, class_map, values.spellings)
        if unmatched is not None:
            log.warning(unmatched)
        return cls(_with_ids_as_values(values) or table_of(values, class_map), values, band)

    @property
    def has_names(self) -> bool:
        """Whether classes have names, so that empty ones are reported as well."""
        values = self.values
        return values is None or values.table is not None or bool(values.pairs and not values.nameless)

    def open(self, path: str) -> ClassBands:
        """Open one of the rasters.

        Raises:
            SceneError: It can no longer be opened.
        """
        return ClassBands(path, band=self.band) if self.values is None else self.values.open(path)

    def translation(self, path: str) -> Translation | None:
        """Return the translation of the values of a raster into class ids; None if they are ids."""
        return None if self.values is None or self.table is None else translation(self.values, path, self.table)


def translation(values: ClassValues, path: str, table: ClassTable) -> Translation:
    """Return the translation of the values of a raster into the ids of a class table."""
    return Translation(values.classes_of(path), {entry.name: entry.id for entry in table})


def table_of(values: ClassValues, class_map: ClassMap | None) -> ClassTable:
    """Return the class table of rasters: the one that satseg stored in them, else one of their class names."""
    if values.table is not None:
        return values.table
    ordered = [*(class_map.classes if class_map else []), *values.names]
    names = order_names(ordered, background_first=class_map is not None)
    return ClassTable.from_names(names or [own_name(0)]).recoloured(
        {**values.colours, **(class_map.colours if class_map else {})}
    )


def _with_ids_as_values(values: ClassValues) -> ClassTable | None:
    """Return a table whose ids are the values, if classes and values correspond one to one; else None."""
    pairs, codes = values.pairs, values.codes
    names = {name for _, name in pairs}
    if values.table is not None or values.mapped or not len(pairs) == len(codes) == len(names):
        return None
    if not codes or codes[0] < 0 or codes[-1] >= MAX_CLASSES:
        return None
    by_code = dict(pairs)
    filled = [by_code.get(code, own_name(code)) for code in range(codes[-1] + 1)]
    if len(set(filled)) < len(filled):
        return None
    return ClassTable.from_names(filled).recoloured(values.colours)


def _hold_ids(paths: Sequence[str | Path], band: int | None) -> bool:
    """Tell whether rasters hold ids: whole numbers of more than 8 bits, without names."""
    first = None
    for path in paths:
        with ClassBands(path, band=band) as bands:
            dtype = np.dtype(bands.info.bands.dtype)
            ids = dtype.itemsize > 1 and not bands.coloured and not bands.metadata.names
            if first is not None and ids != first:
                raise SceneError(f"{path} does not have the classes of {paths[0]}.", hint="Write a file for each.")
            first = ids
            if ids and dtype.kind == "f":
                for window in bands.strips():  # refuses values that are not whole numbers before any work
                    bands.read(window)
    return bool(first)
