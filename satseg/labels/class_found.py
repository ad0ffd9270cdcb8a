"""The values found in class rasters, and how rasters are to be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from satseg.labels.class_bands import ClassBands
from satseg.labels.class_map import ClassMap, spell_pair
from satseg.labels.class_names import ValueNames, spell_colour

LISTED = 12
"""Values or colours listed in a message."""


class Use(Enum):
    """The purpose for which class rasters are read."""

    LABELS = "labels"  # classes must be distinguished from unknown pixels
    MAP = "map"  # compared with labels: keeps its own names unless a class map changes them
    POLYGONS = "polygons"  # neither unknown pixels nor background become polygons


@dataclass(frozen=True)
class Reading:
    """How the values of class rasters are interpreted.

    Args:
        class_map: Class by value; None uses the names in the rasters, else one class per value.
        unlabelled: Values that mean unknown.
        band: Band of rasters with several, from 1.
        use: Purpose for which they are read.
        alone: Whether no other labels are laid over these.
    """

    class_map: ClassMap | None = None
    unlabelled: frozenset[int] = frozenset()
    band: int | None = None
    use: Use = Use.LABELS
    alone: bool = True


@dataclass(frozen=True, eq=False)
class FoundValues:
    """The values found in one class raster.

    Args:
        path: The raster.
        metadata: Names and colours of its values.
        coloured: Whether they are colours, ``0xrrggbb``.
        lossy: Whether it has lossy compression.
        nodata: Its nodata value, unless that is one of the values.
        counts: Pixels by value; 1 for each class of a map that satseg wrote, if it need not be read.
        unknown: Number of unknown pixels.
        band: Band that is read, or None.
        nodata_is_value: Whether the nodata value is read like any other.
    """

    path: str
    metadata: ValueNames
    coloured: bool = False
    lossy: bool = False
    nodata: float | None = None
    counts: Counter[int] = field(default_factory=Counter)
    unknown: int = 0
    band: int | None = None
    nodata_is_value: bool = False

    @classmethod
    def of(cls, path: str, reading: Reading) -> FoundValues:
        """Read a raster, block by block.

        Raises:
            ClassRasterError: It is not a class raster, or cannot be read.
            UsageError: The band does not exist.
        """
        with ClassBands(path, band=reading.band) as bands:
            if not _names_nodata(reading.class_map, bands):
                return cls._count(bands, reading)
        with ClassBands(path, band=reading.band, nodata_is_value=True) as bands:
            return replace(cls._count(bands, reading), nodata_is_value=True)

    @classmethod
    def _count(cls, bands: ClassBands, reading: Reading) -> FoundValues:
        found = cls(bands.path, bands.metadata, bands.coloured, bands.lossy, bands.nodata, band=reading.band)
        table = bands.metadata.table
        if table is not None and reading.class_map is None and reading.use is not Use.LABELS:
            return replace(found, counts=Counter({entry.id: 1 for entry in table}))
        counts, unknown = bands.count()
        return replace(found, counts=counts, unknown=unknown)

    def open(self) -> ClassBands:
        """Open the raster with the settings with which these values were found.

        Raises:
            ClassRasterError: It can no longer be opened.
        """
        return ClassBands(self.path, band=self.band, nodata_is_value=self.nodata_is_value)

    @property
    def has_names(self) -> bool:
        """Whether the raster names its values."""
        return bool(self.metadata.names)

    @property
    def grey(self) -> bool:
        """Whether all of its colours are shades of grey."""
        return self.coloured and all(is_shade(colour) for colour in self.counts)

    def as_values(self) -> FoundValues:
        """Return shades of grey as values of a single band."""
        counts = Counter({colour & 0xFF: count for colour, count in self.counts.items()})
        return replace(self, coloured=False, counts=counts, band=1)

    def keys(self, code: int) -> Iterable[str]:
        """Yield the keys by which a class map may refer to a value: its name, its number, its colour."""
        name = self.metadata.names.get(code)
        if name is not None:
            yield name
        if self.coloured:
            yield colour_name(code)
            if is_shade(code):
                yield str(code & 0xFF)
            return
        yield str(code)
        if self.metadata.colours:
            yield self.metadata.colours.get(code, "")
        elif 0 <= code <= 0xFF:
            yield spell_colour(code, code, code)

    def spell(self, code: int) -> str:
        """Return a value as a class map writes it."""
        return self.metadata.names.get(code) or (colour_name(code) if self.coloured else str(code))


def _names_nodata(class_map: ClassMap | None, bands: ClassBands) -> bool:
    """Tell whether a class map assigns a class to the nodata value."""
    if class_map is None or bands.nodata is None:
        return False
    nodata = bands.nodata
    if bands.metadata.names:
        return nodata in bands.metadata.names and bands.metadata.names[int(nodata)] in class_map.names
    shade = int(nodata) if nodata == nodata // 1 and 0 <= nodata <= 0xFF else None
    as_colour = shade is not None and spell_colour(shade, shade, shade) in class_map.names
    return as_colour or (class_map.names_number(nodata) and not bands.coloured)


def is_shade(colour: int) -> bool:
    """Tell whether red, green and blue of ``0xrrggbb`` are equal."""
    return colour == (colour & 0xFF) * 0x010101


def colour_name(colour: int) -> str:
    """Return ``0xrrggbb`` as ``#rrggbb``."""
    return spell_colour(colour >> 16, colour >> 8 & 0xFF, colour & 0xFF)


def listed(counts: Counter[str], unit: str = "px") -> str:
    """Return the most frequent values with their counts, for a message."""
    plural = "" if unit == "px" else "s"
    parts = [f"{value} ({count:,} {unit}{plural if count > 1 else ''})" for value, count in counts.most_common(LISTED)]
    more = len(counts) - len(parts)
    return ", ".join(parts) + (f" and {more:,} more" if more else "")


def as_class_map(values: Iterable[str], name: str) -> str:
    """Return a class map that assigns one name to all values, for a hint; values beyond a dozen become dots."""
    values = list(values)
    line = ",".join(spell_pair(value, name) for value in values[:LISTED])
    return line + (",..." if len(values) > LISTED else "")


def list_values(codes: Sequence[int]) -> str:
    """Return values for a message; values beyond a dozen become dots."""
    return ", ".join([*map(str, codes[:LISTED]), *(["..."] if len(codes) > LISTED else [])])


def example_map(codes: Sequence[int], names: Mapping[int, str]) -> str:
    """Return a class map of values, as an example for a hint.

    Args:
        codes: The values.
        names: Names by value; NAME stands for others.
    """
    line = ",".join(f"{code}={names.get(code, 'NAME')}" for code in codes[:LISTED])
    return line + (",..." if len(codes) > LISTED else "")
