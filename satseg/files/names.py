"""Translate file names for GDAL and pyogrio.

Both libraries interpret names beyond the file system: prefixes, schemes, ``!`` before members of archives, ``;`` and
``?`` of URLs. Here, a name of an existing file always means that file; only other names are URLs or GDAL names.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioIOError

from satseg.errors import printable
from satseg.files.gdal import Environment

_LAYER = "|layername="
_VIRTUAL = re.compile(r"/vsi|[a-z0-9+_]{2,}:|<", re.IGNORECASE)
_REMOTE = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)(_streaming)?\b", re.IGNORECASE)
_SCHEME = re.compile(r"([a-z0-9+]+)://(.*)", re.IGNORECASE | re.DOTALL)
_DRIVE = re.compile(r"\A/(?=[a-z]:[/\\])", re.IGNORECASE)  # file:///C:/data has a slash before the drive
_ARCHIVES = ("zip", "tar", "gzip")
_STORES = {name: name for name in ("s3", "gs", "az", "adls", "oss", "swift", "hdfs", "webhdfs")} | {"adl": "adls"}
_WEB = ("http", "https", "ftp")

LAYER_SUFFIXES = frozenset(
    (".gpkg", ".geojson", ".geojsonl", ".json", ".shp", ".fgb", ".parquet", ".geoparquet", ".kml", ".gml", ".sqlite")
)
"""Suffixes of files that hold vector layers."""

_NOTHING = re.compile(r"(?!)")
_PYOGRIO_SPLITS = re.compile(r"[!;?<\x00-\x1f\x7f]")  # separators of URLs, characters that urllib drops, XML
_GDAL_SPLITS = re.compile(r"<")  # XML of a VRT
if os.name == "nt":  # a path with a drive is taken as it is, and no name has any of the other characters
    _PYOGRIO_SPLITS = _GDAL_SPLITS = _NOTHING
_PLAIN = re.compile(r"[\w.-]*", re.ASCII)
_RESERVED = re.compile(r"gpkg|sqlite_|layer_styles$|[`~!@#$%^&*()+={}|\[\]\\:\";'<>?,./-]", re.IGNORECASE)
"""Forbidden beginnings of layer names in a GeoPackage: names of its own tables, and GDAL's special characters."""
_CONTROL = dict.fromkeys([*range(32), 127], "_")


def is_local_file(name: str) -> bool:
    """Tell whether a name is a local path, not a URL, virtual file system or subdataset.

    The name of an existing file always is.
    """
    return os.path.exists(name) or not _VIRTUAL.match(name)


def is_remote(name: str) -> bool:
    """Tell whether GDAL reads a name over the network, also through an archive (``/vsizip//vsicurl/...``)."""
    return not is_local_file(name) and bool(_REMOTE.search(gdal_name(name)))


def gdal_name(name: str | Path) -> str:
    """Return the name of a file for GDAL: an absolute path, ``/vsi...``, or the name as it is.

    Args:
        name: A file, a URL (``https://``, ``s3://``, ``zip+https://...!inner``), or a GDAL name.
    """
    text = str(name)
    if os.path.exists(text):  # GDAL finds no prefix in an absolute path
        return "/" + os.path.join(os.getcwd(), text).lstrip("/") if os.name == "posix" else os.path.abspath(text)
    found = _SCHEME.fullmatch(text)
    if found is None:
        return text
    schemes, rest = found[1].lower().split("+"), found[2]
    known = all(part in (*_ARCHIVES, *_STORES, *_WEB, "file") for part in schemes)
    return _virtual_name(schemes, rest) if known else text


def split_layer(name: str) -> tuple[str, str | None]:
    """Return the file and the layer (or None) of ``file.gpkg|layername=roads``, as QGIS writes it."""
    if os.path.exists(name) or _LAYER not in name:
        return name, None
    file, _, layer = name.rpartition(_LAYER)
    return file, layer


def open_raster(name: str | Path, **options: Any) -> Any:
    """Open a raster for reading by its name as the user gave it, keeping the datum shift of its CRS.

    Raises:
        RasterioError: It is not a raster.
    """
    try:
        spelt = gdal_name(name)
        if _is_endless(spelt):
            raise RasterioIOError("it is a pipe or a device, not a file")
        if not os.path.exists(spelt) or _fits(spelt, _GDAL_SPLITS):
            return _open(spelt, options)
        links = tempfile.TemporaryDirectory(prefix="satseg-")
        dataset = _open(_link(Path(spelt), Path(links.name), _GDAL_SPLITS), options)
        weakref.finalize(dataset, links.cleanup)  # masks and overviews are opened by name later
        return dataset
    except ValueError as error:  # also UnicodeError
        raise RasterioIOError(f"GDAL cannot open a file of this name: {error}") from error


def _is_endless(name: str) -> bool:
    """Tell whether a name is a pipe, device or socket, on which GDAL would block."""
    try:
        mode = os.stat(name).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def _open(spelt: str, options: dict[str, Any]) -> Any:
    with Environment(OSR_STRIP_TOWGS84="NO"):
        return rasterio.open(spelt, **options)


@contextmanager
def vector_name(name: str | Path) -> Iterator[str]:
    """Yield the name of a file for pyogrio, without its layer, valid inside the block."""
    spelt = gdal_name(name)
    if not os.path.exists(spelt):
        yield spelt
        return
    with tempfile.TemporaryDirectory(prefix="satseg-") as links:
        plain = spelt if _fits(spelt, _PYOGRIO_SPLITS) else _link(Path(spelt), Path(links), _PYOGRIO_SPLITS)
        zipped = plain.lower().endswith(".zip") and not plain.lower().endswith((".shp.zip", ".gpkg.zip"))
        yield f"/vsizip/{plain}" if zipped else plain


@contextmanager
def text_name(path: Path) -> Iterator[Path]:
    """Yield an encodable path to an existing file, for libraries that need one, valid inside the block."""
    if printable(str(path)) == str(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="satseg-") as links:
        yield Path(_link(path.absolute(), Path(links), _NOTHING))


@contextmanager
def plain_folder(folder: Path) -> Iterator[Path]:
    """Yield a path to a folder that GDAL, pyogrio and rasterio do not reinterpret, valid inside the block."""
    spelt = str(folder.absolute())
    if _fits(spelt, _PYOGRIO_SPLITS) and _fits(spelt, _GDAL_SPLITS):
        yield folder.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="satseg-") as links:
        yield _linked_folder(folder, Path(links))


@contextmanager
def plain_target(path: Path) -> Iterator[Path]:
    """Yield a path without special characters to write to; the result is moved to ``path`` when the block ends.

    Args:
        path: The file to write, in an existing folder. Sidecars that a driver adds (``.dbf``, ``.aux.xml``) are moved
            as well.

    Yields:
        A path with the suffix of ``path`` that GDAL, pyogrio and rasterio do not reinterpret.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as folder:
        target = Path(folder) / f"new{path.suffix.lower()}"
        with plain_folder(Path(folder)) as plain:
            yield plain / target.name
        for made in sorted(Path(folder).iterdir(), key=lambda made: made.name == target.name):
            os.replace(made, path.with_name(_renamed(made.name, target, path)))


def layer_name(stem: str) -> str:
    r"""Return the name of a layer in a file of this stem: the stem, as far as formats allow it.

    Names that GeoPackage forbids, with its own prefixes or special characters, get a leading ``_``. Control characters
    become ``_``, and bytes that are not UTF-8 are escaped as ``\xe4``.
    """
    name = printable(stem).translate(_CONTROL)
    return f"_{name}" if _RESERVED.match(name) else name


def _virtual_name(schemes: list[str], rest: str) -> str:
    """Return the name in GDAL's virtual file systems for the schemes of a URL, the outermost first."""
    if "file" in schemes and not os.path.exists(rest):
        rest = _DRIVE.sub("", rest)
    archives = [part for part in schemes if part in _ARCHIVES]
    inner = schemes[-1] if schemes[-1] not in (*_ARCHIVES, "file") else None
    if not archives:
        return _in_store(inner, rest)
    file, mark, member = rest.partition("!")
    place = _in_store(inner, file) if inner else gdal_name(file)
    return "/".join([*(f"/vsi{part}" for part in archives), place]) + (f"/{member.lstrip('/')}" if mark else "")


def _in_store(scheme: str | None, rest: str) -> str:
    if scheme is None:
        from urllib.parse import unquote

        return rest if os.path.exists(rest) or not os.path.exists(unquote(rest)) else unquote(rest)
    return f"/vsicurl/{scheme}://{rest}" if scheme in _WEB else f"/vsi{_STORES[scheme]}/{rest}"


def _fits(name: str, splits: re.Pattern[str]) -> bool:
    return printable(name) == name and not splits.search(name)


def _link(path: Path, links: Path, splits: re.Pattern[str]) -> str:
    """Link a file and its sidecars under a plain name in a folder of links."""
    if _fits(path.name, splits):
        return str(_linked_folder(path.parent, links) / path.name)
    target = links / f"file{_plain_ending(path.suffix)}"
    target.symlink_to(path)
    for beside in path.parent.iterdir():
        ending = beside.name.removeprefix(path.stem)
        link = links / f"file{ending}"
        if ending[:1] in (".", "-") and _PLAIN.fullmatch(ending) and beside.name != path.name and not link.exists():
            link.symlink_to(beside)
    return str(target)


def _linked_folder(folder: Path, links: Path) -> Path:
    link = links / "folder"
    link.symlink_to(folder.absolute(), target_is_directory=True)
    return link


def _plain_ending(suffix: str) -> str:
    """Return a suffix without a query: ``.tif`` for ``.tif?sig=ab``."""
    found = re.match(r"\.\w+", suffix, re.ASCII)
    return found[0] if found else ""


def _renamed(name: str, target: Path, path: Path) -> str:
    """Return the final name of a file that was written beside ``target``."""
    if name.startswith(target.name):  # map.tif.aux.xml, map.gpkg-wal
        return path.name + name.removeprefix(target.name)
    return path.stem + name.removeprefix(target.stem)


def identity(paths: Sequence[str]) -> tuple[str, ...]:
    """Return identifiers of the files of a scene, which are the same through links."""
    return tuple(_identity(path) for path in paths)


def _identity(path: str) -> str:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):  # a URL or a GDAL name
        return path
    return f"{found.st_dev}:{found.st_ino}"
