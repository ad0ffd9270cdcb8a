"""The files that belong to a file: what readers open beside it, by its format.

A file that is replaced takes its family along. Else an index, a journal, a mask or pyramids of the file that was there
before would be read together with the new one. What users make themselves stays: styles (``.qml``, ``.sld``) and
descriptions (``.qmd``, ``.shp.xml``), from which no reader takes geometries, values or places. A style of satseg's own,
which the file was written with, goes.
"""

from __future__ import annotations

import os
from pathlib import Path

_BESIDE_ANY = (".aux.xml",)  # GDAL's own notes: statistics, histograms, metadata, georeference
_APPENDED = {
    ".gpkg": ("-wal", "-shm", "-journal"),
    ".tif": (".ovr", ".msk", ".msk.ovr", ".ovr.msk", ".ovr.aux.xml", ".msk.aux.xml", ".vat.dbf", ".vat.cpg"),
}
"""What is appended to the whole name, by suffix."""

_SHAPEFILE = "shx dbf prj cpg cst qpj qix sbn sbx fbn fbx ain aih ixs mxs idm ind"
_REPLACED = {
    ".shp": tuple(f".{ending}" for ending in _SHAPEFILE.split()),
    ".tif": (".tfw", ".tifw"),  # .wld may be that of another image
    ".png": (".pgw", ".pngw"),
}
"""What stands in place of the suffix, by suffix."""

STYLE = ".qml"
"""Stands in place of the suffix of a layer in the name of its style, where QGIS looks for it."""

STYLE_MARK = "<!-- satseg replaces this style with its layer; one that is saved by QGIS stays. -->"

_ERDAS = b"EHFA_HEADER_TAG"
_HEAD = 1024  # bytes in which a mark stands
_LONGEST = {".gpkg": "-journal", ".tif": ".aux.xml"}
"""What is written beside a file and makes its name longer, by suffix."""


def family(path: Path) -> list[Path]:
    """Return the names of all files that readers would open together with a file, whether they exist or not.

    Suffixes are in lower and in upper case. The file itself is not among them.
    """
    suffix = _known(path.suffix)
    appended = [path.name + end for ending in (*_BESIDE_ANY, *_APPENDED.get(suffix, ())) for end in _cases(ending)]
    replaced = [path.stem + end for ending in _REPLACED.get(suffix, ()) for end in _cases(ending)]
    return [path.with_name(name) for name in (*appended, *replaced)]


def relatives(path: Path) -> list[Path]:
    """Return those of the :func:`family` that exist, broken links included, and what only its contents tell.

    That is what ERDAS notes of a raster, and a style that satseg has written with a GeoPackage.
    """
    found = [file for file in family(path) if os.path.islink(file) or os.path.isfile(file)]
    notes = [path.with_name(name + end) for name in (path.stem, path.name) for end in (".aux", ".rrd")]
    found += [file for file in notes if _known(path.suffix) == ".tif" and _begins(file, _ERDAS)]
    style = path.with_suffix(STYLE)
    return found + [style] * (_known(path.suffix) == ".gpkg" and _holds(style, STYLE_MARK))


def longest_name(path: Path) -> str:
    """Return the longest of the names that are written along with a file, its own included."""
    return path.name + _LONGEST.get(_known(path.suffix), "")


def needs_family(path: Path) -> bool:
    """Tell whether a file says something else, or nothing, without its family: a Shapefile without its table."""
    return _known(path.suffix) == ".shp"


def _cases(ending: str) -> tuple[str, str]:
    return ending, ending.upper()


def _begins(file: Path, head: bytes) -> bool:
    """Tell whether a file begins like that: one of ERDAS Imagine, and not what LaTeX leaves."""
    try:
        with file.open("rb") as opened:
            return opened.read(len(head)) == head
    except OSError:
        return False


def _holds(file: Path, mark: str) -> bool:
    """Tell whether a mark stands near the beginning of a file."""
    try:
        with file.open("rb") as opened:
            return mark.encode() in opened.read(_HEAD)
    except OSError:
        return False


def _known(suffix: str) -> str:
    suffix = suffix.lower()
    return ".tif" if suffix == ".tiff" else suffix
