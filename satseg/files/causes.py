"""Why a file cannot be read: what the libraries know of the cause, and what can be done about it."""

from __future__ import annotations

import re

from satseg.errors import one_line

_REMEDIES = (
    (
        r"codec can't decode|invalid UTF-8|not.* valid UTF-8",
        "Its texts are in another encoding than it says. For a Shapefile, write the encoding into a file beside it, "
        "such as CP1252 into NAME.cpg; convert any other to UTF-8.",
    ),
    (
        r"missing codec|precision 12|12-bit JPEG|BITS_IN_JSAMPLE|compression scheme \w+ .*not configured",
        "This build of GDAL lacks what its pixels are compressed with. Convert it with one that has it (gdalinfo "
        "--formats): gdal_translate -co COMPRESS=DEFLATE FILE NEW.tif",
    ),
    (
        r"got \d+ bytes?, expected|Read error|unexpected end|not enough data",
        "It ends early: copy or download it again.",
    ),
    (r"database disk image is malformed|file is not a database", "It is damaged: copy it again, or restore a backup."),
    (r"SHAPE_RESTORE_SHX", "The file of that name ending in .shx is missing: copy all files of the Shapefile."),
    (
        r"[Nn]onlinear geometry",
        "Turn its curves into lines first: ogr2ogr -nlt CONVERT_TO_LINEAR NEW.gpkg FILE",
    ),
)


def cause(error: BaseException) -> str:
    """Return the cause of an exception of GDAL, rasterio, pyogrio or pyarrow on one line, without its full stop.

    GDAL says at each level that something below it failed; the lowest level knows what.
    """
    while error.__cause__ is not None and type(error.__cause__).__module__.startswith("rasterio"):
        error = error.__cause__
    return one_line(error).split("; It might help to specify the correct driver")[0].rstrip(".")


def remedy(error: BaseException) -> str | None:
    """Return what can be done about it, None where that is not known."""
    told = cause(error)
    return next((words for pattern, words in _REMEDIES if re.search(pattern, told)), None)
