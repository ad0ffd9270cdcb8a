"""Lengths and areas as users give them: ``1px``, ``0.5m``, ``10m2``, ``25px``."""

from __future__ import annotations

import re

from satseg.errors import UsageError

Gsd = tuple[float, float] | None
"""Ground metres per pixel along x and along y, or None where they are unknown."""

_LEAST, _MOST = 1e-12, 1e30
"""What is smaller is 0, what is larger is refused: their squares and reciprocals would overflow."""

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)\s*"


def length_in_pixels(text: str, gsd: Gsd) -> tuple[float, float]:
    """Return a length as columns and rows.

    Args:
        text: A number with ``px`` or ``m``.
        gsd: Ground metres per pixel.

    Raises:
        UsageError: It is no such length, or it is in metres where pixels have no size on the ground.
    """
    number, unit = _parse(text, ("px", "m"), "a length such as 1px or 0.5m")
    if unit == "px":
        return number, number
    across, down = _known(text, gsd)
    return number / across, number / down


def area_in_pixels(text: str, gsd: Gsd) -> float:
    """Return an area as a number of pixels; ``m2`` by the pixel's size at the scene's centre.

    Args:
        text: A number with ``px`` or ``m2``.
        gsd: Ground metres per pixel.

    Raises:
        UsageError: It is no such area, or it is in square metres where pixels have no size on the ground.
    """
    number, unit = _parse(text, ("px", "m2"), "an area such as 25px or 10m2")
    if unit == "px":
        return number
    across, down = _known(text, gsd)
    return number / (across * down)


def _parse(text: str, units: tuple[str, str], what: str) -> tuple[float, str]:
    match = re.fullmatch(_NUMBER + f"({'|'.join(units)})", text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not {what}.")
    number = float(match[1])
    if not number < _MOST:
        raise UsageError(f"{text!r} is not {what}: it is larger than any map.")
    return (number if number > _LEAST else 0.0), match[2]


def _known(text: str, gsd: Gsd) -> tuple[float, float]:
    if gsd is None:
        raise UsageError(
            f"{text!r} is in metres, but the raster has no CRS that relates its pixels to the ground.",
            hint="Give it in pixels (px).",
        )
    return gsd
