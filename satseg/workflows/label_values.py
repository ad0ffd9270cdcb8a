"""List the values of labels, and write them as a class map to edit."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from satseg.arguments import PathLike
from satseg.arguments import path as file_name
from satseg.classes import IGNORE_INDEX
from satseg.errors import UsageError
from satseg.files.gdal import gdal_environment
from satseg.geo.ground_area import ground_areas
from satseg.geo.vector_layer import VectorLayer
from satseg.labels.class_found import FoundValues, Reading, colour_name
from satseg.labels.class_values import own_name
from satseg.labels.raster_labels import is_raster
from satseg.labels.vector_labels import UNKNOWN, spell_value
from satseg.results import Result
from satseg.signatures import checked


@dataclass(frozen=True, repr=False)
class LabelValue(Result):
    """One value of labels.

    Args:
        value: The value as a class map spells it.
        count: Number of features or pixels.
        area_m2: Ground area in square metres; of a raster, by the resolution at its centre. None without a CRS.
        name: Suggested class; empty if the value may mean unlabelled.
        colour: Its colour in the labels as ``#rrggbb``, or None.
    """

    value: str
    count: int
    area_m2: float | None
    name: str
    colour: str | None = None

    def _and(self, other: LabelValue) -> LabelValue:
        """Return the sum of both."""
        areas = (self.area_m2, other.area_m2)
        return replace(
            self,
            count=self.count + other.count,
            area_m2=None if None in areas else sum(filter(None, areas)),
            name=self.name or other.name,
            colour=self.colour or other.colour,
        )


@dataclass(frozen=True, repr=False)
class LabelValues(Result):
    """The values of labels.

    Args:
        path: The labels.
        unit: ``features`` or ``px``, the unit of the counts.
        values: The values; of vector files by decreasing count, of rasters in ascending order.
        unknown: Number of nodata pixels.
        files: Number of files.
    """

    path: str
    unit: str
    values: tuple[LabelValue, ...]
    unknown: int = 0
    files: int = 1

    @classmethod
    def together(cls, found: Iterable[LabelValues]) -> LabelValues | None:
        """Return the values of several files added up; None without files.

        Raises:
            UsageError: Class rasters and vector files are mixed.
        """
        total: LabelValues | None = None
        for labels in found:
            total = labels if total is None else total._and(labels)
        return total

    def _and(self, other: LabelValues) -> LabelValues:
        if self.unit != other.unit:
            raise UsageError(
                f"The values of {other.path} are counted in {other.unit}, those of the previous files in {self.unit}.",
                hint="List class rasters and vector files separately.",
            )
        values = {entry.value: entry for entry in self.values}
        for entry in other.values:
            values[entry.value] = values[entry.value]._and(entry) if entry.value in values else entry
        first = self.path if self.files == 1 else self.path.rpartition(" and ")[0]
        return LabelValues(
            path=f"{first} and {self.files:,} more",
            unit=self.unit,
            values=tuple(sorted(values.values(), key=_frequent_first if self.unit == "features" else _by_number)),
            unknown=self.unknown + other.unknown,
            files=self.files + other.files,
        )

    def template(self) -> str:
        """Return a class map to edit, as CSV with the columns value, class, colour, count and area_m2."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("value", "class", "colour", "count", "area_m2"))
        for entry in self.values:
            area = "" if entry.area_m2 is None else f"{entry.area_m2:.1f}"
            rows.writerow((entry.value, entry.name, entry.colour or "", entry.count, area))
        return text.getvalue()


@checked
def label_values(path: PathLike, *, class_field: str | None = None, where: str | None = None) -> LabelValues:
    """List the values of labels, with counts and areas.

    Args:
        path: A class raster or a vector file.
        class_field: Attribute of a vector file with the class of each feature.
        where: SQL condition that selects features.

    Raises:
        ClassRasterError: The raster is not a class raster.
        LabelError: The vector file cannot be read, or has no such attribute.
        UsageError: ``class_field`` or ``where`` is given for a raster, or ``class_field`` is missing for a vector file.
    """
    path = file_name(path, "path")
    with gdal_environment():
        if is_raster(str(path)):
            if class_field is not None:
                raise UsageError(
                    f"{path} is a raster; it has no attribute {class_field!r}.", hint="Leave out `class_field`."
                )
            if where is not None:
                raise UsageError(
                    f"{path} is a raster; it has no features to select by {where!r}.", hint="Leave out `where`."
                )
            return _of_raster(str(path))
        layer = VectorLayer.open(str(path))
        if class_field is None:
            fields = f"It has {', '.join(layer.fields)}." if layer.fields else "It has no attributes."
            raise UsageError(
                f"The attribute of {path} that holds the class is not named.",
                hint=f"Name it as `class_field`. {fields}",
            )
        layer.require(class_field)
        return _of_features(str(path), layer, class_field, where)


def _of_features(path: str, layer: VectorLayer, field: str, where: str | None) -> LabelValues:
    counts, areas = Counter[str](), defaultdict[str, float](float)
    for geometries, attributes in layer.batches([field], where):
        texts = [spell_value(value, path) or UNKNOWN for value in attributes[field]]
        counts.update(texts)
        for text, area in zip(texts, ground_areas(geometries, layer.crs).tolist(), strict=True):
            areas[text] += area
    found = (LabelValue(text, count, _known(areas[text]), text) for text, count in counts.most_common())
    return LabelValues(path, "features", tuple(found))


def _of_raster(path: str) -> LabelValues:
    found = FoundValues.of(path, Reading())
    with found.open() as bands:
        gsd = bands.info.gsd
    pixel = np.nan if gsd is None else gsd[0] * gsd[1]
    values = []
    for code, count in sorted(found.counts.items()):
        value = found.spell(code)
        colour = colour_name(code) if found.coloured else found.metadata.colours.get(code)
        values.append(LabelValue(value, count, _known(count * pixel), _guess(found, code), colour))
    return LabelValues(path, "px", tuple(values), found.unknown)


def _guess(found: FoundValues, code: int) -> str:
    """Return the suggested class of a value; empty if the value may mean unlabelled."""
    name = found.metadata.names.get(code)
    if name is not None:
        return name
    if found.coloured:
        return f"class {colour_name(code)}"
    return "" if code < 0 or code == IGNORE_INDEX else own_name(code)


def _known(area: float) -> float | None:
    return None if np.isnan(area) else area


def _frequent_first(entry: LabelValue) -> int:
    return -entry.count


def _by_number(entry: LabelValue) -> tuple[bool, float, str]:
    """Return a sort key: numbers first, in ascending order, then names and colours alphabetically."""
    number = entry.value.lstrip("-").isdecimal()
    return not number, float(entry.value) if number else 0, entry.value
