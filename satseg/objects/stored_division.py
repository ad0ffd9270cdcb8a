"""How a network says that its maps are divided into objects, as its checkpoint and its rasters store it."""

from __future__ import annotations

from collections.abc import Mapping

from satseg.errors import SatsegError
from satseg.fields import FieldError, Fields, parse_json
from satseg.geo.units import parse_area

DIVISION_TAG = "SATSEG_DIVISION"
"""Name of the tag of rasters that stores it as JSON."""

StoredDivision = Mapping[str, float | str]
"""``min_area``, and ``marker_depth`` if it was tuned, as :class:`satseg.PolygonSettings` takes them; or nothing."""


def read_division(fields: Fields) -> StoredDivision:
    """Return what is stored.

    Raises:
        FieldError: It is invalid.
        UsageError: The area is.
    """
    area = fields.text("min_area")
    parse_area(area, "division.min_area")
    if not fields.holds("marker_depth"):
        return {"min_area": area}
    depth = fields.number("marker_depth")
    if not 0 < depth <= 1:
        raise FieldError(f"division.marker_depth is {depth:g}, which is not above 0 and at most 1")
    return {"marker_depth": depth, "min_area": area}


def division_in_tags(tags: Mapping[str, str]) -> StoredDivision:
    """Return what the tags of a raster store; nothing where they do not, or where somebody else wrote them."""
    try:
        return read_division(Fields(parse_json(tags[DIVISION_TAG]))) if DIVISION_TAG in tags else {}
    except (FieldError, SatsegError):
        return {}
