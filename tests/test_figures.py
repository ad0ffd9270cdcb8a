"""The style of pictures: exact colours, and legends that cover nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn import check_legend
from PIL import Image

from satseg.classes import ClassTable
from satseg.figures import add_legend, class_patches, legend_height, legend_name, new_figure, paint, save_figure


@pytest.mark.parametrize(
    "names",
    [
        ["roof"],
        ["background", "roof", "a road"],
        [f"Kartofler, spise- {i}" for i in range(38)],
        ["_rest", "$x", "for $5 or $6_", "$\\frac$", "wheat " * 40],
    ],
)
def test_classes_keep_their_colours_beside_a_photograph(tmp_path: Path, names: list[str]) -> None:
    table = ClassTable.from_names(names)
    photograph = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    labels = np.arange(64 * 64).reshape(64, 64) % len(table)
    patches = class_patches(table, blank="no data")
    foot = legend_height(str(patch.get_label()) for patch in patches)
    figure = new_figure(foot + 3)
    left, right = (figure.add_axes((x, foot / (foot + 3), 0.3, 0.8 - foot / (foot + 3))) for x in (0.1, 0.6))
    for axes in (left, right):
        axes.set_axis_off()
    left.imshow(photograph)
    right.imshow(paint(labels.astype(np.uint8), table), interpolation="nearest")
    add_legend(figure, patches)
    save_figure(figure, tmp_path / "a.png", table)
    check_legend(
        figure, tmp_path / "a.png", {legend_name(entry): entry.rgb for entry in table} | {"no data": (255, 255, 255)}
    )
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P"
        height = picture.height
        box = right.get_window_extent()
        inside = np.asarray(picture.convert("RGB"))[height - int(box.y1) + 4 : height - int(box.y0) - 4]
    drawn = inside[:, int(box.x0) + 4 : int(box.x1) - 4].reshape(-1, 3)
    assert {tuple(map(int, colour)) for colour in np.unique(drawn, axis=0)} == {entry.rgb for entry in table}


def test_more_classes_than_a_palette_holds_keep_their_colours(tmp_path: Path) -> None:
    table = ClassTable.from_names([f"class {i}" for i in range(254)])
    figure = new_figure(legend_height(table.names))
    add_legend(figure, class_patches(table))
    save_figure(figure, tmp_path / "a.png", table)
    check_legend(figure, tmp_path / "a.png", {legend_name(entry): entry.rgb for entry in table})


def test_letters_that_the_font_lacks_raise_no_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    table = ClassTable.from_names(["水田", "畑"])
    figure = new_figure(1)
    add_legend(figure, class_patches(table))
    save_figure(figure, tmp_path / "a.png", table)
    assert not recwarn.list
