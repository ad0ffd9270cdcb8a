"""Four projects from raw files to a scored map, by the commands of their pages in the documentation.

With three steps of training, what is scored is known; that the network learns it is shown by the slow tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import project_data
import pytest
from pages import script

FEW = "3 1"
PAGES = {
    project_data.drone_roofs: "docs/how-to/buildings.md",
    project_data.crop_types: "docs/how-to/fields.md",
    project_data.forest_pairs: "docs/how-to/pairs.md",
    project_data.flood_chips: "docs/how-to/floods.md",
}
Shell = Callable[..., None]


def run(shell: Shell, draw: Callable[[Path], None], folder: Path, budget: str) -> dict[str, Any]:
    """Draw the files of a project, run its page in their folder, and return the score that the page shows.

    Args:
        shell: Runs a script.
        draw: Fills the folder.
        folder: Where to work.
        budget: Steps of training and tiles in each.
    """
    draw(folder)
    commands = script(PAGES[draw])
    score = next(line for line in commands.splitlines() if line.startswith("satseg evaluate"))
    shell(f"{commands}\n{score} --json > score.json", folder, SATSEG_TEST_BUDGET=budget)
    result: dict[str, Any] = json.loads((folder / "score.json").read_text(encoding="utf-8"))
    return result


def of_class(score: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (entry for entry in score["classes"] if entry["name"] == name)
    return found


def test_drone_roofs(shell: Shell, tmp_path: Path) -> None:
    score = run(shell, project_data.drone_roofs, tmp_path, FEW)
    roofs = of_class(score, "footprints")
    assert roofs["label_objects"] == 36  # of the second photograph; those of the first are not missed


def test_crop_types(shell: Shell, tmp_path: Path) -> None:
    score = run(shell, project_data.crop_types, tmp_path, FEW)
    assert [entry["name"] for entry in score["classes"]] == sorted(project_data.CROPS)  # and no background


def test_forest_pairs(shell: Shell, tmp_path: Path) -> None:
    score = run(shell, project_data.forest_pairs, tmp_path, FEW)
    assert score["pixels"] == 7 * 128 * 128  # the test images alone


def test_flood_chips(shell: Shell, tmp_path: Path) -> None:
    score = run(shell, project_data.flood_chips, tmp_path, FEW)
    assert [entry["name"] for entry in score["classes"]] == ["dry", "water"]


@pytest.mark.slow
def test_roofs_are_found(shell: Shell, tmp_path: Path) -> None:
    score = run(shell, project_data.drone_roofs, tmp_path, "40 2")
    assert of_class(score, "footprints")["object_f1"] > 0.7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "steps", "miou"),
    [
        (project_data.crop_types, 30, 4 / 36**2),  # one crop everywhere has 1 / 36 of one class, and nothing else
        (project_data.forest_pairs, 40, 0.6),
        (project_data.flood_chips, 30, 0.6),
    ],
    ids=["crops", "forest", "floods"],
)
def test_classes_are_learnt(
    draw: Callable[[Path], None], steps: int, miou: float, shell: Shell, tmp_path: Path
) -> None:
    score = run(shell, draw, tmp_path, f"{steps} 2")
    assert score["mean_iou"] > miou
