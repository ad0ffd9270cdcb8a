"""Picture of the cost of networks: speed over parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from satseg.figures import FAINT, GRID, INK, TEXT, TITLE, new_figure, save_figure
from satseg.profiling.cost import Cost

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

_POINT = "#0b6e8a"
_HEIGHT = 5.6  # inches
_NEAR = 5.0  # points between a network and its name; a line connects those that are farther apart


def draw_costs(path: str | Path, costs: Sequence[Cost], *, batch_size: int, title: str) -> None:
    """Draw images per second over parameters on logarithmic axes, one point per network.

    Args:
        path: PNG to write.
        costs: Measured costs; networks whose inference memory did not suffice for are left out.
        batch_size: Images per forward pass in the measurement.
        title: A line above the picture.

    Raises:
        OutputError: The PNG cannot be written.
    """
    save_figure(plot_costs(costs, batch_size=batch_size, title=title), Path(path))


def plot_costs(costs: Sequence[Cost], *, batch_size: int, title: str) -> Figure:
    """Return the figure of :func:`draw_costs`; names overlap neither each other nor points if there is room."""
    figure = new_figure(_HEIGHT)
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    timed = [(cost, cost.inference_ms) for cost in costs if cost.inference_ms is not None]
    points = [(cost.parameters / 1e6, 1e3 * batch_size / taken) for cost, taken in timed]
    axes.scatter([x for x, _ in points], [y for _, y in points], s=22, color=_POINT, zorder=3)
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("parameters (millions)", fontsize=TEXT)
    axes.set_ylabel("images per second", fontsize=TEXT)
    axes.set_title(title, fontsize=TITLE, loc="left", parse_math=False)
    _number_axes(axes)
    axes.grid(which="both", color=GRID, linewidth=0.5)
    axes.margins(0.12)
    figure.draw_without_rendering()  # computes the positions of the points
    figure.set_layout_engine("none")
    _name_points(axes, [cost.arch for cost, _ in timed], points)
    return figure


def _number_axes(axes: Axes) -> None:
    """Label the axes at 1, 2 and 5 times powers of ten only: more labels would overlap."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
        axis.set_tick_params(which="both", labelsize=TEXT)


def _name_points(axes: Axes, names: Sequence[str], points: Sequence[tuple[float, float]]) -> None:
    """Write each name at the nearest free position around its point, within the axes."""
    from matplotlib.transforms import Bbox

    pixel = axes.figure.dpi / 72  # pixels in a point
    spots = [Bbox.from_bounds(x, y, 0, 0).padded(3 * pixel) for x, y in axes.transData.transform(points)]
    room, taken = axes.get_window_extent(), list(spots)
    for name, point, spot in zip(names, points, spots, strict=True):
        label = axes.annotate(
            name,
            point,
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=TEXT,
            color=INK,
            va="center",
            ha="center",
            parse_math=False,
        )
        size = label.get_window_extent()
        best: tuple[float, float, float, Bbox] | None = None
        for dx, dy in _places(size.width / pixel, size.height / pixel):
            box = size.translated(dx * pixel, dy * pixel)
            outside = not (room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1)
            hits = sum(box.overlaps(other) for other in taken) + 10 * outside
            if best is None or hits < best[0]:
                best = (hits, dx, dy, box)
            if not hits:
                break
        assert best is not None  # there are positions
        _, dx, dy, box = best
        label.set_position((dx, dy))
        taken.append(box)
        if _distance(spot, box) > _NEAR * pixel:
            _join(axes, point, spot, box)


def _join(axes: Axes, point: tuple[float, float], spot: Bbox, box: Bbox) -> None:
    """Draw a line from a point at ``spot`` to the nearest edge of the box of its name."""
    pixel = axes.figure.dpi / 72
    corners = np.array([box.min, box.max]) - np.mean([spot.min, spot.max], axis=0)
    across, up = (np.clip(0, *corners) / pixel).tolist()
    line = {"arrowstyle": "-", "color": FAINT, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}
    axes.annotate("", point, (across, up), textcoords="offset points", arrowprops=line)


def _places(width: float, height: float) -> Iterator[tuple[float, float]]:
    """Yield offsets of the centre of a name in points: right, left, above and below, at increasing distances."""
    for gap in (5, 9, 14, 20, 28, 38, 50, 64, 80, 100):
        x, y = width / 2 + gap, height / 2 + gap
        yield from ((x, 0), (-x, 0), (0, y), (0, -y))
        for turn in (0.25, 0.5, 0.75):
            yield from ((x, turn * y), (-x, turn * y), (x, -turn * y), (-x, -turn * y))
        yield from ((x, y), (-x, y), (x, -y), (-x, -y))


def _distance(one: Bbox, other: Bbox) -> float:
    x = max(one.x0 - other.x1, other.x0 - one.x1, 0)
    y = max(one.y0 - other.y1, other.y0 - one.y1, 0)
    return math.hypot(x, y)
