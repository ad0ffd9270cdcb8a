"""Whether an input is still the one it was: one fingerprint for files, archives, mosaics and what is read remotely."""

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

WHOLE_BYTES = 2**30  # read of all inputs together, where dates do not count; some seconds, of what is read anyway
_FEW_BYTES = 2**21  # where they do
_PIECES = 32  # of a file that is too long to be read as a whole
_LEAST = 2**12  # bytes of a part
_NO_CONTENT = (".ovr", "-shm", ".qix", ".sbn", ".sbx", ".idm", ".ind")  # made of the others, to find things sooner
_STATISTICS = re.compile(rb"<MDI key=\"STATISTICS_[^<]*</MDI>|<Histograms>.*?</Histograms>|\s+", re.DOTALL)
_ARCHIVE = re.compile(r"(.*?\.(?:zip|tar|tgz|tar\.gz|gz))/", re.IGNORECASE | re.DOTALL)
_ATTEMPTS = 2
_TIMEOUT = 10  # seconds
_CONNECTIONS = 16


def fingerprint(names: Iterable[str | Path], *, dated: bool = False, brief: bool = False) -> str:
    """Return a hash of inputs that changes when one of them does, or something that belongs to it.

    All files count that an input consists of (see :mod:`~satseg.files.local_files`), by name without folder, size and
    content. Of remote files that is what the server tells of them: ETag, size and date; where it tells only GDAL,
    what the head of the raster does. Statistics and pyramids that other programs leave beside a raster do not count.

    Args:
        names: Inputs, in an order that counts; files, folders, URLs or names of GDAL's own.
        dated: Whether the times of change count instead of most of the content: quick, for what never leaves this
            machine. Without it, equal files have equal fingerprints wherever they lie, and a gigabyte is read at most;
            of more than that, parts of each file.
        brief: Read no more than ``dated`` does, for what stays with a file: whoever compares looks at dates as well.

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
    """Return a hash of what files hold, and nothing beside them: of a gigabyte at most, or parts of each.

    Returns:
        SHA-256 in hexadecimal, the same wherever files of these names and contents lie.
    """
    share = WHOLE_BYTES // max(len(paths), 1)
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        described = list(pool.map(lambda path: _describe(path, share, dated=False), paths))
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _counts(path: Path) -> bool:
    if path.name.endswith(("-wal", "-journal")):  # an empty one is there while somebody merely looks
        return os.path.exists(path) and os.path.getsize(path) > 0
    return not path.name.endswith(_NO_CONTENT)


def _describe(path: Path, share: int, *, dated: bool) -> list[Any]:
    """Return what tells a file from another one, or from itself after a change, ready for JSON."""
    try:
        if path.name.endswith(".aux.xml"):  # QGIS writes statistics there when it opens a raster
            return [printable(path.name), hashlib.sha256(_STATISTICS.sub(b"", path.read_bytes())).hexdigest()]
        found = path.stat()
        changed = [found.st_mtime_ns] if dated else []
        return [printable(path.name), found.st_size, *changed, _content(path, found.st_size, share)]
    except OSError as error:  # it went meanwhile, or may not be read: that is said when it is
        return [printable(path.name), error.errno]


def _content(path: Path, size: int, share: int) -> str:
    """Return a hash of a file, or of evenly spaced parts of one that has more than ``share`` bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if size <= share:
            while piece := file.read(2**20):
                digest.update(piece)
            return digest.hexdigest()
        length = max(share // _PIECES, _LEAST)
        pieces = max(share // length, 2)  # the first and the last bytes, where formats keep their tables, among them
        for number in range(pieces):
            file.seek(max(size - length, 0) * number // (pieces - 1))
            digest.update(file.read(length))
    return digest.hexdigest()


def _describe_remote(name: str) -> list[Any]:
    """Return what a server tells of a file; the name, which may carry a signature of today, does not count."""
    url = web_address(gdal_name(name))
    told = (url and _ask(url)) or _seen_by_gdal(name)
    if told is None:
        log.debug("It cannot be told whether %s has changed.", name)
    return [Path(name.partition("?")[0]).name, told]


def _seen_by_gdal(name: str) -> list[Any] | None:
    """Return what the head of a raster tells, for stores to which only GDAL has the keys; None where it is no raster.

    Where the last block of a compressed file lies, and how long it is, changes with nearly every pixel before it.
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
    """Return the URL of what GDAL reads over the network; None where only GDAL has the keys to it."""
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
    """Return ETag, size and date of a file on a server, None where it does not tell."""
    head = Request(url, method="HEAD", headers={"Accept-Encoding": "identity"})
    byte = Request(url, headers={"Range": "bytes=0-0", "Accept-Encoding": "identity"})
    return _answer(head) or _answer(byte)  # URLs are signed for one of them, and GDAL is given those for reading


def _answer(request: Request) -> list[str | None] | None:
    for attempt in range(_ATTEMPTS):
        try:
            with urlopen(request, timeout=_TIMEOUT) as answer:
                told = answer.headers
                size = (told.get("Content-Range") or "").rpartition("/")[2] or told.get("Content-Length")
                return [told.get("ETag"), size, told.get("Last-Modified")]
        except HTTPError as error:
            if error.code < 500 and error.code != 429:
                return None
        except (OSError, ValueError):
            pass
        time.sleep(attempt)
    return None
