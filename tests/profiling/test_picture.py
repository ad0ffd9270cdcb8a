"""The picture of speed against parameters."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np

from satseg.backend import list_architectures
from satseg.profiling.picture import plot_costs


def test_names_of_networks_do_not_touch() -> None:
    rng = np.random.default_rng(3)
    costs: list[Any] = [
        SimpleNamespace(arch=entry.name, parameters=3e7 * rng.uniform(0.5, 2), inference_ms=rng.uniform(10, 30))
        for entry in list_architectures()
    ]
    figure = plot_costs(costs, batch_size=1, title="all of much the same size")
    (axes,) = figure.axes
    labels = [text for text in axes.texts if text.get_text()]
    assert [text.get_text() for text in labels] == [cost.arch for cost in costs]
    boxes = [text.get_window_extent() for text in labels]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    room = axes.get_window_extent()
    assert all(room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1 for box in boxes)
    points = axes.transData.transform([(cost.parameters / 1e6, 1e3 / cost.inference_ms) for cost in costs])
    assert not [box for box in boxes for x, y in points if box.contains(x, y)]
