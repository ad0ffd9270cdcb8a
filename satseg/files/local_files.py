"""List the local files of an input: sidecars, members of folders, archives and mosaics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

from rasterio.errors import RasterioError

from satseg.files.gdal import looking_beside
from satseg.files.names import gdal_name, is_local_file, is_remote, open_raster, split_layer

_BESIDE = (".msk", ".ovr", ".aux.xml", "-wal", "-shm", "-journal")
"""Endings appended to the whole name of a file."""
_WORLD_FILES = (".tfw", ".tifw", ".tiffw", ".jgw", ".jpgw", ".jpegw", ".pgw", ".pngw", ".wld")
_BESIDE_RASTERS = (*_WORLD_FILES, ".prj", ".hdr", ".clr")
_BESIDE_STEMS = {
    ".shp": (".shx", ".dbf", ".prj", ".cpg", ".qix", ".qpj", ".sbn", ".sbx", ".idm", ".ind"),
    ".dbf": (".shp", ".shx", ".prj", ".cpg"),
    ".tab": (".dat", ".map", ".id", ".ind"),
    ".mif": (".mid",),
    ".gml": (".xsd", ".gfs"),
    ".csv": (".csvt", ".prj"),
}
_WHOLE = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".webp", ".bmp")  # have no files other than sidecars
_NOT_RASTER = (".gpkg", ".fgb", ".geojson", ".geojsonl", ".json", ".kml", ".parquet", ".geoparquet", ".sqlite")
_MOSAIC = re.compile(rb"^\s*(<\?xml[^>]*>\s*)?<(OGRVRTDataSource|VRTDataset)\b")
_MOST_IN_A_FOLDER = 10_000  # a scene that is a folder has fewer; another folder may be a whole disk
_BEGINNING = re.compile(r"/vsi\w+\?*/|://|[:=?&,\"'({\s]")
_ENDING = re.compile(r"[/\\:?&,!\"')}|]")


def local_files(name: str | Path) -> list[Path]:
    """Return the local files of an input: absolute paths, sorted.

    They are the file itself and its sidecars (masks, world files, the parts of a Shapefile, the journal of a
    GeoPackage), all files of a folder, the archive of a path into one, the files in GDAL names
    (``GPKG:pic.gpkg:pic``, ``vrt://map.tif?bands=1``), and the sources of VRTs, recursively.

    Args:
        name: A file, a folder, a URL or a GDAL name, with or without a layer (``|layername=``).
    """
    return sorted(walk(name)[0])


def walk(name: str | Path) -> tuple[set[Path], set[str]]:
    """Return the local files as :func:`local_files` does, and the names of remote files."""
    found: set[Path] = set()
    remote: set[str] = set()
    waiting = [split_layer(str(name))[0]]
    top = True
    while waiting:
        text = waiting.pop()
        if is_remote(text):
            remote.add(text)
            continue
        named = [path for path in _named(text) if path not in found]
        found.update(named)
        if top and not (len(named) == 1 and named[0].suffix.lower() in _WHOLE):
            waiting += _referred(text)
        top = False
        for path in named:
            found.update(beside(path))
            if _is_mosaic(path):
                waiting += [*_referred(str(path)), *_vector_members(path)]
    return found, remote


def beside(path: Path) -> list[Path]:
    """Return the sidecars of a file that exist."""
    suffix = path.suffix.lower()
    endings = _BESIDE_STEMS.get(suffix, () if suffix in _NOT_RASTER else _BESIDE_RASTERS)
    either = [written for ending in endings for written in (ending, ending.upper())]
    near = [path.with_name(path.name + ending) for ending in _BESIDE]
    near += [path.with_name(path.stem + ending) for ending in either]
    return [other for other in near if other != path and _is_file(other)]


def _named(text: str) -> list[Path]:
    """Return the files in a name, without opening any."""
    if not text:
        return []
    if is_local_file(text):
        path = _absolute(text)
        if path.is_dir():
            return sorted(islice(filter(_is_file, path.rglob("*")), _MOST_IN_A_FOLDER))
        return [path] if _is_file(path) else []
    return sorted(set(_paths_within(gdal_name(text))))


def _paths_within(text: str) -> Iterator[Path]:
    """Yield the longest existing path from each position in a name where one may begin."""
    ends = [len(text), *(found.start() for found in reversed(list(_ENDING.finditer(text))))]
    done = 0
    for start in [0, *(found.end() for found in _BEGINNING.finditer(text))]:
        end = next((end for end in ends if end > start >= done and _is_file(_absolute(text[start:end]))), None)
        if end is not None:
            done = end
            yield _absolute(text[start:end])


def _referred(text: str) -> list[str]:
    """Return the files that GDAL lists for a raster."""
    with suppress(RasterioError), looking_beside(remote=False), open_raster(text) as dataset:
        return [_unlinked(file) for file in dataset.files]
    return []


def _unlinked(file: str) -> str:
    """Return the file behind a temporary link, see :func:`names.open_raster`."""
    path = Path(file)
    return str(path.resolve()) if "satseg-" in file and path.exists() else file


def _is_mosaic(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return bool(_MOSAIC.match(file.read(512)))
    return False


def _vector_members(path: Path) -> list[str]:
    """Return the sources of a vector VRT."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError):
        return []
    sources = [source for source in root.iter("SrcDataSource") if source.text]
    relative = [source.get("relativeToVRT") == "1" for source in sources]
    texts = [str(source.text).strip() for source in sources]
    return [str(path.parent / text) if inside else text for text, inside in zip(texts, relative, strict=True)]


def _absolute(text: str) -> Path:
    path = Path(text).absolute()
    return Path("/", *path.parts[1:]) if path.root == "//" else path  # pathlib distinguishes // from /


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return False
