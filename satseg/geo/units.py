"""Lengths, areas and resolutions as users give them: ``1px``, ``50cm``, ``10 m²``, ``0.01ha``, or a plain number.

A plain number is metres, of areas square metres, be it typed or a number of Python. Feet are international ones,
``us-ft`` those of the US survey.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Real

from satseg.errors import UsageError

Gsd = tuple[float, float] | None
"""Ground metres per pixel along x and along y, or None where they are unknown."""

Quantity = str | float
"""A length or an area: a text with a unit, or a number of metres or square metres."""

_LEAST, _MOST = 1e-12, 1e30
"""What is smaller is 0, what is larger is refused: their squares and reciprocals would overflow."""

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
        value: How many of the unit.
        unit: ``m``, ``px``, or ``%`` of what the option says.
        given: What was asked for, to quote it in messages.
    """

    value: float
    unit: str
    given: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.value!r}{self.unit}"

    def in_pixels(self, gsd: Gsd) -> tuple[float, float]:
        """Return the length as columns and rows.

        Raises:
            UsageError: It is in metres where pixels have no size on the ground.
        """
        if self.unit == "px":
            return self.value, self.value
        across, down = known_gsd(gsd, self.given or str(self))
        return self.value / across, self.value / down


@dataclass(frozen=True)
class Area:
    """An area on the map.

    Args:
        value: How many of the unit.
        unit: ``m2`` or ``px``.
        given: What was asked for, to quote it in messages.
    """

    value: float
    unit: str
    given: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.value!r}{self.unit}"

    def in_pixels(self, gsd: Gsd) -> float:
        """Return the area as a number of pixels of the size they have at the scene's centre.

        Raises:
            UsageError: It is in square metres where pixels have no size on the ground.
        """
        if self.unit == "px":
            return self.value
        across, down = known_gsd(gsd, self.given or str(self))
        return self.value / (across * down)


def parse_length(value: Quantity, option: str, *, zero: bool = True, per_cent: bool = False) -> Length:
    """Read a length.

    Args:
        value: A number with one of the units ``px``, ``mm``, ``cm``, ``m``, ``km``, ``ft`` and ``us-ft``; a plain
            number is metres.
        option: What it is for, as users know it.
        zero: Whether it may be 0.
        per_cent: Whether ``%`` is a unit, too.

    Raises:
        UsageError: It is no such length, negative, or larger than any map.
    """
    units = _LENGTHS_OR_SHARES if per_cent else _LENGTHS
    number, unit = _split(value, option, f"no length: a number with {units}, or a plain one in metres")
    unit = unit or "m"
    if unit in _SQUARE_METRES or unit == "px2":
        raise UsageError(f"{option} {value} is an area; a length is wanted.", hint=f"For example: {option} 2px")
    if unit == "px" or (unit == "%" and per_cent):
        amount = _finite(float(number), value, option)
    elif unit in _METRES:
        unit, amount = "m", _scaled(number, _METRES[unit], value, option)
    else:
        raise UsageError(f"{option} {value}: there is no unit {unit!r} of lengths.", hint=f"Choose from {units}.")
    if not (zero or amount):
        raise UsageError(f"{option} {value} is zero.", hint=f"Give a number above 0, such as {option} 0.5m")
    return Length(amount, unit, f"{option} {value}")


def parse_area(value: Quantity, option: str) -> Area:
    """Read an area.

    Args:
        value: A number with ``px``, ``ha``, ``acre`` or the square of a unit of length, as in ``m2``, ``m²`` or
            ``m^2``; a plain number is square metres.
        option: What it is for, as users know it.

    Raises:
        UsageError: It is no such area, negative, or larger than any map.
    """
    number, unit = _split(value, option, f"no area: a number with {_AREAS}, or a plain one in square metres")
    unit = unit or "m2"
    if unit in _METRES:
        raise UsageError(
            f"{option} {value} is a length; an area is wanted.",
            hint=f"Write {option} {number}{unit}2, or {option} {number}px for so many pixels.",
        )
    if unit in ("px", "px2"):
        return Area(_finite(float(number), value, option), "px", f"{option} {value}")
    if unit in _SQUARE_METRES:
        return Area(_scaled(number, _SQUARE_METRES[unit], value, option), "m2", f"{option} {value}")
    raise UsageError(f"{option} {value}: there is no unit {unit!r} of areas.", hint=f"Choose from {_AREAS}.")


def parse_resolution(value: Quantity, option: str) -> float:
    """Read the size of a pixel on the ground in metres, such as ``0.5m``, ``50cm`` or ``0.5 m/px``.

    Raises:
        UsageError: It is none, or not above 0.
    """
    text = value
    if isinstance(value, str):
        text = re.sub(r"\s*(?:/|per)\s*(?:px|pixel)\s*$", "", value, flags=re.IGNORECASE)
    length = parse_length(text, option, zero=False)
    if length.unit != "m":
        raise UsageError(
            f"{option} {value} is in pixels; the size of a pixel on the ground is wanted.",
            hint=f"For example: {option} 0.5m",
        )
    return length.value


def _split(value: Quantity, option: str, wrong: str) -> tuple[str, str]:
    """Return number and unit; a plain number has the unit ``""``."""
    if isinstance(value, Real) and not isinstance(value, bool):
        number, unit = repr(float(value)), ""
    else:
        text = value.strip() if isinstance(value, str) else ""
        _refuse_comma(text, option)
        match = _TEXT.fullmatch(text.lower())
        if match is None and text.lower().lstrip("+-") not in ("nan", "inf", "infinity"):
            raise UsageError(f"{option} {value!r} is {wrong}.")
        number, unit = (text, "") if match is None else (match["number"], _plain(match["unit"] or ""))
    if not math.isfinite(float(number)):
        raise UsageError(f"{option} {value} is no finite number.")
    if number.startswith("-"):
        raise UsageError(f"{option} {value} is negative.", hint=f"Write {option} {number[1:]}{unit}")
    return number, unit


def _refuse_comma(text: str, option: str) -> None:
    match = _COMMA.fullmatch(text)
    if match is None:
        return
    number, unit = match["number"], match["unit"].strip()
    point = f"{number.replace(',', '.')}{unit}" if number.count(",") == 1 else ""
    whole = f"{number.replace(',', '')}{unit}" if _THOUSANDS.fullmatch(number) else ""
    raise UsageError(
        f"{option} {text} has a comma; numbers take a point, and nothing between thousands.",
        hint=f"Write {' or '.join(f'{option} {way}' for way in (point, whole) if way)}",
    )


def _plain(unit: str) -> str:
    """Return a unit in the spelling of the tables: ``M²``, ``m^2`` and ``sq m`` are ``m2``."""
    unit = "".join(unit.split()).replace("²", "2").replace("^2", "2").replace("**2", "2")
    return _SPELLINGS.get(unit, unit)


def _finite(amount: float, value: Quantity, option: str) -> float:
    if not amount < _MOST:
        raise UsageError(f"{option} {value} is larger than any map.")
    return amount if amount > _LEAST else 0.0


def _scaled(number: str, factor: Decimal, value: Quantity, option: str) -> float:
    """Return a number of a unit in metres; decimals multiply without the errors of binary fractions."""
    amount = _finite(float(number), value, option)
    return _finite(float(Decimal(number) * factor), value, option) if amount else 0.0


def known_gsd(gsd: Gsd, given: str) -> tuple[float, float]:
    """Return the size of pixels on the ground, which ``given`` needs.

    Raises:
        UsageError: It is unknown.
    """
    if gsd is None:
        raise UsageError(
            f"{given} is measured on the ground, but the raster has no CRS that relates its pixels to the ground.",
            hint="Give it in pixels (px).",
        )
    return gsd
