"""A picture of what networks cost: speed against parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from satseg.profiling.cost import Cost
from satseg.staging import staged


def draw_costs(path: str | Path, costs: Sequence[Cost], *, batch_size: int, title: str) -> None:
    """Draw images per second over parameters, both on logarithmic axes, one point per network.

    Args:
        path: PNG to write.
        costs: What was measured.
        batch_size: Images per forward pass in the measurement.
        title: A line above the picture.

    Raises:
        OutputError: It cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    parameters = [cost.parameters / 1e6 for cost in costs]
    speeds = [1e3 * batch_size / cost.inference_ms for cost in costs]
    axes.scatter(parameters, speeds, s=28, color="#0b6e8a", zorder=3)
    for cost, x, y in zip(costs, parameters, speeds, strict=True):
        axes.annotate(cost.arch, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="parameters (millions)", ylabel="images per second")
    axes.set_title(title, fontsize=10, loc="left")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
        axis.set_tick_params(which="both", labelsize=8)
    axes.grid(which="both", color="#dddddd", linewidth=0.5)
    axes.margins(0.12)
    with staged(Path(path)) as work:
        FigureCanvasAgg(figure).print_figure(work, metadata={"Software": None})
