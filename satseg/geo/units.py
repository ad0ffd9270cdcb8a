"""Parse lengths, areas and resolutions with units: ``1px``, ``50cm``, ``10 m²``, ``0.01ha``, or a plain number.

A plain number is in metres, for areas in square metres, as text or as a Python number. ``ft`` is the international
foot, ``us-ft`` the US survey foot.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Real

from satseg.errors import UsageError

Gsd = tuple[float, float] | None
"""Ground metres per pixel along x and along y, or None if unknown."""

Quantity = str | float
"""A length or an area: a text with a unit, or a number of metres or square metres."""

_LEAST, _MOST = 1e-12, 1e30
"""Smaller values are 0 and larger ones are rejected: their squares and reciprocals would overflow."""

_METRES = {
    "mm": Decimal("0.001"),
    "cm": Decimal("0.01"),
    "m": Decimal(1),
    "km": Decimal(1000),
    "ft": Decimal("0.3048"),
    "us-ft": Decimal(1200) / Decimal(3937),
}
_SQUARE_METRES = {f"{unit}2": metres**2 for unit, metres in _METRES.items()} | {
    "ha": Decimal(10_000),
    "acre": Decimal("4046.8564224"),
}
_SPELLINGS = {
    **dict.fromkeys(("metre", "metres", "meter", "meters"), "m"),
    **dict.fromkeys(("foot", "feet"), "ft"),
    **dict.fromkeys(("pixel", "pixels"), "px"),
    **dict.fromkeys(("acres", "ac"), "acre"),
    **dict.fromkeys(("hectare", "hectares"), "ha"),
    "sqm": "m2",
    "sqkm": "km2",
    "usft": "us-ft",
    "usft2": "us-ft2",
}

_TEXT = re.compile(r"(?P<number>[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?)\s*(?P<unit>\D.*)?", re.DOTALL)
_COMMA = re.compile(r"(?P<number>[-+]?[0-9]+(?:,[0-9]+)+)(?P<unit>(?:[^0-9,.].*)?)", re.DOTALL)
_THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2}(?:,[0-9]{3})+")

_LENGTHS = "px, mm, cm, m, km, ft or us-ft"
_LENGTHS_OR_SHARES = "px, mm, cm, m, km, ft, us-ft or %"
_AREAS = "px, m2, ha, km2, ft2 or acre"


@dataclass(frozen=True)
class Length:
    """A length on the map.

    Args:
        value: Amount in that unit.
        unit: ``m``, ``px``, or ``%`` of a reference length.
        given: Setting and value as given, for messages.
    """

    value: float
    unit: str
    given: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.value!r}{self.unit}"

    def in_pixels(self, gsd: Gsd) -> tuple[float, float]:
        """Return the length in columns and in rows.

        Raises:
            UsageError: It is in metres, and the ground resolution is unknown.
        """
        if self.unit == "px":
            return self.value, self.value
        across, down = known_gsd(gsd, self.given or str(self))
        return self.value / across, self.value / down


@dataclass(frozen=True)
class Area:
    """An area on the map.

    Args:
        value: Amount in that unit.
        unit: ``m2`` or ``px``.
        given: Setting and value as given, for messages.
    """

    value: float
    unit: str
    given: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.value!r}{self.unit}"

    def in_pixels(self, gsd: Gsd) -> float:
        """Return the area in pixels of the size at the centre of the scene.

        Raises:
            UsageError: It is in square metres, and the ground resolution is unknown.
        """
        if self.unit == "px":
            return self.value
        across, down = known_gsd(gsd, self.given or str(self))
        return self.value / (across * down)


def parse_length(value: Quantity, option: str, *, zero: bool = True, per_cent: bool = False) -> Length:
    """Parse a length.

    Args:
        value: A number with one of the units ``px``, ``mm``, ``cm``, ``m``, ``km``, ``ft`` and ``us-ft``; a plain
            number is in metres.
        option: Name of the setting, for messages.
        zero: Whether it may be 0.
        per_cent: Whether ``%`` is a unit as well.

    Raises:
        UsageError: It is not a length, negative, or too large.
    """
    units = _LENGTHS_OR_SHARES if per_cent else _LENGTHS
    number, unit = _split(value, option, f"not a length: a number with {units}, or a plain number of metres")
    unit, given = unit or "m", _quote(option, value)
    if unit in _SQUARE_METRES or unit == "px2":
        raise UsageError(f"{given} is an area, not a length.", hint=f"For example: {_quote(option, '2px')}")
    if unit == "px" or (unit == "%" and per_cent):
        amount = _finite(float(number), value, option)
    elif unit in _METRES:
        unit, amount = "m", _scaled(number, _METRES[unit], value, option)
    else:
        raise UsageError(f"{given} has {unit!r}, which is not a unit of length.", hint=f"Choose from {units}.")
    if not (zero or amount):
        raise UsageError(f"{given} is zero.", hint=f"Use a number above 0, such as {_quote(option, '0.5m')}")
    return Length(amount, unit, given)


def parse_area(value: Quantity, option: str) -> Area:
    """Parse an area.

    Args:
        value: A number with ``px``, ``ha``, ``acre`` or the square of a unit of length, as in ``m2``, ``m²`` or
            ``m^2``; a plain number is in square metres.
        option: Name of the setting, for messages.

    Raises:
        UsageError: It is not an area, negative, or too large.
    """
    number, unit = _split(value, option, f"not an area: a number with {_AREAS}, or a plain number of square metres")
    unit, given = unit or "m2", _quote(option, value)
    if unit in _METRES:
        raise UsageError(
            f"{given} is a length, not an area.",
            hint=f"Write {_quote(option, f'{number}{unit}2')}, or {_quote(option, f'{number}px')} for a number of "
            "pixels.",
        )
    if unit in ("px", "px2"):
        return Area(_finite(float(number), value, option), "px", given)
    if unit in _SQUARE_METRES:
        return Area(_scaled(number, _SQUARE_METRES[unit], value, option), "m2", given)
    raise UsageError(f"{given} has {unit!r}, which is not a unit of area.", hint=f"Choose from {_AREAS}.")


def parse_resolution(value: Quantity, option: str) -> float:
    """Parse the size of a pixel on the ground, such as ``0.5m``, ``50cm`` or ``0.5 m/px``; return metres.

    Raises:
        UsageError: It is not a length in metres, or not above 0.
    """
    text = value
    if isinstance(value, str):
        text = re.sub(r"\s*(?:/|per)\s*(?:px|pixel)\s*$", "", value, flags=re.IGNORECASE)
    length = parse_length(text, option, zero=False)
    if length.unit != "m":
        raise UsageError(
            f"{_quote(option, value)} is in pixels, not the size of a pixel on the ground.",
            hint=f"For example: {_quote(option, '0.5m')}",
        )
    return length.value


def _quote(option: str, value: Quantity) -> str:
    """Return a setting with its value as Python writes it."""
    return f"`{option}={value!r}`" if isinstance(value, str) else f"`{option}={value}`"


def _split(value: Quantity, option: str, wrong: str) -> tuple[str, str]:
    """Return number and unit; a plain number has the unit ``""``."""
    if isinstance(value, Real) and not isinstance(value, bool):
        number, unit = repr(float(value)), ""
    else:
        text = value.strip() if isinstance(value, str) else ""
        _refuse_comma(text, option)
        match = _TEXT.fullmatch(text.lower())
        if match is None and text.lower().lstrip("+-") not in ("nan", "inf", "infinity"):
            raise UsageError(f"{_quote(option, value)} is {wrong}.")
        number, unit = (text, "") if match is None else (match["number"], _normalised(match["unit"] or ""))
    if not math.isfinite(float(number)):
        raise UsageError(f"{_quote(option, value)} is not finite.")
    if number.startswith("-"):
        hint = f"Write {_quote(option, f'{number[1:]}{unit}')}"
        raise UsageError(f"{_quote(option, value)} is negative.", hint=hint)
    return number, unit


def _refuse_comma(text: str, option: str) -> None:
    match = _COMMA.fullmatch(text)
    if match is None:
        return
    number, unit = match["number"], match["unit"].strip()
    point = f"{number.replace(',', '.')}{unit}" if number.count(",") == 1 else ""
    whole = f"{number.replace(',', '')}{unit}" if _THOUSANDS.fullmatch(number) else ""
    raise UsageError(
        f"{_quote(option, text)} has a comma; write a decimal point, and nothing between thousands.",
        hint=f"Write {' or '.join(_quote(option, spelling) for spelling in (point, whole) if spelling)}",
    )


def _normalised(unit: str) -> str:
    """Return a unit in the spelling of the tables: ``m2`` for ``m²``, ``m^2`` and ``sq m``."""
    unit = "".join(unit.split()).replace("²", "2").replace("^2", "2").replace("**2", "2")
    return _SPELLINGS.get(unit, unit)


def _finite(amount: float, value: Quantity, option: str) -> float:
    if not amount < _MOST:
        raise UsageError(f"{_quote(option, value)} is too large.")
    return amount if amount > _LEAST else 0.0


def _scaled(number: str, factor: Decimal, value: Quantity, option: str) -> float:
    """Return a number of units in metres, computed in decimal so that 35 cm are exactly 0.35 m."""
    amount = _finite(float(number), value, option)
    return _finite(float(Decimal(number) * factor), value, option) if amount else 0.0


def known_gsd(gsd: Gsd, given: str) -> tuple[float, float]:
    """Return the ground resolution that a setting in metres needs.

    Args:
        gsd: Ground metres per pixel, or None.
        given: Setting and value as given, for messages.

    Raises:
        UsageError: It is unknown.
    """
    if gsd is None:
        raise UsageError(
            f"{given} is in metres on the ground, but the ground resolution of the raster is unknown: it has no CRS.",
            hint="Use pixels (px).",
        )
    return gsd
