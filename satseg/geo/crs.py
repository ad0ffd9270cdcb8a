"""Coordinate reference systems: what they are called, whether two are one, and how they relate to the ground.

Coordinates are (x, y) everywhere, whatever order the authority gives the axes.

What is asked of a CRS by its name is remembered: pyproj builds a CRS, and a way between two, anew in every thread that
touches it, and scenes are opened in many short-lived ones.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import rasterio
from pyproj import CRS, Geod, Transformer
from pyproj.crs import GeographicCRS
from pyproj.crs.coordinate_system import Ellipsoidal2DCS
from pyproj.exceptions import ProjError
from rasterio.enums import WktVersion
from rasterio.errors import CRSError

from satseg.errors import UsageError

_UNDEFINED = ("undefined", "unknown", "unnamed")
_EARTH_RADIUS = 6.371e6  # m
_LONGEST_CODE = 20  # characters; what is longer is a definition
_LIKELY = 20  # % of likeness from which an authority's CRS is looked at


def parse_crs(name: str) -> CRS:
    """Return a CRS by its name or definition.

    Raises:
        UsageError: It is none.
    """
    try:
        return _parsed(name)
    except ProjError as error:
        raise UsageError(f"{name!r} is no CRS that PROJ knows.", hint="Name one such as EPSG:4326.") from error


def parse_map_crs(name: str) -> CRS:
    """Return a CRS that polygons on the ground can be written in, by its name or definition.

    Raises:
        UsageError: It is none, or no geographic or projected one (geocentric, vertical, local).
    """
    crs = parse_crs(name)
    if not has_place(name) or is_local(name):
        raise UsageError(
            f"{name} ({crs.name}) is a {crs.type_name.replace(' CRS', '').lower()} CRS, in which polygons have no "
            "place.",
            hint="Name a geographic or a projected one, such as EPSG:4326 or that of your UTM zone.",
        )
    return crs


def crs_of_raster(dataset: Any) -> str | None:
    """Return the CRS of an open rasterio dataset as ``EPSG:...`` or WKT, or None where it states none."""
    if dataset.crs is None:
        return None
    try:
        definition = dataset.crs.to_wkt(version=WktVersion.WKT2_2019)
    except CRSError:  # what GDAL cannot express in the newer one
        definition = dataset.crs.to_wkt()
    return crs_name(definition) if definition else None


@lru_cache(maxsize=256)
def crs_name(definition: str) -> str | None:
    """Return the short name of a CRS, such as ``EPSG:32633``, where its definition is the authority's exactly.

    A CRS that is only much like one of an authority (another ellipsoid, a datum shift of its own) keeps its
    definition: taking the authority's would move it by metres or kilometres.

    Args:
        definition: WKT, PROJJSON, a PROJ string or a name.

    Returns:
        The name, else WKT; None for what stands for no CRS ("Undefined Cartesian SRS").

    Raises:
        ProjError: It is no CRS.
    """
    crs = CRS.from_user_input(definition)
    if _is_undefined(crs):
        return None
    for name in () if crs.is_bound else _candidates(crs):
        if _equal(crs, _parsed(name)) or _gdal_agrees(definition, name):
            return name
    return str(_without_claims(crs).to_wkt())


@lru_cache(maxsize=256)
def same_crs(one: str | None, two: str | None) -> bool:
    """Tell whether two names stand for one CRS; None is the same as None only.

    Raises:
        UsageError: One is no CRS.
    """
    if one is None or two is None or one == two:
        return one == two
    return _equal(horizontal(parse_crs(one)), horizontal(parse_crs(two)))


@lru_cache(maxsize=256)
def is_local(name: str | None) -> bool:
    """Tell whether a CRS is one of a site or a building, which nothing relates to the ground."""
    return name is not None and bool(horizontal(parse_crs(name)).is_engineering)


@lru_cache(maxsize=256)
def has_place(name: str) -> bool:
    """Tell whether a CRS places things in a plane, which geocentric and vertical ones do not."""
    crs = horizontal(parse_crs(name))
    return bool(crs.is_geographic or crs.is_projected or crs.is_engineering)


@lru_cache(maxsize=256)
def is_geographic(name: str | None) -> bool:
    """Tell whether coordinates are longitudes and latitudes."""
    return name is not None and bool(horizontal(parse_crs(name)).is_geographic)


def short_name(name: str | None) -> str:
    """Return what a CRS is called in messages: its code, or the name that its definition gives it."""
    if name is None:
        return "no CRS"
    return name if len(name) <= _LONGEST_CODE else f"{parse_crs(name).name} (of its own definition)"


def way(here: str, there: str) -> Transformer | None:
    """Return the way from one CRS to another, for (x, y); None where they are one.

    Raises:
        ProjError: There is none.
    """
    if same_crs(here, there):
        return None
    return Transformer.from_crs(horizontal(parse_crs(here)), horizontal(parse_crs(there)), always_xy=True)


def horizontal(crs: CRS) -> CRS:
    """Return the part of a CRS that says where, without heights."""
    return crs.sub_crs_list[0] if crs.is_compound else crs


@lru_cache(maxsize=256)
def full_turn(name: str) -> float:
    """Return 360 degrees in the units of a geographic CRS: 400 where it counts grads."""
    return round(2 * math.pi / horizontal(parse_crs(name)).axis_info[0].unit_conversion_factor, 9)


@lru_cache(maxsize=256)
def counts_geodetic_degrees(name: str) -> bool:
    """Tell whether coordinates are longitudes and geodetic latitudes, not those about a pole of another place."""
    crs = horizontal(parse_crs(name))
    return bool(crs.is_geographic and not crs.is_derived)


@lru_cache(maxsize=256)
def metres_per_unit(name: str) -> float:
    """Return how long a unit of a CRS is: exactly for lengths such as feet, roughly for angles (along a meridian)."""
    crs = horizontal(parse_crs(name))
    factor = float(crs.axis_info[0].unit_conversion_factor) or 1.0
    return factor * _EARTH_RADIUS if crs.is_geographic else factor


@lru_cache(maxsize=256)
def greenwich(name: str) -> float:
    """Return where the prime meridian of a CRS lies, in degrees east of Greenwich: 2.34 where it counts from Paris."""
    meridian = horizontal(parse_crs(name)).prime_meridian
    return 0.0 if meridian is None else float(math.degrees(meridian.longitude * meridian.unit_conversion_factor))


@lru_cache(maxsize=64)
def geodesic(name: str) -> tuple[Transformer, Geod]:
    """Return the way from a CRS to longitude and latitude in degrees on its own datum, and that datum's ellipsoid.

    Longitudes count from the prime meridian of the CRS. Whatever units it has (grads, feet) and whatever kind its
    latitudes are of, they come out as geodetic ones in degrees.

    Raises:
        ProjError: The CRS does not relate to the ground.
    """
    crs = horizontal(_parsed(name))
    crs = crs.source_crs if crs.is_bound and crs.source_crs is not None else crs
    geod, datum = crs.get_geod(), crs.datum or (crs.geodetic_crs and crs.geodetic_crs.datum)
    if geod is None or datum is None or crs.is_geocentric:
        raise ProjError(f"{short_name(name)} does not relate to the ground")
    degrees = GeographicCRS(datum=datum, ellipsoidal_cs=Ellipsoidal2DCS())
    return Transformer.from_crs(crs, degrees, always_xy=True), geod


@lru_cache(maxsize=256)
def _parsed(name: str) -> CRS:
    return CRS.from_user_input(name)


def _without_claims(crs: CRS) -> CRS:
    """Return a CRS that does not call itself by the code of another one: writers would store the code alone."""
    described = crs.to_json_dict()
    for part in (described, described.get("source_crs", {})):
        part.pop("id", None)
    return CRS.from_json_dict(described)


def _candidates(crs: CRS) -> list[str]:
    """Return the name that a definition states for itself, and the one that it looks most like."""
    stated, likely = crs.to_json_dict().get("id"), crs.to_authority(min_confidence=_LIKELY)
    names = [f"{stated['authority']}:{stated['code']}"] if stated else []
    return [name for name in [*names, *([":".join(likely)] if likely else [])] if _is_known(name)]


def _is_known(name: str) -> bool:
    try:
        return bool(_parsed(name))
    except ProjError:
        return False


def _is_undefined(crs: CRS) -> bool:
    """Tell whether a CRS only fills the place of one, as GeoPackages write it."""
    kinds = _UNDEFINED if crs.is_engineering else _UNDEFINED[:1]
    return bool(crs.name.lower().startswith(kinds))


def _equal(one: CRS, two: CRS) -> bool:
    """Compare all but the order of axes."""
    return bool(one.equals(two, ignore_axis_order=True)) or _east_first(one) == _east_first(two)


def _east_first(crs: CRS) -> CRS:
    """Return a projected CRS whose axes point north and east with east first."""
    described = crs.to_json_dict()
    system = described.get("coordinate_system")
    if crs.is_bound or system is None or [axis["direction"] for axis in system["axis"]] != ["north", "east"]:
        return crs
    system["axis"].reverse()
    described.pop("id", None)
    return CRS.from_json_dict(described)


def _gdal_agrees(definition: str, name: str) -> bool:
    """Tell whether GDAL, whose table of CRS may be of another year than PROJ's, finds a name and a definition equal."""
    try:
        return bool(rasterio.CRS.from_wkt(definition) == rasterio.CRS.from_user_input(name))
    except CRSError:
        return False
