"""Styles of rasters in QGIS: scenes, classes, and shares such as confidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from satseg.classes import ClassTable

Range = tuple[float, float]
"""Values that are drawn darkest and brightest."""

_COLOURS = ("red", "green", "blue")
_CLASSES = 0.6  # opacity: the scene below stays visible
# Dark to bright in even steps, also for colour-blind readers: five colours of viridis (van der Walt and Smith, 2015).
_RAMP = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")


def image(bands: Sequence[int], ranges: Sequence[Range] | None = None, *, alpha: int | None = None) -> str:
    """Return the element that draws an image.

    Args:
        bands: Numbers from 1 of the bands that are drawn red, green and blue, or of one that is drawn grey.
        ranges: Values between which each of them is stretched, scaled as the file states; None draws 0..255 as it is.
        alpha: Number of the band with the opacity.
    """
    transparent = f'alphaBand="{alpha or -1}" opacity="1" nodataColor=""'
    stretches = [""] * len(bands) if ranges is None else [_stretch(*limits) for limits in ranges]
    if len(bands) == 1:
        element = f"<contrastEnhancement>{stretches[0]}</contrastEnhancement>" if ranges else ""
        return _pipe(f'type="singlebandgray" grayBand="{bands[0]}" gradient="BlackToWhite" {transparent}', element)
    named = " ".join(f'{colour}Band="{band}"' for colour, band in zip(_COLOURS, bands, strict=True))
    elements = "".join(
        f"<{colour}ContrastEnhancement>{stretch}</{colour}ContrastEnhancement>"
        for colour, stretch in zip(_COLOURS, stretches, strict=True)
        if stretch
    )
    return _pipe(f'type="multibandcolor" {named} {transparent}', elements)


def palette(colours: Mapping[int, tuple[int, int, int, int]]) -> str:
    """Return the element that draws a band by a palette: red, green, blue and opacity in 0..255 by value."""
    entries = ((value, rgba[:3], rgba[3], str(value)) for value, rgba in colours.items())
    return _paletted(entries, opacity=1.0)


def classes(table: ClassTable) -> str:
    """Return the element that draws class ids half transparent in the colours of the classes, but no background."""
    entries = ((entry.id, entry.rgb, 0 if entry.id == table.background else 255, entry.name) for entry in table)
    return _paletted(entries, opacity=_CLASSES)


def shares(limits: Range, *, band: int = 1) -> str:
    """Return the element that draws values between limits from dark to bright."""
    low, high = limits
    step = (high - low) / (len(_RAMP) - 1)
    items = "".join(
        f'<item value="{low + number * step:g}" label="{low + number * step:.2f}" color="{colour}" alpha="255"/>'
        for number, colour in enumerate(_RAMP)
    )
    extremes = f'minimumValue="{low:g}" maximumValue="{high:g}"'
    shader = f'<colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0" {extremes}>'
    return _pipe(
        f'type="singlebandpseudocolor" band="{band}" alphaBand="-1" opacity="1" nodataColor="" '
        f'classificationMin="{low:g}" classificationMax="{high:g}"',
        f"<rastershader>{shader}{items}</colorrampshader></rastershader>",
    )


def _paletted(entries: Iterable[tuple[int, tuple[int, ...], int, str]], *, opacity: float) -> str:
    lines = "".join(
        f'<paletteEntry value="{value}" color="#{bytes(rgb).hex()}" alpha="{alpha}" label={quoteattr(label)}/>'
        for value, rgb, alpha, label in entries
    )
    return _pipe(
        f'type="paletted" band="1" alphaBand="-1" opacity="{opacity:g}" nodataColor=""',
        f"<colorPalette>{lines}</colorPalette>",
    )


def _stretch(low: float, high: float) -> str:
    return f"<minValue>{low!r}</minValue><maxValue>{high!r}</maxValue><algorithm>StretchToMinimumMaximum</algorithm>"


def _pipe(attributes: str, elements: str) -> str:
    return f"<pipe><rasterrenderer {attributes}>{elements}</rasterrenderer></pipe>"
