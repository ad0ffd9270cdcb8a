"""A QGIS project: scenes, maps and polygons, each in its style.

It is plain XML with the elements that QGIS 3 reads (``QgsProject::read``, ``QgsMapLayer::readLayerXml``); QGIS fills in
the rest. Paths are relative to the project, so that its folder may be moved.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from satseg.errors import printable
from satseg.files.atomic_write import atomic_write
from satseg.geo.crs import parse_crs
from satseg.outputs.project_file import PROJECT_MARK
from satseg.qgis.style import DOCTYPE, VERSION

_PROPERTIES = (
    '<Paths><Absolute type="bool">false</Absolute></Paths>'
    '<SpatialRefSys><ProjectionsEnabled type="int">1</ProjectionsEnabled></SpatialRefSys>'  # else the CRS is not read
)
_CODE = re.compile(r"\w+:[\w.-]+")  # an authority and its code
_CONTROL = dict.fromkeys([*range(32), 127], "_")  # characters that XML does not have


@dataclass(frozen=True)
class Layer:
    """A layer of a project.

    Args:
        name: Name in the list of layers.
        source: Its file, or the name by which GDAL opens it where it is no local file.
        style: Element that draws it, of :mod:`satseg.qgis.style` or :mod:`satseg.qgis.raster_style`.
        crs: ``EPSG:...``, WKT, or None.
        vector: Whether it has polygons.
        table: Its table in a file that may have several.
        visible: Whether it is shown when the project opens.
    """

    name: str
    source: Path | str
    style: str
    crs: str | None
    vector: bool = False
    table: str | None = None
    visible: bool = True

    @property
    def provider(self) -> str:
        """QGIS's name for what reads it."""
        return "ogr" if self.vector else "gdal"


@dataclass(frozen=True)
class Group:
    """Layers that the list shows below one name.

    Args:
        name: Name in the list of layers.
        layers: Its layers, from top to bottom.
    """

    name: str
    layers: tuple[Layer, ...]


def can_name(source: Path | str) -> bool:
    """Tell whether a project, which is text in UTF-8, can name a file."""
    name = str(source)
    return printable(name).translate(_CONTROL) == name


def write_project(
    path: Path,
    entries: Sequence[Layer | Group],
    *,
    title: str,
    crs: str | None,
    bounds: tuple[float, float, float, float] | None,
) -> None:
    """Write a QGIS project (``.qgs``).

    Args:
        path: File to write. A project that satseg wrote is replaced.
        entries: Layers and groups, from top to bottom.
        title: Title of the window.
        crs: CRS of the project: ``EPSG:...``, WKT, or None.
        bounds: Ground that is shown first: left, bottom, right, top in units of the CRS; None leaves it to QGIS.

    Raises:
        OutputError: It cannot be written, or there is a project that QGIS has saved.
    """
    numbers = {id(layer): number for number, layer in enumerate(_layers(entries))}
    folder = path.absolute().parent
    tree = "".join(_entry(entry, numbers) for entry in entries)
    described = "".join(_described(layer, numbers, folder) for layer in _layers(entries))
    shown = f"<extent>{_extent(bounds)}</extent>" if bounds else ""
    text = (
        f"{DOCTYPE}{PROJECT_MARK}\n"
        f'<qgis projectname={_attribute(title)} version="{VERSION}"><homePath path=""/><title>{_text(title)}</title>'
        f"<projectCrs>{_reference(crs)}</projectCrs><layer-tree-group>{tree}</layer-tree-group>"
        f'<mapcanvas name="theMapCanvas">{shown}<destinationsrs>{_reference(crs)}</destinationsrs></mapcanvas>'
        f"<projectlayers>{described}</projectlayers>"
        f"<properties>{_PROPERTIES}</properties></qgis>\n"
    )
    with atomic_write(path) as place:
        place.write_text(text, encoding="utf-8")


def _layers(entries: Sequence[Layer | Group]) -> Iterator[Layer]:
    for entry in entries:
        yield from entry.layers if isinstance(entry, Group) else (entry,)


def _extent(bounds: Sequence[float]) -> str:
    corners = zip(("xmin", "ymin", "xmax", "ymax"), map(float, bounds), strict=True)
    return "".join(f"<{name}>{value!r}</{name}>" for name, value in corners)


def _reference(crs: str | None) -> str:
    if crs is None:
        return ""
    code = f"<authid>{_text(crs)}</authid>" if _CODE.fullmatch(crs) else ""
    # QGIS takes a code only with its own number for it, and recognises the CRS by its definition.
    return f"<spatialrefsys><wkt>{_text(parse_crs(crs).to_wkt())}</wkt>{code}</spatialrefsys>"


def _entry(entry: Layer | Group, numbers: dict[int, int]) -> str:
    """Return the entry of a layer or a group in the list of layers."""
    if isinstance(entry, Group):
        inside = "".join(_entry(layer, numbers) for layer in entry.layers)
        return (
            f'<layer-tree-group name={_attribute(entry.name)} checked="Qt::Checked" expanded="1">{inside}'
            "</layer-tree-group>"
        )
    checked = "Qt::Checked" if entry.visible else "Qt::Unchecked"
    return (
        f'<layer-tree-layer id="{_identity(entry, numbers)}" name={_attribute(entry.name)} checked="{checked}" '
        f'expanded="{int(entry.visible and entry.vector)}" providerKey="{entry.provider}"/>'
    )


def _described(layer: Layer, numbers: dict[int, int], folder: Path) -> str:
    """Return the description of a layer: its file, its CRS and how it is drawn."""
    kind = 'type="vector" geometry="Polygon"' if layer.vector else 'type="raster"'
    return (
        f"<maplayer {kind}><id>{_identity(layer, numbers)}</id><datasource>{_text(_source(layer, folder))}</datasource>"
        f"<layername>{_text(layer.name)}</layername><srs>{_reference(layer.crs)}</srs>"
        f'<provider encoding="UTF-8">{layer.provider}</provider>{layer.style}</maplayer>'
    )


def _identity(layer: Layer, numbers: dict[int, int]) -> str:
    return f"satseg_layer_{numbers[id(layer)]:05}"  # QGIS takes no id of less than 11 characters


def _source(layer: Layer, folder: Path) -> str:
    """Return how the project names a file: relative to its folder, if they are on the same drive."""
    source = str(layer.source)
    if isinstance(layer.source, Path):
        try:
            source = "./" + Path(os.path.relpath(layer.source, folder)).as_posix()
        except ValueError:  # Windows: another drive
            source = layer.source.absolute().as_posix()
    return source if layer.table is None else f"{source}|layername={layer.table}"


def _text(text: str) -> str:
    return escape(printable(text).translate(_CONTROL))


def _attribute(text: str) -> str:
    return quoteattr(printable(text).translate(_CONTROL))
