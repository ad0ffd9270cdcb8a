"""Refuse images whose pixels are stored rotated or mirrored (EXIF and TIFF tag 274)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, Any

from satseg.errors import SatsegError

_UPRIGHT = 1
_ORIENTATION = 274
_TURNED = {
    2: "mirrored left to right",
    3: "rotated by 180 degrees",
    4: "mirrored top to bottom",
    5: "mirrored and rotated by 270 degrees",
    6: "rotated by 90 degrees",
    7: "mirrored and rotated by 90 degrees",
    8: "rotated by 270 degrees",
}


def refuse_turned(dataset: Any, error: type[SatsegError]) -> None:
    """Refuse a raster that viewers rotate or mirror, unless it has a geotransform.

    GDAL reads pixels as they are stored, while other programs rotate them: an image and a mask that match in a viewer
    would not match here.

    Args:
        dataset: An open rasterio dataset.
        error: Error class to raise.

    Raises:
        SatsegError: Its orientation is 2 to 8.
    """
    if not dataset.transform.is_identity or dataset.gcps[0]:
        return
    orientation = _orientation(dataset)
    if orientation in _TURNED:
        raise error(
            f"{dataset.name} is marked to be shown {_TURNED[orientation]} (orientation {orientation}), so image and "
            "labels may not match.",
            hint="Rotate its pixels first, and those of its labels: mogrify -auto-orient FILE",
        )


def _orientation(dataset: Any) -> int:
    stated = dataset.tags().get("EXIF_Orientation", "").strip()
    if stated.isdigit():
        return int(stated)
    path = Path(dataset.name)
    if dataset.driver not in _READERS or not path.is_file():
        return _UPRIGHT
    try:
        with path.open("rb") as file:
            return _READERS[dataset.driver](file)
    except (struct.error, OSError):
        return _UPRIGHT


def _in_tiff(file: IO[bytes]) -> int:
    """Read the orientation from the first directory of a TIFF, which may be embedded in another file."""
    start = file.tell()
    order = "<" if file.read(2) == b"II" else ">"
    (version,) = struct.unpack(order + "H", file.read(2))
    big = version == 43
    if big:
        file.seek(4, 1)
    width, number = (8, "Q") if big else (4, "I")
    (first,) = struct.unpack(order + number, file.read(width))
    file.seek(start + first)
    counter, size = ("Q", 20) if big else ("H", 12)
    (count,) = struct.unpack(order + counter, file.read(struct.calcsize(counter)))
    for _ in range(min(count, 4096)):
        entry = file.read(size)
        if struct.unpack(order + "H", entry[:2]) == (_ORIENTATION,):
            return int(struct.unpack(order + "H", entry[size - width :][:2])[0])
    return _UPRIGHT


def _in_png(file: IO[bytes]) -> int:
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            return _in_tiff(file)
        file.seek(length + 4, 1)
    return _UPRIGHT


def _in_webp(file: IO[bytes]) -> int:
    file.seek(12)
    while len(head := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", head)
        if kind == b"EXIF":
            start = file.tell()
            file.seek(start if file.read(6) != b"Exif\0\0" else start + 6)
            return _in_tiff(file)
        file.seek(length + length % 2, 1)
    return _UPRIGHT


_READERS = {"GTiff": _in_tiff, "COG": _in_tiff, "PNG": _in_png, "WEBP": _in_webp}
