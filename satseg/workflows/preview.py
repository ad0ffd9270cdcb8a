"""A picture of a map: the scene, its classes and its polygons side by side."""

from __future__ import annotations

import io
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
from satseg.raster.names import open_raster
from satseg.raster.scene import Scene
from satseg.records import SceneInfo
from satseg.staging import staged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_PIXELS = 480
_DPI = 100
_MARGIN, _HEAD, _FOOT = 12, 26, 44  # pixels around the panels


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
    from matplotlib.figure import Figure

    picture, info = _read_scene(scene)
    shapes = _read_polygons(polygons)
    width, height = _canvas(info.width / info.height)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    titles = ("scene", "classes", f"{len(shapes):,} polygons")
    left, middle, right = _panels(figure, titles, width, height)
    left.imshow(picture, interpolation="antialiased")
    middle.imshow(paint(_read_classes(classes), table), interpolation="antialiased")
    _draw_polygons(right, shapes, info, table)
    add_legend(middle, table)
    for line, note in enumerate(reversed(notes)):
        figure.text(_MARGIN / width, (8 + 15 * line) / height, note, fontsize=8, color="#555555")
    save_figure(figure, Path(path))


def _canvas(aspect: float) -> tuple[int, int]:
    """Return width and height of the picture in pixels for panels of width / height ``aspect``."""
    width = 3 * _PANEL_PIXELS + 4 * _MARGIN
    return width, round(_PANEL_PIXELS / aspect) + _HEAD + _FOOT


def _panels(figure: Figure, titles: Sequence[str], width: int, height: int) -> list[Axes]:
    panels = []
    for number, title in enumerate(titles):
        x = _MARGIN + number * (_PANEL_PIXELS + _MARGIN)
        box = (x / width, _FOOT / height, _PANEL_PIXELS / width, (height - _HEAD - _FOOT) / height)
        axes = figure.add_axes(box)
        axes.set_title(title, fontsize=10, loc="left", pad=4)
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


def paint(classes: np.ndarray, table: ClassTable) -> np.ndarray:
    """Return classes (row, col) in their colours (row, col, rgb); white where there is none."""
    palette = np.full((IGNORE_INDEX + 1, 3), 255, dtype=np.uint8)
    for entry in table:
        palette[entry.id] = entry.rgb
    return palette[classes]


def _draw_polygons(axes: Axes, shapes: Any, info: SceneInfo, table: ClassTable) -> None:
    """Draw polygons in the colour of their class, neighbours in different shades, in pixel coordinates."""
    t = ~info.transform
    moved = shapes.geometry.set_crs(None, allow_override=True).affine_transform([t.a, t.b, t.d, t.e, t.c, t.f])
    if len(shapes):
        colours = [_shade(table[int(c)].rgb, number) for number, c in enumerate(shapes["class_id"])]
        moved.plot(ax=axes, color=colours, edgecolor="#222222", linewidth=0.6, aspect=None)
    axes.set(xlabel="", ylabel="")  # geopandas names them
    axes.set_xlim(0, info.width)
    axes.set_ylim(info.height, 0)


def _shade(rgb: tuple[int, int, int], number: int) -> tuple[float, ...]:
    """Mix a colour with white by a share that differs from polygon to polygon."""
    share = 0.65 * math.fmod(number * 0.618033988749895, 1.0)
    return tuple(part / 255 * (1 - share) + share for part in rgb)


def add_legend(axes: Axes, table: ClassTable) -> None:
    """Name the colours of the classes in the lower right corner."""
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=entry.colour, label=entry.name) for entry in table]
    axes.legend(handles=patches, loc="lower right", fontsize=8, framealpha=0.9)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG with a palette of 256 colours: photographs take a third of the bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    with staged(path) as work:
        Image.open(buffer).convert("RGB").quantize(256).save(work, format="PNG", optimize=True)
