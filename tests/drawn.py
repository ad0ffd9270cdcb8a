"""What a figure shows where, for tests of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def check_legend(figure: Any, path: Path, colours: dict[str, tuple[int, int, int]]) -> None:
    """Check that the legend covers no axes and lies within the picture, and that its colours are exact in the PNG."""
    renderer = figure.canvas.get_renderer()
    (legend,) = figure.legends
    box = legend.get_window_extent(renderer)
    assert not [axes for axes in figure.axes if box.overlaps(axes.get_tightbbox(renderer))]
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert max(text.get_window_extent(renderer).x1 for text in legend.get_texts()) <= figure.bbox.x1
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    shown = {}
    for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
        middle = handle.get_window_extent(renderer)
        x, y = (middle.x0 + middle.x1) / 2, (middle.y0 + middle.y1) / 2
        shown[text.get_text()] = tuple(map(int, pixels[len(pixels) - 1 - int(y), int(x)]))
    assert {name: shown[name] for name in colours} == colours
