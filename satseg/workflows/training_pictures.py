"""Pictures of a training run: its curves, its best and worst validation tiles, and what augmentation makes of tiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from satseg.classes import IGNORE_INDEX
from satseg.evaluation.confusion import ConfusionMatrix, score
from satseg.tiles.batches import TileReader
from satseg.tiles.tileset import Tile, TileSet
from satseg.training.loop import Network
from satseg.training.prepare import prepare
from satseg.training.sampling import Batch
from satseg.workflows.preview import add_legend, paint, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAMPLES = 16  # that show what augmentation does
_LOOKED_AT = 48  # validation tiles, spread over all of them
_SHOWN = 4  # of the best, and of the worst
_PANEL = 1.8  # inches
_SPREAD = 2.0  # standard deviations from black to grey and from grey to white


@dataclass(frozen=True, eq=False)
class _Seen:
    """A validation tile and what became of it.

    Args:
        name: The tile.
        miou: Its mean IoU.
        panels: Picture, labels and map, (S, S, 3) uint8 each.
    """

    name: str
    miou: float
    panels: tuple[np.ndarray, ...]


def draw_curves(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Draw loss, scores and learning rate of a run over its epochs.

    Args:
        path: PNG to write.
        rows: Rows of its log, as text by column.

    Raises:
        OutputError: The PNG cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    names = ["miou", *(name for name in rows[0] if name.startswith("iou "))]
    curves = {"training loss": ["loss"], "validation IoU": names, "learning rate": ["lr"]}
    for axes, (title, columns) in zip(figure.subplots(1, 3), curves.items(), strict=True):
        for name in columns:
            values = [float(row[name] or "nan") for row in rows]
            label = "mean" if name == "miou" else name.removeprefix("iou ")
            axes.plot([float(row["epoch"]) for row in rows], values, marker=".", label=label)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("epoch", fontsize=9)
        axes.grid(alpha=0.3)
        if len(columns) > 1:
            axes.legend(fontsize=8)
    save_figure(figure, path)


def draw_tiles(path: Path, network: Network, tiles: Sequence[Tile], reader: TileReader, tile_set: TileSet) -> None:
    """Draw the validation tiles that a network maps best and worst, with their labels and maps.

    Args:
        path: PNG to write.
        network: The network, in eval mode.
        tiles: Validation tiles; at most 48 of them are looked at, spread over all.
        reader: Reads them.
        tile_set: Their tile set, whose statistics stretch the pictures.

    Raises:
        OutputError: The PNG cannot be written.
    """
    chosen = [tiles[i] for i in np.linspace(0, len(tiles) - 1, min(_LOOKED_AT, len(tiles))).round().astype(int)]
    seen = [_look(network, tile, reader, tile_set) for tile in chosen]
    ranked = sorted((one for one in seen if not math.isnan(one.miou)), key=lambda one: one.miou)
    count = min(_SHOWN, math.ceil(len(ranked) / 2))
    if not count:
        return
    pairs = list(zip(ranked[:count], ranked[::-1], strict=False))
    figure, grid = _grid(rows=count, columns=6)
    for row, pair in zip(grid, pairs, strict=True):
        for panels, one in zip((row[:3], row[3:]), pair, strict=True):
            for axes, panel in zip(panels, one.panels, strict=True):
                axes.imshow(panel)
            panels[0].set_title(f"{one.name}: mIoU {one.miou:.2f}", fontsize=7, loc="left")
    grid[0][0].annotate("worst: tile, labels, map", (0, 1), (0, 16), "axes fraction", "offset points", fontsize=9)
    grid[0][3].annotate("best", (0, 1), (0, 16), "axes fraction", "offset points", fontsize=9)
    add_legend(grid[-1][-1], tile_set.classes)
    save_figure(figure, path)


def draw_augmented(path: Path, batches: Sequence[Batch], tile_set: TileSet) -> None:
    """Draw samples as the network will see them, with their labels.

    Args:
        path: PNG to write.
        batches: Batches of training; 16 samples are shown.
        tile_set: Their tile set.

    Raises:
        OutputError: The PNG cannot be written.
    """
    panels: list[tuple[str, np.ndarray]] = []
    for batch in batches:
        images, targets = prepare(batch, tile_set.statistics, torch.device("cpu"))
        for name, image, labels in zip(batch.names, images.numpy(), targets.numpy(), strict=True):
            panels += [
                (name, _stretch(image, (image != 0).any(axis=0))),  # 0 in every band: not valid
                ("", paint(labels.astype(np.uint8), tile_set.classes)),
            ]
    panels = panels[: 2 * SAMPLES]
    figure, grid = _grid(rows=math.ceil(len(panels) / 8), columns=8)
    for axes, (name, panel) in zip((axes for row in grid for axes in row), panels, strict=False):
        axes.imshow(panel)
        axes.set_title(name, fontsize=6, loc="left")
    add_legend(grid[0][1], tile_set.classes)
    save_figure(figure, path)


def _look(network: Network, tile: Tile, reader: TileReader, tile_set: TileSet) -> _Seen:
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
    return _Seen(tile.name, score(confusion.counts, classes.names).mean_iou, panels)


def _stretch(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return a normalised image (C, S, S) as (S, S, 3) uint8: three bands in colour, fewer in grey, invalid white."""
    shown = image[[0, 1, 2] if len(image) >= 3 else [0, 0, 0]].transpose(1, 2, 0)
    stretched = np.clip(127.5 + shown * (127.5 / _SPREAD), 0, 255).astype(np.uint8)
    return np.where(valid[..., None], stretched, np.uint8(255))


def _grid(rows: int, columns: int) -> tuple[Figure, list[list[Axes]]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * _PANEL, rows * _PANEL + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    return figure, grid.tolist()
