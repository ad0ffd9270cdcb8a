"""Class colours as QGIS and SLD styles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from satseg.classes import MapClass

_OUTLINE = "#404040"


def qml(classes: Iterable[MapClass]) -> str:
    """Return a QGIS style that colours polygons by ``class_id``."""
    categories = "".join(
        f'<category render="true" symbol="{entry.id}" type="long" value="{entry.id}" label={quoteattr(entry.name)}/>'
        for entry in classes
    )
    symbols = "".join(_symbol(entry) for entry in classes)
    return (
        '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM"><qgis styleCategories="Symbology">'
        '<renderer-v2 type="categorizedSymbol" attr="class_id" symbollevels="0" enableorderby="0" forceraster="0">'
        f"<categories>{categories}</categories><symbols>{symbols}</symbols></renderer-v2></qgis>"
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


def sld(classes: Iterable[MapClass], layer: str) -> str:
    """Return the same style in the OGC's language, for other programs."""
    rules = "".join(
        f"<se:Rule><se:Name>{escape(entry.name)}</se:Name>"
        "<ogc:Filter><ogc:PropertyIsEqualTo><ogc:PropertyName>class_id</ogc:PropertyName>"
        f"<ogc:Literal>{entry.id}</ogc:Literal></ogc:PropertyIsEqualTo></ogc:Filter>"
        f'<se:PolygonSymbolizer><se:Fill><se:SvgParameter name="fill">{entry.colour}</se:SvgParameter></se:Fill>'
        f'<se:Stroke><se:SvgParameter name="stroke">{_OUTLINE}</se:SvgParameter>'
        '<se:SvgParameter name="stroke-width">0.5</se:SvgParameter></se:Stroke></se:PolygonSymbolizer></se:Rule>'
        for entry in classes
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><StyledLayerDescriptor version="1.1.0" '
        'xmlns="http://www.opengis.net/sld" xmlns:ogc="http://www.opengis.net/ogc" '
        f'xmlns:se="http://www.opengis.net/se"><NamedLayer><se:Name>{escape(layer)}</se:Name><UserStyle>'
        f"<se:FeatureTypeStyle>{rules}</se:FeatureTypeStyle></UserStyle></NamedLayer></StyledLayerDescriptor>"
    )
