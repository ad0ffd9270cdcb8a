"""Names and colours of the values of a raster: satseg's class table, attribute tables, category names, palettes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from satseg.classes import ClassTable
from satseg.mapfile.writer import read_class_table

_NAME_COLUMNS = (
    "class_name",
    "class_names",
    "classname",
    "class",
    "name",
    "label",
    "category",
    "legend",
    "description",
)
_VALUE_COLUMNS = ("value", "id", "class_id", "code")
_NAME, _VALUES = "2", ("5", "3")  # usages of columns of attribute tables: a name; a value, or the minimum of a range
_TEXT = "2"  # type of columns


@dataclass(frozen=True)
class ValueNames:
    """Names and colours of the values of a band.

    Args:
        names: Name by value; empty if the raster has none.
        colours: ``#rrggbb`` by value.
        table: The class table that satseg stored, or None.
        palette: Whether the band has a palette.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[int, str] = field(default_factory=dict)
    table: ClassTable | None = None
    palette: bool = False


def read_value_names(dataset: Any, band: int) -> ValueNames:
    """Read names and colours of the values of a band.

    Args:
        dataset: An open rasterio dataset.
        band: Number of the band.
    """
    table = read_class_table(dataset)
    if table is not None:
        return ValueNames({c.id: c.name for c in table}, {c.id: c.colour for c in table}, table)
    palette = dataset.colorinterp[band - 1] == ColorInterp.palette
    colours = {}
    if palette:
        colours = {value: spell_colour(*rgba[:3]) for value, rgba in dataset.colormap(band).items()}
    return ValueNames(_names(dataset, band), colours, palette=palette)


def spell_colour(red: int, green: int, blue: int) -> str:
    """Return ``#rrggbb``."""
    return f"#{red:02x}{green:02x}{blue:02x}"


def _names(dataset: Any, band: int) -> dict[int, str]:
    """Read names from the description of the file as a VRT, since rasterio does not expose them."""
    try:
        with MemoryFile(ext=".vrt") as described:
            rasterio.shutil.copy(dataset, described.name, driver="VRT")
            root = ElementTree.fromstring(described.read())
    except (RasterioError, ElementTree.ParseError):
        return {}
    element = root.find(f"VRTRasterBand[@band='{band}']")
    if element is None:
        return {}
    names = _from_attributes(element.find("GDALRasterAttributeTable")) or dict(
        enumerate(category.text or "" for category in element.findall("CategoryNames/Category"))
    )
    return {value: name.strip() for value, name in names.items() if name.strip()}


def _from_attributes(table: ElementTree.Element | None) -> dict[int, str]:
    """Read an attribute table; without a column of values, its rows are the values from 0 on."""
    if table is None:
        return {}
    columns = [
        (field.findtext("Name", "").strip().casefold(), field.findtext("Type", ""), field.findtext("Usage", ""))
        for field in table.iter("FieldDefn")
    ]
    texts = [i for i, (_, kind, _) in enumerate(columns) if kind == _TEXT]
    named = _column(columns, (_NAME,), _NAME_COLUMNS, among=texts)
    if named is None and len(texts) == 1:
        named = texts[0]
    valued = _column(columns, _VALUES, _VALUE_COLUMNS, among=range(len(columns)))
    if named is None:
        return {}
    found: dict[int, str] = {}
    for number, row in enumerate(table.iter("Row")):
        cells = [cell.text or "" for cell in row.findall("F")]
        try:
            found[number if valued is None else int(float(cells[valued]))] = cells[named]
        except (ValueError, IndexError, OverflowError):
            continue
    return found


def _column(
    columns: list[tuple[str, str, str]], usages: tuple[str, ...], names: tuple[str, ...], *, among: Sequence[int]
) -> int | None:
    """Return the position of a column by its usage, else by its name."""
    by_usage = [i for usage in usages for i in among if columns[i][2] == usage]
    by_name = [i for name in names for i in among if columns[i][0] == name]
    return next(iter([*by_usage, *by_name]), None)
