"""A QGIS project that opens scenes and polygons with the colours of their classes.

It is plain XML with the elements that QGIS 3 reads (``QgsProject::read``, ``QgsMapLayer::readLayerXml``); QGIS fills in
the rest. Paths are relative to the project, so that its folder may be moved.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from satseg.classes import ClassTable
from satseg.files.atomic_write import atomic_write
from satseg.vectorization.style import DOCTYPE, VERSION, renderer

_DRAWN_BANDS = (
    '<rasterrenderer type="multibandcolor" redBand="1" greenBand="2" blueBand="3" alphaBand="-1" opacity="1" '
    'nodataColor=""/>'
)
_OUTLINES = (
    '<renderer-v2 type="singleSymbol" symbollevels="0" enableorderby="0" forceraster="0"><symbols>'
    '<symbol type="fill" name="0" alpha="1" clip_to_extent="1">'
    '<layer class="SimpleFill" enabled="1" pass="0" locked="0">'
    '<Option type="Map"><Option type="QString" name="style" value="no"/>'
    '<Option type="QString" name="outline_color" value="0,114,178,255"/>'
    '<Option type="QString" name="outline_style" value="solid"/>'
    '<Option type="QString" name="outline_width" value="0.4"/></Option></layer></symbol></symbols></renderer-v2>'
)


@dataclass(frozen=True)
class Layer:
    """A layer of the project.

    Args:
        name: Name in the list of layers.
        path: Its file.
        kind: ``scene`` (the first three bands), ``polygons`` (with ``class_id``) or ``outlines`` (other polygons).
        visible: Whether it is shown when the project opens.
    """

    name: str
    path: Path
    kind: Literal["scene", "polygons", "outlines"]
    visible: bool = True


def write_project(
    path: Path, layers: Sequence[Layer], *, title: str, crs: str, bounds: Sequence[float], table: ClassTable
) -> None:
    """Write a QGIS project (``.qgs``).

    Args:
        path: File to write; a file that is there is replaced.
        layers: Layers, from top to bottom.
        title: Title of the window.
        crs: CRS of the project and of all layers, ``EPSG:3857``.
        bounds: Ground that is shown first: left, bottom, right, top in units of the CRS.
        table: Names and colours of the classes.

    Raises:
        OutputError: It cannot be written.
    """
    reference = _reference(crs)
    tree = "".join(_entry(number, layer) for number, layer in enumerate(layers))
    described = "".join(_described(number, layer, path.parent, reference, table) for number, layer in enumerate(layers))
    corners = zip(("xmin", "ymin", "xmax", "ymax"), bounds, strict=True)
    extent = "".join(f"<{name}>{value!r}</{name}>" for name, value in corners)
    text = (
        f"{DOCTYPE}\n"
        f'<qgis projectname={quoteattr(title)} version="{VERSION}"><homePath path=""/><title>{escape(title)}</title>'
        f"<projectCrs>{reference}</projectCrs><layer-tree-group>{tree}</layer-tree-group>"
        f'<mapcanvas name="theMapCanvas"><units>meters</units><extent>{extent}</extent>'
        f"<destinationsrs>{reference}</destinationsrs></mapcanvas><projectlayers>{described}</projectlayers>"
        '<properties><Paths><Absolute type="bool">false</Absolute></Paths></properties></qgis>\n'
    )
    with atomic_write(path) as place:
        place.write_text(text, encoding="utf-8")


def _reference(crs: str) -> str:
    return f"<spatialrefsys><authid>{escape(crs)}</authid></spatialrefsys>"


def _identity(number: int) -> str:
    return f"layer_{number}"


def _provider(layer: Layer) -> str:
    return "ogr" if layer.kind in ("polygons", "outlines") else "gdal"


def _entry(number: int, layer: Layer) -> str:
    """Return the entry of a layer in the list of layers."""
    checked = "Qt::Checked" if layer.visible else "Qt::Unchecked"
    return (
        f'<layer-tree-layer id="{_identity(number)}" name={quoteattr(layer.name)} checked="{checked}" expanded="0" '
        f'providerKey="{_provider(layer)}"/>'
    )


def _described(number: int, layer: Layer, folder: Path, reference: str, table: ClassTable) -> str:
    """Return the description of a layer: its file, its CRS and how it is drawn."""
    source = "./" + Path(os.path.relpath(layer.path, folder)).as_posix()
    kind = 'type="vector" geometry="Polygon"' if _provider(layer) == "ogr" else 'type="raster"'
    drawn = {
        "scene": f"<pipe>{_DRAWN_BANDS}</pipe>",
        "polygons": renderer(list(table)),
        "outlines": _OUTLINES,
    }
    return (
        f"<maplayer {kind}><id>{_identity(number)}</id><datasource>{escape(source)}</datasource>"
        f"<layername>{escape(layer.name)}</layername><srs>{reference}</srs>"
        f'<provider encoding="UTF-8">{_provider(layer)}</provider>{drawn[layer.kind]}</maplayer>'
    )
