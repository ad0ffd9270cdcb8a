"""Coordinate reference systems: parse, name, compare and transform between them.

All CRSs of the package are compared by :func:`same_crs`, and all transformers are made by :func:`transformer`.
Coordinates are always (x, y), whatever axis order the authority defines.

Results are cached by name: pyproj rebuilds a CRS or a transformer in every thread that uses it, and scenes are opened
in many short-lived threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import rasterio
from pyproj import CRS, Geod, Transformer
from pyproj.crs import GeographicCRS
from pyproj.crs.coordinate_system import Ellipsoidal2DCS
from pyproj.exceptions import ProjError
from rasterio.enums import WktVersion
from rasterio.errors import CRSError

from satseg.errors import UsageError

PointTransform = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Takes x and y in one CRS and returns them in another."""

_UNDEFINED = ("undefined", "unknown", "unnamed")
_EARTH_RADIUS = 6.371e6  # m

METRES_PER_DEGREE = 111_000.0
"""Metres of a degree along a meridian, roughly."""

_LONGEST_CODE = 20  # characters; anything longer is a definition
_LIKELY = 20  # % confidence from which PROJ's guess of an authority code is considered


def parse_crs(name: str) -> CRS:
    """Return a CRS by its name or definition.

    Raises:
        UsageError: PROJ does not know it.
    """
    try:
        return _parsed(name)
    except ProjError as error:
        raise UsageError(f"PROJ does not know the CRS {name!r}.", hint="Use a name such as EPSG:4326.") from error


def require_map_crs(name: str) -> None:
    """Refuse a CRS in which polygons on the ground cannot be written.

    Raises:
        UsageError: PROJ does not know it, or it is neither geographic nor projected (geocentric, vertical, local).
    """
    crs = parse_crs(name)
    if not is_planar(name) or is_local(name):
        raise UsageError(
            f"Polygons cannot be written in {name} ({crs.name}), a {crs.type_name.replace(' CRS', '').lower()} CRS.",
            hint="Choose a geographic or projected CRS, such as EPSG:4326 or your UTM zone.",
        )


def crs_of_raster(dataset: Any) -> str | None:
    """Return the CRS of an open rasterio dataset as ``EPSG:...`` or WKT, or None if it has none."""
    if dataset.crs is None:
        return None
    try:
        definition = dataset.crs.to_wkt(version=WktVersion.WKT2_2019)
    except CRSError:  # GDAL cannot express this one in WKT 2
        definition = dataset.crs.to_wkt()
    return identify_crs(definition) if definition else None


@lru_cache(maxsize=256)
def identify_crs(definition: str) -> str | None:
    """Return the code of a CRS, such as ``EPSG:32633``, if its definition equals the authority's exactly.

    A CRS that merely resembles one of an authority (another ellipsoid, a datum shift of its own) keeps its definition:
    the authority's would shift coordinates by metres or kilometres.

    Args:
        definition: WKT, PROJJSON, a PROJ string or a name.

    Returns:
        The code, else WKT; None for a placeholder such as "Undefined Cartesian SRS".

    Raises:
        ProjError: It is not a CRS.
    """
    crs = CRS.from_user_input(definition)
    if _is_undefined(crs):
        return None
    for name in () if crs.is_bound else _candidates(crs):
        if _equal(crs, _parsed(name)) or _gdal_agrees(definition, name):
            return name
    return str(_without_codes(crs).to_wkt())


@lru_cache(maxsize=256)
def same_crs(one: str | None, other: str | None) -> bool:
    """Tell whether two names denote the same horizontal CRS, whatever its axis order; None equals only None.

    Raises:
        UsageError: PROJ does not know one of them.
    """
    if one is None or other is None or one == other:
        return one == other
    return _equal(horizontal(parse_crs(one)), horizontal(parse_crs(other)))


@lru_cache(maxsize=1024)
def transformer(source: str | CRS, target: str | CRS) -> Transformer:
    """Return the transformer of (x, y) from one CRS to another, heights left out.

    Raises:
        ProjError: PROJ knows no transformation between the two.
        UsageError: PROJ does not know one of them.
    """
    here, there = (crs if isinstance(crs, CRS) else parse_crs(crs) for crs in (source, target))
    return Transformer.from_crs(horizontal(here), horizontal(there), always_xy=True)


def point_transform(source: str, target: str) -> PointTransform:
    """Return a function that transforms (x, y) from one CRS to another; the identity if they are the same.

    Raises:
        ProjError: PROJ knows no transformation between the two.
        UsageError: PROJ does not know one of them.
    """
    if same_crs(source, target):
        return lambda x, y: (x, y)
    return transformer(source, target).transform


@lru_cache(maxsize=256)
def is_local(name: str | None) -> bool:
    """Tell whether a CRS is local to a site or a building, with no known relation to the Earth."""
    return name is not None and bool(horizontal(parse_crs(name)).is_engineering)


@lru_cache(maxsize=256)
def is_planar(name: str) -> bool:
    """Tell whether a CRS has two horizontal axes, unlike geocentric and vertical ones."""
    crs = horizontal(parse_crs(name))
    return bool(crs.is_geographic or crs.is_projected or crs.is_engineering)


@lru_cache(maxsize=256)
def is_geographic(name: str | None) -> bool:
    """Tell whether coordinates are longitudes and latitudes."""
    return name is not None and bool(horizontal(parse_crs(name)).is_geographic)


def short_name(name: str | None) -> str:
    """Return the name of a CRS for messages: its code, or the name in its definition."""
    if name is None:
        return "no CRS"
    return name if len(name) <= _LONGEST_CODE else f"{parse_crs(name).name} (custom definition)"


def horizontal(crs: CRS) -> CRS:
    """Return the horizontal part of a compound CRS; any other CRS as it is."""
    return crs.sub_crs_list[0] if crs.is_compound else crs


@lru_cache(maxsize=256)
def full_turn(name: str) -> float:
    """Return 360 degrees in the units of a geographic CRS: 400 if it uses grads."""
    return round(2 * math.pi / horizontal(parse_crs(name)).axis_info[0].unit_conversion_factor, 9)


@lru_cache(maxsize=256)
def has_geodetic_axes(name: str) -> bool:
    """Tell whether coordinates are geodetic longitudes and latitudes, not those of a rotated pole."""
    crs = horizontal(parse_crs(name))
    return bool(crs.is_geographic and not crs.is_derived)


@lru_cache(maxsize=256)
def metres_per_unit(name: str) -> float:
    """Return the length of a unit of a CRS in metres; approximate for angles (along a meridian)."""
    crs = horizontal(parse_crs(name))
    factor = float(crs.axis_info[0].unit_conversion_factor) or 1.0
    return factor * _EARTH_RADIUS if crs.is_geographic else factor


@lru_cache(maxsize=256)
def prime_meridian(name: str) -> float:
    """Return the prime meridian of a CRS in degrees east of Greenwich: 2.34 for Paris."""
    meridian = horizontal(parse_crs(name)).prime_meridian
    return 0.0 if meridian is None else float(math.degrees(meridian.longitude * meridian.unit_conversion_factor))


@lru_cache(maxsize=64)
def geodesic(name: str) -> tuple[Transformer, Geod]:
    """Return the transformer from a CRS to geodetic degrees on its own datum, and the ellipsoid of that datum.

    Longitudes are relative to the prime meridian of the CRS. The result is in degrees, whatever the units of the CRS.

    Raises:
        ProjError: The CRS has no geodetic datum (local, geocentric).
    """
    crs = horizontal(_parsed(name))
    crs = crs.source_crs if crs.is_bound and crs.source_crs is not None else crs
    geod, datum = crs.get_geod(), crs.datum or (crs.geodetic_crs and crs.geodetic_crs.datum)
    if geod is None or datum is None or crs.is_geocentric:
        raise ProjError(f"{short_name(name)} has no geodetic datum")
    degrees = GeographicCRS(datum=datum, ellipsoidal_cs=Ellipsoidal2DCS())
    return transformer(crs, degrees), geod


@lru_cache(maxsize=256)
def _parsed(name: str) -> CRS:
    return CRS.from_user_input(name)


def _without_codes(crs: CRS) -> CRS:
    """Return a CRS without authority codes, which writers would store in place of its definition."""
    described = crs.to_json_dict()
    for part in (described, described.get("source_crs", {})):
        part.pop("id", None)
    return CRS.from_json_dict(described)


def _candidates(crs: CRS) -> list[str]:
    """Return the code that a definition states, and the one that PROJ finds most similar."""
    stated, likely = crs.to_json_dict().get("id"), crs.to_authority(min_confidence=_LIKELY)
    names = [f"{stated['authority']}:{stated['code']}"] if stated else []
    return [name for name in [*names, *([":".join(likely)] if likely else [])] if _is_known(name)]


def _is_known(name: str) -> bool:
    try:
        return bool(_parsed(name))
    except ProjError:
        return False


def _is_undefined(crs: CRS) -> bool:
    """Tell whether a CRS is a placeholder, as GeoPackages write it."""
    kinds = _UNDEFINED if crs.is_engineering else _UNDEFINED[:1]
    return bool(crs.name.lower().startswith(kinds))


def _equal(one: CRS, two: CRS) -> bool:
    """Compare everything but the axis order."""
    return bool(one.equals(two, ignore_axis_order=True)) or _east_first(one) == _east_first(two)


def _east_first(crs: CRS) -> CRS:
    """Return a projected CRS with its axes in the order east, north."""
    described = crs.to_json_dict()
    system = described.get("coordinate_system")
    if crs.is_bound or system is None or [axis["direction"] for axis in system["axis"]] != ["north", "east"]:
        return crs
    system["axis"].reverse()
    described.pop("id", None)
    return CRS.from_json_dict(described)


def _gdal_agrees(definition: str, name: str) -> bool:
    """Tell whether GDAL considers a code and a definition equal; its CRS database may differ from PROJ's."""
    try:
        return bool(rasterio.CRS.from_wkt(definition) == rasterio.CRS.from_user_input(name))
    except CRSError:
        return False
