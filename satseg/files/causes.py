"""Causes and remedies of read errors, from the exceptions of the libraries."""

from __future__ import annotations

import re

from satseg.errors import one_line

_REMEDIES = (
    (
        r"codec can't decode|invalid UTF-8|not.* valid UTF-8",
        "Its texts are not in the declared encoding. For a Shapefile, write the encoding, such as CP1252, to NAME.cpg "
        "beside it; convert other files to UTF-8.",
    ),
    (
        r"missing codec|precision 12|12-bit JPEG|BITS_IN_JSAMPLE|compression scheme \w+ .*not configured",
        "This build of GDAL does not support its compression. Convert it with one that does: gdal_translate -co "
        "COMPRESS=DEFLATE FILE NEW.tif",
    ),
    (
        r"got \d+ bytes?, expected|Read error|unexpected end|not enough data",
        "It is truncated: copy or download it again.",
    ),
    (r"database disk image is malformed|file is not a database", "It is damaged: copy it again, or restore a backup."),
    (r"SHAPE_RESTORE_SHX", "Its .shx file is missing: copy all files of the Shapefile."),
    (
        r"[Nn]onlinear geometry",
        "Convert its curves to lines first: ogr2ogr -nlt CONVERT_TO_LINEAR NEW.gpkg FILE",
    ),
)


def cause(error: BaseException) -> str:
    """Return the cause of an exception of GDAL, rasterio, pyogrio or pyarrow on one line, without a full stop.

    GDAL reports a failure at each level; the lowest one has the cause.
    """
    while error.__cause__ is not None and type(error.__cause__).__module__.startswith("rasterio"):
        error = error.__cause__
    return one_line(error).split("; It might help to specify the correct driver")[0].rstrip(".")


def remedy(error: BaseException) -> str | None:
    """Return a hint for an exception, or None."""
    message = cause(error)
    return next((words for pattern, words in _REMEDIES if re.search(pattern, message)), None)
