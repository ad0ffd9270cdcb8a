"""Pictures of a training run: curves, best and worst validation tiles, and augmented training tiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from satseg.classes import IGNORE_INDEX, ClassTable, MapClass
from satseg.evaluation.confusion import ConfusionMatrix, score
from satseg.figures import (
    FAINT,
    GRID,
    INK,
    TEXT,
    TITLE,
    WIDTH,
    add_legend,
    class_patches,
    legend_height,
    legend_name,
    new_figure,
    paint,
    save_figure,
    shortened,
)
from satseg.tiles.batches import TileReader
from satseg.tiles.tile import Tile
from satseg.tiles.tileset import TileSet
from satseg.training.loop import Network
from satseg.training.prepare import prepare
from satseg.training.sampling import Batch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

SAMPLES = 16  # augmented tiles in the picture
_SCORED = 48  # validation tiles, spread evenly over all of them
_SHOWN = 4  # best tiles, and worst tiles
_GAP, _LABEL, _HEAD = 0.06, 0.19, 0.24  # inches between panels, of the line above a panel, and above all of them
_BLANK = "unlabelled or nodata"
_SPREAD = 2.0  # standard deviations from black to grey and from grey to white


@dataclass(frozen=True, eq=False)
class _ScoredTile:
    """A validation tile and its score.

    Args:
        name: The tile.
        miou: Its mean IoU.
        panels: Image, labels and map, (S, S, 3) uint8 each.
    """

    name: str
    miou: float
    panels: tuple[np.ndarray, ...]


def draw_curves(path: Path, rows: Sequence[Mapping[str, str]], table: ClassTable) -> None:
    """Draw loss, scores and learning rate of a run over its epochs.

    Args:
        path: PNG to write.
        rows: Rows of its log, as text by column.
        table: The classes, whose colours the lines of their scores have.

    Raises:
        OutputError: The PNG cannot be written.
    """
    foot = legend_height(["mean", *map(legend_name, table)])
    figure = new_figure(2.5 + foot)
    figure.set_layout_engine("constrained", rect=(0, foot / (2.5 + foot), 1, 2.5 / (2.5 + foot)))
    loss, scores, rate = figure.subplots(1, 3)
    epochs = [float(row["epoch"]) for row in rows]
    for axes, title in ((loss, "training loss"), (scores, "validation IoU"), (rate, "learning rate")):
        axes.set_title(title, fontsize=TITLE, loc="left")
        axes.set_xlabel("epoch", fontsize=TEXT)
        axes.tick_params(labelsize=TEXT)
        axes.grid(color=GRID, linewidth=0.5)
        axes.margins(y=0.08)
    rate.yaxis.set_major_formatter("{x:g}")
    for axes, column in ((loss, "loss"), (rate, "lr")):
        axes.plot(epochs, _values(rows, column), color=INK, marker=".")
    lines = [_edged_line(scores, epochs, _values(rows, f"iou {entry.name}"), entry) for entry in table]
    (mean,) = scores.plot(epochs, _values(rows, "miou"), color=INK, marker=".", linestyle="--", label="mean")
    add_legend(figure, [mean, *lines])
    save_figure(figure, path, table)


def _values(rows: Sequence[Mapping[str, str]], column: str) -> list[float]:
    return [float(row.get(column) or "nan") for row in rows]


def _edged_line(axes: Axes, x: Sequence[float], y: Sequence[float], entry: MapClass) -> Line2D:
    """Draw a line in the colour of a class, with a dark edge that makes pale colours visible."""
    from matplotlib.patheffects import Normal, Stroke

    edge = [Stroke(linewidth=3.2, foreground=FAINT), Normal()]
    (line,) = axes.plot(x, y, color=entry.colour, linewidth=2.0, label=legend_name(entry), path_effects=edge)
    if len(x) == 1:  # a single point is invisible without a marker
        line.set(marker="o", markersize=5, markeredgecolor=FAINT)
    return line


def draw_tiles(path: Path, network: Network, tiles: Sequence[Tile], reader: TileReader, tile_set: TileSet) -> None:
    """Draw the validation tiles with the best and the worst scores, with their labels and maps.

    Args:
        path: PNG to write.
        network: The network, in eval mode.
        tiles: Validation tiles; at most 48 of them, spread evenly, are scored.
        reader: Reads tiles.
        tile_set: Their tile set, whose statistics set the contrast.

    Raises:
        OutputError: The PNG cannot be written.
    """
    chosen = [tiles[i] for i in np.linspace(0, len(tiles) - 1, min(_SCORED, len(tiles))).round().astype(int)]
    scored = [_score(network, tile, reader, tile_set) for tile in chosen]
    ranked = sorted((tile for tile in scored if not math.isnan(tile.miou)), key=lambda tile: tile.miou)
    count = min(_SHOWN, math.ceil(len(ranked) / 2))
    if not count:
        return
    pairs = list(zip(ranked[:count], ranked[::-1], strict=False))
    classes = tile_set.classes
    handles = class_patches(classes, blank=_BLANK)
    figure, grid = _grid(count, 6, handles)
    for row, pair in zip(grid, pairs, strict=True):
        for panels, one in zip((row[:3], row[3:]), pair, strict=True):
            for axes, panel in zip(panels, one.panels, strict=True):
                axes.imshow(panel, interpolation="nearest")
            _name(panels[0], f"{shortened(one.name, 24)}: mIoU {one.miou:.2f}")
    for column, title in ((0, "Worst: tile, labels, map"), (3, "Best: tile, labels, map")):
        figure.text(_left(column, 6) / WIDTH, 1 - 0.04 / figure.get_figheight(), title, fontsize=TITLE, va="top")
    add_legend(figure, handles)
    save_figure(figure, path, classes)


def draw_augmented(path: Path, batches: Sequence[Batch], tile_set: TileSet) -> None:
    """Draw augmented training samples with their labels.

    Args:
        path: PNG to write.
        batches: Training batches; 16 samples are shown.
        tile_set: Their tile set.

    Raises:
        OutputError: The PNG cannot be written.
    """
    panels: list[tuple[str, np.ndarray]] = []
    for batch in batches:
        images, targets, _ = prepare(batch, tile_set.statistics, torch.device("cpu"))
        for name, image, labels in zip(batch.names, images.numpy(), targets.numpy(), strict=True):
            panels += [
                (name, _stretch(image, (image != 0).any(axis=0))),  # 0 in every band: not valid
                ("", paint(labels.astype(np.uint8), tile_set.classes)),
            ]
    panels = panels[: 2 * SAMPLES]
    handles = class_patches(tile_set.classes, blank=_BLANK)
    figure, grid = _grid(math.ceil(len(panels) / 8), 8, handles)
    for axes, (name, panel) in zip((axes for row in grid for axes in row), panels, strict=False):
        axes.imshow(panel, interpolation="nearest")
        if name:
            _name(axes, shortened(name, 28))
    title = "Augmented training tiles and their labels"
    figure.text(_GAP / WIDTH, 1 - 0.04 / figure.get_figheight(), title, fontsize=TITLE, va="top")
    add_legend(figure, handles)
    save_figure(figure, path, tile_set.classes)


def _score(network: Network, tile: Tile, reader: TileReader, tile_set: TileSet) -> _ScoredTile:
    classes, statistics = tile_set.classes, tile_set.statistics
    sample = reader.read(tile)
    with torch.inference_mode():
        mapped = network(sample.bands[None], sample.valid[None]).argmax(dim=1)[0].to(torch.uint8).cpu().numpy()
    confusion = ConfusionMatrix(len(classes))
    confusion.add(sample.labels, mapped)
    mean, std = (np.array(part)[:, None, None] for part in (statistics.mean, statistics.std))
    picture = _stretch((sample.bands - mean) / np.where(std > 0, std, 1), sample.valid)
    shown = np.where(sample.valid, mapped, IGNORE_INDEX)
    panels = (picture, paint(sample.labels, classes), paint(shown, classes))
    return _ScoredTile(tile.name, score(confusion.counts, classes.names).mean_iou, panels)


def _stretch(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return a normalised image (C, S, S) as (S, S, 3) uint8: colour with three and more bands, else grey."""
    shown = image[[0, 1, 2] if len(image) >= 3 else [0, 0, 0]].transpose(1, 2, 0)
    stretched = np.clip(127.5 + shown * (127.5 / _SPREAD), 0, 255).astype(np.uint8)
    return np.where(valid[..., None], stretched, np.uint8(255))


def _grid(rows: int, columns: int, handles: Sequence[Patch]) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure and its square panels, with room for a line above each panel, a title and a legend."""
    side, foot = _side(columns), legend_height(str(handle.get_label()) for handle in handles)
    height = foot + rows * (side + _LABEL + _GAP) + _HEAD
    figure = new_figure(height)
    grid = []
    for row in range(rows):
        bottom = height - _HEAD - (row + 1) * (side + _LABEL) - row * _GAP
        boxes = [(_left(column, columns), bottom, side, side) for column in range(columns)]
        grid.append([figure.add_axes((x / WIDTH, y / height, w / WIDTH, h / height)) for x, y, w, h in boxes])
    for axes in (axes for line in grid for axes in line):
        axes.set_axis_off()
    return figure, grid


def _side(columns: int) -> float:
    return (WIDTH - (columns + 1) * _GAP) / columns


def _left(column: int, columns: int) -> float:
    return _GAP + column * (_side(columns) + _GAP)


def _name(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=TEXT, loc="left", pad=3, parse_math=False)
