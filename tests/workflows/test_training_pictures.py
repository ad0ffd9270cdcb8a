"""Pictures of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import check_legend
from PIL import Image
from training_runs import run

from satseg.checkpoint import Checkpoint
from satseg.classes import ClassTable
from satseg.figures import save_figure
from satseg.workflows import training_pictures
from satseg.workflows.training_pictures import draw_curves


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Figures by the names of their files, once they are saved."""
    drawn: dict[str, Any] = {}

    def save(figure: Any, path: Path, table: ClassTable) -> None:
        save_figure(figure, path, table)
        drawn[path.name] = figure

    monkeypatch.setattr(training_pictures, "save_figure", save)
    return drawn


def test_legends_show_the_colours_of_the_maps_and_cover_nothing(
    bright_tiles: Path, tmp_path: Path, figures: dict[str, Any]
) -> None:
    run(bright_tiles, tmp_path / "run", steps=6, pictures=True, show_augment=True, augment="strong")
    colours = {entry.name: entry.rgb for entry in Checkpoint.load(tmp_path / "run").card.classes}
    for name in ("tiles.png", "augmented.png"):
        check_legend(figures[name], tmp_path / "run" / name, colours)
        with Image.open(tmp_path / "run" / name) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        axes = figures[name].axes[1]  # labels of the first tile
        box = axes.get_window_extent()
        inside = pixels[
            len(pixels) - int(box.y1) + 2 : len(pixels) - int(box.y0) - 2, int(box.x0) + 2 : int(box.x1) - 2
        ]
        found = {tuple(map(int, colour)) for colour in np.unique(inside.reshape(-1, 3), axis=0)}
        assert found <= {*colours.values(), (255, 255, 255)}


@pytest.mark.parametrize("epochs", [1, 9])
def test_curves_have_the_colours_of_their_classes_and_a_legend_below(
    tmp_path: Path, figures: dict[str, Any], epochs: int
) -> None:
    table = ClassTable.from_names(["background", "_rest", "$\\frac$", *[f"crop {i}" for i in range(30)]])
    scores = {"miou": "0.5", **{f"iou {name}": str(0.03 * number) for number, name in enumerate(table.names)}}
    scores["iou crop 3"] = ""  # not among the val tiles
    rows = [{"epoch": str(epoch), "loss": "1", "lr": "0.003", **scores} for epoch in range(epochs)]
    draw_curves(tmp_path / "curves.png", rows, table)
    check_legend(figures["curves.png"], tmp_path / "curves.png", {entry.name: entry.rgb for entry in table})
    shown = {line.get_label(): line.get_color() for line in figures["curves.png"].axes[1].lines}
    assert {entry.name: entry.colour for entry in table}.items() <= shown.items()
