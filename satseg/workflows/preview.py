"""A picture of a map: the scene, its classes and its polygons side by side."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.figures import (
    FAINT,
    INK,
    TEXT,
    TITLE,
    WIDTH,
    add_legend,
    class_patches,
    legend_height,
    new_figure,
    paint,
    save_figure,
)
from satseg.files.names import open_raster
from satseg.raster.scene import Scene
from satseg.records import SceneInfo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL = 2.58  # inches
_MARGIN = (WIDTH - 3 * _PANEL) / 4
_HEAD, _LINE = 0.22, 0.16  # inches of titles and of lines of notes
_SHADES = "Polygons of a class differ in shade only to be told apart."


def draw_preview(
    path: str | Path,
    *,
    scene: str | Path,
    classes: str | Path,
    polygons: str | Path,
    table: ClassTable,
    notes: Sequence[str] = (),
) -> None:
    """Draw a scene, its class raster and its polygons into a PNG of 256 colours.

    Args:
        path: PNG to write.
        scene: The scene; three bands are shown as red, green and blue, fewer as grey.
        classes: Class raster on the grid of the scene, 255 = nodata.
        polygons: Vector file with the polygons, in the CRS of the scene, with a column ``class_id``.
        table: Names and colours of the classes.
        notes: Lines below the panels.

    Raises:
        OutputError: The PNG cannot be written.
    """
    picture, info = _read_scene(scene)
    mapped, shapes = _read_classes(classes), _read_polygons(polygons)
    handles = class_patches(table, blank="nodata" if (mapped == IGNORE_INDEX).any() else None)
    lines = [*([_SHADES] if len(shapes) > 1 else []), *notes]
    text = _LINE * len(lines) + _MARGIN
    foot = text + legend_height(str(entry.get_label()) for entry in handles)
    panel = _PANEL * info.height / info.width
    figure = new_figure(foot + panel + _HEAD)
    left, middle, right = _panels(figure, ("scene", "classes", _count(len(shapes))), foot, panel)
    left.imshow(picture, interpolation="antialiased")
    middle.imshow(paint(mapped, table), interpolation="nearest")  # no colour between those of two classes
    _draw_polygons(right, shapes, info, table)
    add_legend(figure, handles, bottom=text)
    for number, line in enumerate(reversed(lines)):
        y = (_MARGIN / 2 + _LINE * number) / figure.get_figheight()
        figure.text(_MARGIN / WIDTH, y, line, fontsize=TEXT, color=FAINT, va="bottom", parse_math=False)
    save_figure(figure, Path(path), table)


def _count(polygons: int) -> str:
    return f"{polygons:,} polygon{'' if polygons == 1 else 's'}"


def _panels(figure: Figure, titles: Sequence[str], foot: float, panel: float) -> list[Axes]:
    """Return axes side by side, ``panel`` inches high, ``foot`` inches above the lower edge."""
    height = figure.get_figheight()
    panels = []
    for number, title in enumerate(titles):
        x = _MARGIN + number * (_PANEL + _MARGIN)
        axes = figure.add_axes((x / WIDTH, foot / height, _PANEL / WIDTH, panel / height))
        axes.set_title(title, fontsize=TITLE, loc="left", pad=4)
        axes.set_xticks([])
        axes.set_yticks([])
        panels.append(axes)
    return panels


def _read_scene(path: str | Path) -> tuple[np.ndarray, SceneInfo]:
    """Return the scene as (row, col, rgb) uint8, stretched from its 2nd to its 98th percentile unless it is uint8."""
    with Scene.open(path) as scene:
        bands, valid = scene.read(Window(0, 0, scene.info.width, scene.info.height))
        info = scene.info
    shown = bands[[0, 1, 2] if len(bands) >= 3 else [0, 0, 0]].transpose(1, 2, 0)
    if shown.dtype != np.uint8:
        low, high = np.nanpercentile(shown[valid], (2, 98)) if valid.any() else (0.0, 1.0)
        shown = np.clip((shown - low) / max(high - low, 1e-9), 0, 1)
        shown = np.nan_to_num(255 * shown).astype(np.uint8)
    return np.where(valid[..., None], shown, 255), info


def _read_classes(path: str | Path) -> np.ndarray:
    with open_raster(path) as dataset:
        classes: np.ndarray = dataset.read(1)
    return classes


def _read_polygons(path: str | Path) -> Any:
    """Read a copy: GDAL leaves an ``.aux.xml`` beside a GeoPackage with metadata that it has read."""
    with TemporaryDirectory() as folder:
        copy = shutil.copy(path, folder)
        return geopandas.read_file(copy, layer=0)  # a GeoPackage may have its styles in a second layer


def _draw_polygons(axes: Axes, shapes: Any, info: SceneInfo, table: ClassTable) -> None:
    """Draw polygons in the colour of their class, neighbours in different shades, in pixel coordinates."""
    t = ~info.transform
    moved = shapes.geometry.set_crs(None, allow_override=True).affine_transform([t.a, t.b, t.d, t.e, t.c, t.f])
    if len(shapes):
        colours = [_shade(table[int(c)].rgb, number) for number, c in enumerate(shapes["class_id"])]
        moved.plot(ax=axes, color=colours, edgecolor=INK, linewidth=0.6, aspect=None)
    axes.set(xlabel="", ylabel="")  # geopandas names them
    axes.set_xlim(0, info.width)
    axes.set_ylim(info.height, 0)


def _shade(rgb: tuple[int, int, int], number: int) -> tuple[float, ...]:
    """Mix a colour with white by a share that differs from polygon to polygon."""
    share = 0.65 * math.fmod(number * 0.618033988749895, 1.0)
    return tuple(part / 255 * (1 - share) + share for part in rgb)
