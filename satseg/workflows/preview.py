"""A picture of a map: the scene, and its polygons on top of it, side by side."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
from rasterio.windows import Window

from satseg.classes import ClassTable
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
    save_figure,
)
from satseg.raster.scene import Scene
from satseg.records import SceneInfo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARGIN = 0.07  # inches
_PANEL = (WIDTH - 3 * _MARGIN) / 2
_HEAD, _LINE = 0.22, 0.16  # inches of titles and of lines of notes
FADED = 0.55  # share of white in the scene below polygons
FILL = 0.55  # opacity of polygons


def draw_preview(
    path: str | Path,
    *,
    scene: str | Path,
    polygons: str | Path,
    table: ClassTable,
    notes: Sequence[str] = (),
) -> None:
    """Draw a scene, and beside it its polygons on top of the faded scene, into a PNG of 256 colours.

    Args:
        path: PNG to write.
        scene: The scene; three bands are shown as red, green and blue, fewer as grey.
        polygons: Vector file with the polygons, in the CRS of the scene, with a column ``class_id``.
        table: Names and colours of the classes.
        notes: Lines below the panels.

    Raises:
        OutputError: The PNG cannot be written.
    """
    picture, info = _read_scene(scene)
    shapes = _read_polygons(polygons)
    shown = table if table.background is None or len(table) == 1 else table.without_background()
    handles = class_patches(shown)
    text = _LINE * len(notes) + _MARGIN
    foot = text + legend_height(str(entry.get_label()) for entry in handles)
    panel = _PANEL * info.height / info.width
    figure = new_figure(foot + panel + _HEAD)
    left, right = _panels(figure, ("scene", _count(len(shapes))), foot, panel)
    left.imshow(picture, interpolation="antialiased")
    right.imshow(_faded(picture), interpolation="antialiased")
    _draw_polygons(right, shapes, info, table)
    add_legend(figure, handles, bottom=text)
    for number, line in enumerate(reversed(notes)):
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


def _faded(picture: np.ndarray) -> np.ndarray:
    """Return a picture (row, col, rgb) uint8 in pale grey, so that colours on top of it stand out."""
    grey = picture.mean(axis=2, keepdims=True) * (1 - FADED) + 255 * FADED
    return np.broadcast_to(grey, picture.shape).astype(np.uint8)


def _read_polygons(path: str | Path) -> Any:
    """Read a copy: GDAL leaves an ``.aux.xml`` beside a GeoPackage with metadata that it has read."""
    with TemporaryDirectory() as folder:
        copy = shutil.copy(path, folder)
        return geopandas.read_file(copy, layer=0)  # a GeoPackage may have its styles in a second layer


def _draw_polygons(axes: Axes, shapes: Any, info: SceneInfo, table: ClassTable) -> None:
    """Draw polygons in the colour of their class, half transparent, in pixel coordinates."""
    t = ~info.transform
    moved = shapes.geometry.set_crs(None, allow_override=True).affine_transform([t.a, t.b, t.d, t.e, t.c, t.f])
    if len(shapes):
        colours = [(*(part / 255 for part in table[int(c)].rgb), FILL) for c in shapes["class_id"]]
        moved.plot(ax=axes, color=colours, edgecolor=INK, linewidth=0.8, aspect=None)
    axes.set(xlabel="", ylabel="")  # geopandas names them
    axes.set_xlim(0, info.width)
    axes.set_ylim(info.height, 0)
