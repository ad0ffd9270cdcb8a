"""QGIS style with the colours of classes.

It is written to a file beside the layer, which QGIS opens with it: most readers would take a table ``layer_styles`` in
a GeoPackage for another layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from satseg.outputs.sidecars import STYLE_MARK

if TYPE_CHECKING:
    from satseg.classes import MapClass

_OUTLINE = "#404040"
DOCTYPE = '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">'
VERSION = "3.22.0"
"""Version of the QGIS format; without one, QGIS expects that of its first releases."""


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
    symbols = "".join(_symbol(entry) for entry in classes)
    return (
        '<renderer-v2 type="categorizedSymbol" attr="class_id" symbollevels="0" enableorderby="0" forceraster="0">'
        f"<categories>{categories}</categories><symbols>{symbols}</symbols></renderer-v2>"
    )


def _symbol(entry: MapClass) -> str:
    options = {
        "color": ",".join(map(str, (*entry.rgb, 255))),
        "style": "solid",
        "outline_color": ",".join(map(str, (*bytes.fromhex(_OUTLINE[1:]), 255))),
        "outline_style": "solid",
        "outline_width": "0.1",
        "outline_width_unit": "MM",
    }
    entries = "".join(f'<Option type="QString" name="{key}" value="{value}"/>' for key, value in options.items())
    return (
        f'<symbol type="fill" name="{entry.id}" alpha="1" clip_to_extent="1">'
        f'<layer class="SimpleFill" enabled="1" pass="0" locked="0"><Option type="Map">{entries}</Option></layer>'
        "</symbol>"
    )
