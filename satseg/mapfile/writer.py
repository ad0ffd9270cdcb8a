"""Write finished work rasters as cloud-optimised GeoTIFFs with class colours and names."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError

from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.errors import OutputError, UsageError, one_line, printable
from satseg.fields import FieldError, parse_json
from satseg.files.gdal import Environment
from satseg.files.names import plain_folder, plain_target
from satseg.mapfile.overviews import write_overviews
from satseg.mapfile.work_raster import WorkRaster
from satseg.records import CERTAIN, MapLayer, SceneInfo

CLASSES_TAG = "SATSEG_CLASSES"
_COG_BLOCK = 512
_INTEGER, _TEXT = "0", "2"  # column types of GDAL's raster attribute tables
_TYPES = {"uint8": "Byte", "int32": "Int32"}  # GDAL's names
_NODATA = {"uint8": IGNORE_INDEX, "int32": 0}
_COLUMNS = (  # name, type and usage of each
    ("Value", _INTEGER, "5"),
    ("Class", _TEXT, "2"),
    ("Red", _INTEGER, "6"),
    ("Green", _INTEGER, "7"),
    ("Blue", _INTEGER, "8"),
)


@dataclass(frozen=True)
class _Band:
    """Name and classes of a band, and whether its values are shares."""

    name: str
    classes: ClassTable | None = None
    scaled: bool = True


def write_map(
    rows: WorkRaster,
    path: Path,
    scene: SceneInfo,
    classes: ClassTable,
    tags: Mapping[str, str],
    *,
    layer: MapLayer = MapLayer.CLASSES,
    threads: int = 1,
) -> None:
    """Copy a work raster to a cloud-optimised GeoTIFF: blocks of 512, overviews, DEFLATE, BigTIFF when needed.

    A class raster has overviews by mode, and the class table as colour table, band metadata and raster attribute table
    with names and colours (in ``.aux.xml``). Shares, such as confidence, have a scale that maps them to 0..1, and
    averaged overviews. Ids of objects are int32 with 0 as nodata.

    Args:
        rows: Finished work raster.
        path: File to write, in the folder of the work raster or above.
        scene: Grid of the map.
        classes: Names and colours.
        tags: Provenance, by tag name.
        layer: Content of the raster.
        threads: Threads for compression.

    Raises:
        OutputError: The file cannot be written (disk full, no permission).
    """
    bands = _bands(layer, classes)
    tags = {name: printable(value) for name, value in tags.items()}
    if layer is not MapLayer.OBJECTS:  # whose ids would be read as classes
        tags[CLASSES_TAG] = json.dumps(classes.to_dict(), ensure_ascii=False)
    try:
        with (
            plain_target(path) as target,
            plain_folder(rows.path.parent) as source,
            tempfile.TemporaryDirectory(dir=target.parent) as folder,
            Environment(GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE="ALL"),  # the work raster need not lie below the VRT
        ):
            halves = write_overviews(rows, Path(folder), layer=layer, smallest=_COG_BLOCK)
            levels = [_describe_overview(half) for half in halves]
            described = Path(folder) / "map.vrt"
            described.write_bytes(_describe(rows, source / rows.path.name, scene, bands, tags, levels))
            rasterio.shutil.copy(
                str(described),
                str(target),
                driver="COG",
                compress="deflate",
                blocksize=_COG_BLOCK,
                overviews="FORCE_USE_EXISTING",
                bigtiff="if_safer",
                num_threads=str(threads),
            )
            if layer is MapLayer.CLASSES:
                _name_colours(target.with_name(f"{target.name}.aux.xml"), classes)
    except OutputError as error:  # of an overview, whose temporary file is not worth naming
        raise OutputError(f"Cannot write {path}: {one_line(error.__cause__ or error)}.") from error
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise OutputError(f"Cannot write {path}: {one_line(error)}.") from error


def read_class_table(dataset: Any) -> ClassTable | None:
    """Return the class table that satseg stored in a raster, or None.

    Args:
        dataset: An open rasterio dataset.
    """
    stored = dataset.tags().get(CLASSES_TAG)
    if stored is None:
        return None
    try:
        return ClassTable.from_dict(parse_json(stored))
    except (UsageError, FieldError):
        return None


def _bands(layer: MapLayer, classes: ClassTable) -> list[_Band]:
    if layer is MapLayer.CLASSES:
        return [_Band("class", classes)]
    if layer is MapLayer.PROBABILITIES:
        return [_Band(entry.name) for entry in classes]
    return [_Band(layer.value, scaled=layer is not MapLayer.OBJECTS)]


def _describe(
    rows: WorkRaster,
    source: Path,
    scene: SceneInfo,
    bands: Sequence[_Band],
    tags: Mapping[str, str],
    levels: Sequence[Path],
) -> bytes:
    """Return a VRT of a work raster with the metadata of the map.

    ``source`` is an absolute path to the work raster which GDAL can read.
    """
    root = _dataset(rows)
    if scene.crs is not None:
        # Coordinates are in the order of the transform, (x, y), whatever axis order the authority defines.
        srs = ElementTree.SubElement(root, "SRS", dataAxisToSRSAxisMapping="1,2")
        srs.text = CRS.from_user_input(scene.crs).to_wkt()
    if not scene.transform.is_identity:
        ElementTree.SubElement(root, "GeoTransform").text = ", ".join(map(repr, scene.transform.to_gdal()))
    _metadata(root, tags)
    for number, band in enumerate(bands, start=1):
        element = _raw_band(root, number, rows, source)
        ElementTree.SubElement(element, "Description").text = band.name
        if band.classes is not None:
            _describe_classes(element, band.classes)
        elif band.scaled:
            ElementTree.SubElement(element, "Scale").text = repr(1 / CERTAIN)
        for level in levels:
            overview = ElementTree.SubElement(element, "Overview")
            ElementTree.SubElement(overview, "SourceFilename", relativeToVRT="1").text = level.name
            ElementTree.SubElement(overview, "SourceBand").text = str(number)
    return ElementTree.tostring(root, encoding="utf-8")


def _describe_overview(rows: WorkRaster) -> Path:
    """Write a VRT of an overview beside it."""
    described = rows.path.with_suffix(".vrt")
    root = _dataset(rows)
    for number in range(1, rows.bands + 1):
        _raw_band(root, number, rows, Path(rows.path.name))
    described.write_bytes(ElementTree.tostring(root, encoding="utf-8"))
    return described


def _dataset(rows: WorkRaster) -> ElementTree.Element:
    return ElementTree.Element("VRTDataset", rasterXSize=str(rows.width), rasterYSize=str(rows.height))


def _raw_band(root: ElementTree.Element, number: int, rows: WorkRaster, source: Path) -> ElementTree.Element:
    relative = "0" if source.is_absolute() else "1"
    element = ElementTree.SubElement(
        root, "VRTRasterBand", dataType=_TYPES[rows.dtype.name], band=str(number), subClass="VRTRawRasterBand"
    )
    ElementTree.SubElement(element, "NoDataValue").text = str(_NODATA[rows.dtype.name])
    ElementTree.SubElement(element, "SourceFilename", relativeToVRT=relative).text = str(source)
    ElementTree.SubElement(element, "ImageOffset").text = str((number - 1) * rows.width * rows.dtype.itemsize)
    ElementTree.SubElement(element, "PixelOffset").text = str(rows.dtype.itemsize)
    ElementTree.SubElement(element, "LineOffset").text = str(rows.bands * rows.width * rows.dtype.itemsize)
    return element


def _describe_classes(element: ElementTree.Element, classes: ClassTable) -> None:
    _metadata(element, {f"CLASS_{entry.id}": entry.name for entry in classes})
    ElementTree.SubElement(element, "ColorInterp").text = "Palette"
    table = ElementTree.SubElement(element, "ColorTable")
    names = ElementTree.SubElement(element, "CategoryNames")
    by_id = {entry.id: entry for entry in classes}
    for value in range(IGNORE_INDEX + 1):
        rgba = (*by_id[value].rgb, 255) if value in by_id else (0, 0, 0, 0 if value == IGNORE_INDEX else 255)
        ElementTree.SubElement(table, "Entry", {f"c{i}": str(part) for i, part in enumerate(rgba, start=1)})
        if value <= max(by_id):
            ElementTree.SubElement(names, "Category").text = by_id[value].name if value in by_id else ""
    _attribute_table(element, classes)


def _name_colours(path: Path, classes: ClassTable) -> None:
    """Add the palette of the classes alone to ``.aux.xml``, which GDAL prefers: that of a GeoTIFF has 256 colours.

    QGIS lists all colours of a palette, and takes those of the attribute table from version 3.30 on.
    """
    described = ElementTree.parse(path)
    band = described.find("PAMRasterBand")
    assert band is not None, "names of classes are there"
    table = ElementTree.SubElement(band, "ColorTable")
    for entry in classes:
        parts = (*entry.rgb, 255)
        ElementTree.SubElement(table, "Entry", {f"c{i}": str(part) for i, part in enumerate(parts, start=1)})
    described.write(path, encoding="utf-8")


def _attribute_table(element: ElementTree.Element, classes: ClassTable) -> None:
    table = ElementTree.SubElement(element, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(_COLUMNS):
        field = ElementTree.SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            ElementTree.SubElement(field, tag).text = text
    for index, entry in enumerate(classes):
        row = ElementTree.SubElement(table, "Row", index=str(index))
        for cell in (entry.id, entry.name, *entry.rgb):
            ElementTree.SubElement(row, "F").text = str(cell)


def _metadata(element: ElementTree.Element, tags: Mapping[str, str]) -> None:
    metadata = ElementTree.SubElement(element, "Metadata")
    for name, value in tags.items():
        ElementTree.SubElement(metadata, "MDI", key=name).text = value
