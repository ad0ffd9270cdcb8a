"""Fingerprints that detect changed inputs: files, archives, mosaics and remote files."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rasterio.errors import RasterioError

from satseg.errors import printable
from satseg.files.gdal import looking_beside
from satseg.files.local_files import walk
from satseg.files.names import gdal_name, open_raster

log = logging.getLogger("satseg")

WHOLE_BYTES = 2**30  # read from all inputs together without dates; takes a few seconds
_FEW_BYTES = 2**21  # the same, with dates
_PIECES = 32  # of a file that is too long to be read in full
_LEAST = 2**12  # bytes of a piece
_NO_CONTENT = (".ovr", "-shm", ".qix", ".sbn", ".sbx", ".idm", ".ind")  # overviews and indexes, derived from the rest
_STATISTICS = re.compile(rb"<MDI key=\"STATISTICS_[^<]*</MDI>|<Histograms>.*?</Histograms>|\s+", re.DOTALL)
_ARCHIVE = re.compile(r"(.*?\.(?:zip|tar|tgz|tar\.gz|gz))/", re.IGNORECASE | re.DOTALL)
_ATTEMPTS = 2
_TIMEOUT = 10  # seconds
_CONNECTIONS = 16


def fingerprint(names: Iterable[str | Path], *, dated: bool = False, brief: bool = False) -> str:
    """Return a hash of inputs that changes if one of them changes, or one of its sidecars.

    It covers all files of an input (see :mod:`~satseg.files.local_files`), by name without folder, size and content.
    Remote files are covered by ETag, size and date from the server or, if only GDAL has access, by the header of the
    raster. Statistics and overviews that other programs write beside a raster are ignored.

    Args:
        names: Inputs, in order; files, folders, URLs or GDAL names.
        dated: Use modification times instead of most of the content: fast, for inputs on this machine. Without it,
            equal files have equal fingerprints in any location, and at most a gigabyte is read, from more than that
            in pieces.
        brief: Read no more than with ``dated``, for fingerprints that are compared together with dates.

    Returns:
        SHA-256 in hexadecimal.
    """
    parts = [walk(name) for name in names]
    count = sum(len(files) for files, _ in parts)
    share = (_FEW_BYTES if dated or brief else WHOLE_BYTES) // max(count, 1)
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        described = [
            [
                [_describe(path, share, dated=dated) for path in sorted(files) if _counts(path)],
                list(pool.map(_describe_remote, sorted(remote))),
            ]
            for files, remote in parts
        ]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def fingerprint_of_files(paths: Sequence[Path]) -> str:
    """Return a hash of the contents of files, without sidecars; at most a gigabyte is read.

    Returns:
        SHA-256 in hexadecimal, the same for equal names and contents in any folder.
    """
    share = WHOLE_BYTES // max(len(paths), 1)
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        described = list(pool.map(lambda path: _describe(path, share, dated=False), paths))
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _counts(path: Path) -> bool:
    if path.name.endswith(("-wal", "-journal")):  # an empty one exists while another program reads
        return os.path.exists(path) and os.path.getsize(path) > 0
    return not path.name.endswith(_NO_CONTENT)


def _describe(path: Path, share: int, *, dated: bool) -> list[Any]:
    """Return a description of a file that changes with it, ready for JSON."""
    try:
        if path.name.endswith(".aux.xml"):  # QGIS writes statistics when it opens a raster
            return [printable(path.name), hashlib.sha256(_STATISTICS.sub(b"", path.read_bytes())).hexdigest()]
        found = path.stat()
        changed = [found.st_mtime_ns] if dated else []
        return [printable(path.name), found.st_size, *changed, _content(path, found.st_size, share)]
    except OSError as error:  # deleted meanwhile or not readable, which is reported when it is read
        return [printable(path.name), error.errno]


def _content(path: Path, size: int, share: int) -> str:
    """Return a hash of a file, or of evenly spaced pieces if it has more than ``share`` bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if size <= share:
            while piece := file.read(2**20):
                digest.update(piece)
            return digest.hexdigest()
        length = max(share // _PIECES, _LEAST)
        pieces = max(share // length, 2)  # including the first and last bytes, where formats store their tables
        for number in range(pieces):
            file.seek(max(size - length, 0) * number // (pieces - 1))
            digest.update(file.read(length))
    return digest.hexdigest()


def _describe_remote(name: str) -> list[Any]:
    """Return the server's description of a file, without the query of its URL, which may be signed."""
    url = web_address(gdal_name(name))
    described = (url and _ask(url)) or _seen_by_gdal(name)
    if described is None:
        log.debug("Changes of %s cannot be detected.", name)
    return [Path(name.partition("?")[0]).name, described]


def _seen_by_gdal(name: str) -> list[Any] | None:
    """Return the header of a raster, for stores that only GDAL can access; None if it is not a raster.

    The offset and size of the last block of a compressed file change with nearly every pixel before it.
    """
    try:
        with looking_beside(remote=True), open_raster(name) as dataset:
            rows, columns = dataset.block_shapes[0]
            last = f"{(dataset.width - 1) // columns}_{(dataset.height - 1) // rows}"
            asked = [(f"BLOCK_{what}_{last}", band) for what in ("OFFSET", "SIZE") for band in dataset.indexes]
            places = [dataset.get_tag_item(item, "TIFF", bidx=band) for item, band in asked]
            known = [dataset.shape, dataset.dtypes, dataset.nodatavals, dataset.tags(), list(dataset.transform)[:6]]
            return [*known, places]
    except RasterioError:
        return None


def web_address(name: str) -> str | None:
    """Return the URL of a file that GDAL reads over the network; None if only GDAL can access it."""
    web = re.search(r"/vsicurl(?:_streaming)?/((?:https?|ftp)://.*)", name, re.DOTALL)
    if web is not None:
        archive = None if web.start() == 0 else _ARCHIVE.match(web[1])
        return archive[1] if archive else web[1]
    bucket = re.search(r"/vsi(s3|gs)(?:_streaming)?/([^/]+)/(.*)", name, re.DOTALL)
    if bucket is None:
        return None
    store, container, key = bucket.groups()
    if store == "gs":
        return f"https://storage.googleapis.com/{container}/{key}"
    if os.environ.get("AWS_NO_SIGN_REQUEST", "").upper() not in ("YES", "TRUE", "ON", "1"):
        return None
    scheme = "http" if os.environ.get("AWS_HTTPS", "").upper() in ("NO", "FALSE", "OFF", "0") else "https"
    endpoint = os.environ.get("AWS_S3_ENDPOINT", "s3.amazonaws.com")
    plain = os.environ.get("AWS_VIRTUAL_HOSTING", "").upper() in ("NO", "FALSE", "OFF", "0")
    return f"{scheme}://{endpoint}/{container}/{key}" if plain else f"{scheme}://{container}.{endpoint}/{key}"


def _ask(url: str) -> list[str | None] | None:
    """Return ETag, size and date of a file on a server, or None."""
    head = Request(url, method="HEAD", headers={"Accept-Encoding": "identity"})
    byte = Request(url, headers={"Range": "bytes=0-0", "Accept-Encoding": "identity"})
    return _answer(head) or _answer(byte)  # signed URLs allow one method only, mostly GET


def _answer(request: Request) -> list[str | None] | None:
    for attempt in range(_ATTEMPTS):
        try:
            with urlopen(request, timeout=_TIMEOUT) as answer:
                headers = answer.headers
                size = (headers.get("Content-Range") or "").rpartition("/")[2] or headers.get("Content-Length")
                return [headers.get("ETag"), size, headers.get("Last-Modified")]
        except HTTPError as error:
            if error.code < 500 and error.code != 429:
                return None
        except (OSError, ValueError):
            pass
        time.sleep(attempt)
    return None
