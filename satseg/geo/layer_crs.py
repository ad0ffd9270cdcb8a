"""The CRS of a vector layer exactly as its file defines it.

OGR and pyogrio report the authority's code for a definition that merely resembles it, and drop its datum shift.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pyproj.exceptions import ProjError

from satseg.errors import LabelError
from satseg.files.ogr import DataLayerError, DataSourceError, pyogrio
from satseg.geo.crs import identify_crs

_BY_CODE = frozenset({"GeoJSON", "GeoJSONSeq", "TopoJSON", "KML", "LIBKML", "GPX", "GML"})  # store codes only
_MOST_SHOWN = 80  # characters of a definition
_EXTENSION = b"ARROW:extension:metadata"


def layer_crs(file: str, spelt: str, layer: str, info: Mapping[str, Any]) -> str | None:
    """Return the CRS of a layer as ``EPSG:...`` if it is exactly that CRS, else as WKT; None if it has none.

    Args:
        file: Name of the file as the user gave it.
        spelt: Name of the file for pyogrio.
        layer: Name of the layer.
        info: The result of ``pyogrio.read_info``.

    Raises:
        LabelError: PROJ does not know the CRS.
    """
    stated = info["crs"]
    if stated is None:
        return None
    for definition in (_own_definition(file, layer, info["driver"], spelt), stated):
        if definition:
            with suppress(ProjError):
                return identify_crs(definition)
    raise LabelError(f"{file} has a CRS that PROJ does not know: {stated[:_MOST_SHOWN]}.")


def _own_definition(file: str, layer: str, driver: str, spelt: str) -> str | None:
    """Return the definition in the file itself, if that may be more precise than the code that OGR reports."""
    if driver in _BY_CODE:
        return None
    if driver == "GPKG" and Path(file).is_file():
        return _in_geopackage(file, layer)
    if driver == "ESRI Shapefile" and (beside := _prj_beside(file)) is not None:
        return beside.read_text(encoding="utf-8", errors="replace").strip("\x00 \r\n\t\ufeff")
    return _in_arrow(spelt, layer)


def _prj_beside(file: str) -> Path | None:
    with suppress(OSError):
        for suffix in (".prj", ".PRJ", ".Prj"):
            beside = Path(file).with_suffix(suffix)
            if Path(file).suffix.lower() == ".shp" and beside.is_file():
                return beside
    return None


def _in_geopackage(file: str, layer: str) -> str | None:
    """Return the definition in the table of reference systems, unless it is marked as EPSG's own."""
    mode = "mode=ro" if os.path.exists(f"{file}-wal") else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(os.fsencode(Path(file).absolute()))}?{mode}", uri=True)) as database:
            found = database.execute(
                "SELECT lower(s.organization), s.definition FROM gpkg_geometry_columns g "
                "JOIN gpkg_spatial_ref_sys s ON g.srs_id = s.srs_id WHERE g.table_name = ?",
                (layer,),
            ).fetchone()
    except (sqlite3.Error, UnicodeError, ValueError):
        return None
    return None if found is None or found[0] == "epsg" else str(found[1])


def _in_arrow(spelt: str, layer: str) -> str | None:
    """Return the definition in the Arrow metadata of OGR, as PROJJSON."""
    with (
        suppress(DataSourceError, DataLayerError, ValueError, RuntimeError),
        pyogrio.open_arrow(spelt, layer=layer, columns=[], use_pyarrow=True) as (_, reader),
    ):
        for field in reader.schema:
            described = (field.metadata or {}).get(_EXTENSION)
            if described:
                return json.dumps(json.loads(described).get("crs")) if b'"crs"' in described else None
    return None
