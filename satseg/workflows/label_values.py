"""List the values that labels hold, and make of them a class map to edit."""

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
    """A value of labels.

    Args:
        value: As a class map names it.
        count: Features, or pixels.
        area_m2: On the ground; of a raster, by its resolution in the middle. None without a CRS.
        name: Class that it seems to be; empty where it may mean that nobody looked there.
        colour: ``#rrggbb`` that the labels give it, or None.
    """

    value: str
    count: int
    area_m2: float | None
    name: str
    colour: str | None = None

    def _and(self, other: LabelValue) -> LabelValue:
        """Return what both are together."""
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
        unit: ``features`` or ``px``.
        values: Those of features by their count, the most frequent first; those of rasters in their order.
        unknown: Pixels of nodata.
        files: How many files they are from.
    """

    path: str
    unit: str
    values: tuple[LabelValue, ...]
    unknown: int = 0
    files: int = 1

    @classmethod
    def together(cls, found: Iterable[LabelValues]) -> LabelValues | None:
        """Return the values of several files as those of one; None where there is no file.

        Raises:
            UsageError: Some are class rasters, and some have features.
        """
        total: LabelValues | None = None
        for labels in found:
            total = labels if total is None else total._and(labels)
        return total

    def _and(self, other: LabelValues) -> LabelValues:
        if self.unit != other.unit:
            raise UsageError(
                f"{other.path} has values of {other.unit}, and those before it of {self.unit}.",
                hint="List class rasters and vector files apart.",
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
        class_field: Attribute of features that names their class.
        where: Condition in SQL that features must meet.

    Raises:
        ClassRasterError: It is a raster, but no class raster.
        LabelError: It is a vector file that cannot be used, or has no such attribute.
        UsageError: A raster with a field or a condition, or features without a field.
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
            fields = f"It has {', '.join(layer.fields)}." if layer.fields else "It has no attributes at all."
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
    """Return the class that a value seems to be; what may mean unlabelled is left to the user."""
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
    """Return what puts numbers in their order, and names and colours behind them in theirs."""
    number = entry.value.lstrip("-").isdecimal()
    return not number, float(entry.value) if number else 0, entry.value
