"""Styles of polygons in QGIS, with the colours of classes.

A style is written to a file beside the layer, which QGIS opens with it: most readers would take a table
``layer_styles`` in a GeoPackage for another layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from satseg.outputs.sidecars import STYLE_MARK

if TYPE_CHECKING:
    from satseg.classes import MapClass

DOCTYPE = '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">'
VERSION = "3.22.0"
"""Version of the QGIS format; without one, QGIS expects that of its first releases."""

_FILL = 115  # opacity of 255: the scene below stays visible
_LINE = "0.4"  # millimetres
_PLAIN = (0, 114, 178)  # of polygons without classes


def qml(classes: Iterable[MapClass]) -> str:
    """Return a QGIS style that colours polygons by ``class_id``."""
    return (
        f'{DOCTYPE}{STYLE_MARK}<qgis version="{VERSION}" styleCategories="Symbology">{renderer(list(classes))}'
        "<layerGeometryType>2</layerGeometryType></qgis>\n"  # of polygons
    )


def renderer(classes: Sequence[MapClass]) -> str:
    """Return the element of a QGIS layer that colours polygons by ``class_id``."""
    categories = "".join(
        f'<category render="true" symbol="{entry.id}" type="long" value="{entry.id}" label={quoteattr(entry.name)}/>'
        for entry in classes
    )
    symbols = "".join(_symbol(entry.id, _filled(entry.rgb)) for entry in classes)
    return (
        '<renderer-v2 type="categorizedSymbol" attr="class_id" symbollevels="0" enableorderby="0" forceraster="0">'
        f"<categories>{categories}</categories><symbols>{symbols}</symbols></renderer-v2>"
    )


def outlines() -> str:
    """Return the element of a QGIS layer that draws the outlines of polygons without classes."""
    return (
        '<renderer-v2 type="singleSymbol" symbollevels="0" enableorderby="0" forceraster="0">'
        f"<symbols>{_symbol(0, _outlined(_PLAIN))}</symbols></renderer-v2>"
    )


def _filled(rgb: tuple[int, int, int]) -> dict[str, str]:
    return {**_outlined(rgb), "color": _colour(rgb, _FILL), "style": "solid"}


def _outlined(rgb: tuple[int, int, int]) -> dict[str, str]:
    return {
        "style": "no",
        "outline_color": _colour(rgb, 255),
        "outline_style": "solid",
        "outline_width": _LINE,
        "outline_width_unit": "MM",
        "joinstyle": "miter",
    }


def _colour(rgb: tuple[int, int, int], opacity: int) -> str:
    return ",".join(map(str, (*rgb, opacity)))


def _symbol(name: int, options: Mapping[str, str]) -> str:
    entries = "".join(f'<Option type="QString" name="{key}" value="{value}"/>' for key, value in options.items())
    return (
        f'<symbol type="fill" name="{name}" alpha="1" clip_to_extent="1">'
        f'<layer class="SimpleFill" enabled="1" pass="0" locked="0"><Option type="Map">{entries}</Option></layer>'
        "</symbol>"
    )
