"""The style of all pictures: one width, text readable on a page, exact class colours, legends beside the data."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from satseg.classes import IGNORE_INDEX, ClassTable, MapClass
from satseg.files.atomic_write import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

WIDTH = 8.0
"""Inches of every picture. On a page that shows it 800 px wide, an inch is 100 px, and text of 8 points 11 px high."""

DPI = 180
TITLE, TEXT = 9.0, 8.0  # points
LEGEND_ROW = 0.18  # inches
INK, FAINT, GRID = "#222222", "#555555", "#dddddd"
_CHARACTER, _HANDLE = 0.068, 0.42  # inches of a letter on average, and of a patch with its gaps
_LONGEST = 90  # characters of a name in a legend
_PALETTE = 256
_PHOTOGRAPH = 128  # colours that are left to photographs at least; where classes need more, there is no palette


def new_figure(height: float) -> Figure:
    """Return an empty figure of the common width.

    Args:
        height: Inches.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), dpi=DPI)


def paint(classes: np.ndarray, table: ClassTable) -> np.ndarray:
    """Return classes (row, col) in their colours (row, col, rgb); white where there is none."""
    palette = np.full((IGNORE_INDEX + 1, 3), 255, dtype=np.uint8)
    for entry in table:
        palette[entry.id] = entry.rgb
    return palette[classes]


def shortened(name: str, longest: int) -> str:
    """Leave out the middle of a long name: tiles differ at the end, scenes at the beginning.

    Args:
        name: The name.
        longest: Characters that fit.
    """
    if len(name) <= longest:
        return name
    kept = longest - 1
    return f"{name[: kept // 2]}…{name[-(kept - kept // 2) :]}"


def legend_name(entry: MapClass) -> str:
    """Return the name of a class as legends have room for it."""
    return shortened(entry.name, _LONGEST)


def class_patches(table: ClassTable, *, blank: str | None = None) -> list[Patch]:
    """Return what a legend shows of classes.

    Args:
        table: The classes.
        blank: What white stands for, or None where there is no white.
    """
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=entry.colour, label=legend_name(entry)) for entry in table]
    if blank is not None:
        patches.append(Patch(facecolor="white", edgecolor=FAINT, linewidth=0.5, label=blank))
    return patches


def legend_height(labels: Iterable[str]) -> float:
    """Return the inches that a legend of these labels takes below the data."""
    labels = list(labels)
    return math.ceil(len(labels) / _columns(labels)) * LEGEND_ROW + 0.1


def add_legend(figure: Figure, handles: Sequence[Any], *, bottom: float = 0.02) -> None:
    """Name colours along the lower edge of a figure, in as many columns as fit; nothing of the data is covered.

    Args:
        figure: Its lower edge has :func:`legend_height` inches to spare.
        handles: Patches or lines with labels.
        bottom: Inches from the lower edge.
    """
    labels = [str(handle.get_label()) for handle in handles]
    legend = figure.legend(
        list(handles),
        [str(number) for number in range(len(labels))],  # it would leave out names that begin with _
        loc="lower left",
        bbox_to_anchor=(0.0, bottom / figure.get_figheight()),
        ncols=_columns(labels),
        fontsize=TEXT,
        frameon=False,
        borderpad=0.2,
        labelspacing=(72 * LEGEND_ROW - TEXT) / TEXT,
        handlelength=1.5,
        handletextpad=0.5,
        columnspacing=1.2,
    )
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_parse_math(False)  # a $ is a $
        text.set_text(label)


def save_figure(figure: Figure, path: Path, table: ClassTable | None = None) -> None:
    """Write a figure as PNG with a palette, by which photographs take a third of the bytes.

    Args:
        figure: The figure.
        path: PNG to write.
        table: Classes whose colours stay what they are; other colours may be those of a neighbour in the palette.

    Raises:
        OutputError: It cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # letters that the font lacks are drawn as boxes
        FigureCanvasAgg(figure).print_png(buffer)
    drawn = Image.open(buffer).convert("RGB")
    kept = sorted({(255, 255, 255), *(entry.rgb for entry in table or ())})
    with atomic_write(path) as work:
        _with_palette(drawn, kept).save(work, format="PNG", optimize=True)


def _with_palette(drawn: Any, kept: Sequence[tuple[int, int, int]]) -> Any:
    """Return an image (rgb) with a palette that holds the colours to keep, or as it is where they are too many."""
    from PIL import Image

    free = _PALETTE - len(kept)
    if free < _PHOTOGRAPH:
        return drawn
    quantised = drawn.quantize(free)
    indices, packed = np.array(quantised), _packed(np.asarray(drawn))
    for number, colour in enumerate(kept, start=free):
        indices[packed == _packed(np.array(colour))] = number
    colours = (quantised.getpalette() or [])[: 3 * free]
    colours += [0] * (3 * free - len(colours))
    image = Image.fromarray(indices)
    image.putpalette(colours + [part for colour in kept for part in colour])
    return image


def _packed(rgb: np.ndarray) -> np.ndarray:
    """Return colours (..., 3) as one number each (...)."""
    red, green, blue = np.moveaxis(rgb.astype(np.uint32), -1, 0)
    return np.asarray(red << 16 | green << 8 | blue)


def _columns(labels: Sequence[str]) -> int:
    longest = max((len(label) for label in labels), default=1)
    return max(1, min(len(labels), int(WIDTH / (longest * _CHARACTER + _HANDLE))))
