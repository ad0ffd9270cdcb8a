"""Sidecar files: files that readers open together with a main file, by its format.

When a file is replaced, its sidecars are removed. Otherwise an index, a journal, a mask or overviews of the old file
would be read together with the new one. Files made by users are kept: styles (``.qml``, ``.sld``) and descriptions
(``.qmd``, ``.shp.xml``), from which readers take neither geometries nor values. A style that satseg wrote is removed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

_BESIDE_ANY = (".aux.xml",)  # GDAL's statistics, histograms, metadata and georeferencing
_APPENDED = {
    ".gpkg": ("-wal", "-shm", "-journal"),
    ".tif": (".ovr", ".msk", ".msk.ovr", ".ovr.msk", ".ovr.aux.xml", ".msk.aux.xml", ".vat.dbf", ".vat.cpg"),
}
"""Endings appended to the whole name, by suffix."""

_SHAPEFILE = "shx dbf prj cpg cst qpj qix sbn sbx fbn fbx ain aih ixs mxs idm ind"
_REPLACED = {
    ".shp": tuple(f".{ending}" for ending in _SHAPEFILE.split()),
    ".tif": (".tfw", ".tifw"),  # .wld may belong to another image
    ".png": (".pgw", ".pngw"),
}
"""Endings that replace the suffix, by suffix."""

STYLE = ".qml"
"""Suffix of the style of a layer, which QGIS loads with it."""

STYLE_MARK = "<!-- satseg replaces this style with its layer; one that is saved by QGIS stays. -->"

ITEM = ".json"
"""Suffix of the STAC Item of an exported network."""

ITEM_KEY = "satseg:item_of"
"""First key of such an item; its value is the name of the network's file."""

_NETWORKS = (".onnx", ".pt2", ".safetensors")

_ERDAS = b"EHFA_HEADER_TAG"
_HEAD = 1024  # bytes in which a mark is searched
_LONGEST = {".gpkg": "-journal", ".tif": ".aux.xml"}
"""Longest ending appended to a name during writing, by suffix."""


def possible_sidecars(path: Path) -> list[Path]:
    """Return the names of all possible sidecars of a file, whether they exist or not.

    Suffixes are in lower and upper case.
    """
    suffix = _known(path.suffix)
    appended = [path.name + end for ending in (*_BESIDE_ANY, *_APPENDED.get(suffix, ())) for end in _cases(ending)]
    replaced = [path.stem + end for ending in _REPLACED.get(suffix, ()) for end in _cases(ending)]
    return [path.with_name(name) for name in (*appended, *replaced)]


def existing_sidecars(path: Path) -> list[Path]:
    """Return the sidecars that exist, including broken links.

    They include files recognised by their contents: metadata of ERDAS for rasters, and styles and STAC Items written by
    satseg.
    """
    found = [file for file in possible_sidecars(path) if os.path.islink(file) or os.path.isfile(file)]
    notes = [path.with_name(name + end) for name in (path.stem, path.name) for end in (".aux", ".rrd")]
    found += [file for file in notes if _known(path.suffix) == ".tif" and _begins(file, _ERDAS)]
    style, item = path.with_suffix(STYLE), path.with_suffix(ITEM)
    found += [style] * (_known(path.suffix) == ".gpkg" and _holds(style, STYLE_MARK))
    return found + [item] * (_known(path.suffix) in _NETWORKS and describes(item, path))


def longest_name(path: Path) -> str:
    """Return the longest name that is written for a file, including its sidecars."""
    return path.name + _LONGEST.get(_known(path.suffix), "")


def needs_sidecars(path: Path) -> bool:
    """Tell whether a file is useless without its sidecars, such as a Shapefile without its table."""
    return _known(path.suffix) == ".shp"


def describes(item: Path, path: Path) -> bool:
    """Tell whether a file is the STAC Item that satseg wrote for an exported network."""
    return _holds(item, f"{json.dumps(ITEM_KEY)}: {json.dumps(path.name, ensure_ascii=False)}")


def _cases(ending: str) -> tuple[str, str]:
    return ending, ending.upper()


def _begins(file: Path, head: bytes) -> bool:
    """Tell whether a file begins with given bytes; ``.aux`` may be of ERDAS Imagine or of LaTeX."""
    try:
        with file.open("rb") as opened:
            return opened.read(len(head)) == head
    except OSError:
        return False


def _holds(file: Path, mark: str) -> bool:
    """Tell whether a mark is near the beginning of a file."""
    try:
        with file.open("rb") as opened:
            return mark.encode() in opened.read(_HEAD)
    except OSError:
        return False


def _known(suffix: str) -> str:
    suffix = suffix.lower()
    return ".tif" if suffix == ".tiff" else suffix
