"""Four projects from raw files to a scored map, each in at most four commands, as their scripts stand here.

With three steps of training, what is scored is known; that the network learns it is shown by the slow tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import project_data
import pytest

FEW = "--steps 3 --batch-size 1"
SCRIPTS = Path(__file__).parent


def run(draw: Callable[[Path], None], folder: Path, budget: str) -> dict[str, Any]:
    """Draw the files of a project, run its script in their folder, and return the score it ends with."""
    draw(folder)
    script = (SCRIPTS / f"{draw.__name__}.sh").read_text(encoding="utf-8")
    assert script.count("\nsatseg ") <= 4
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "BUDGET": budget,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    score: dict[str, Any] = json.loads((folder / "score.json").read_text(encoding="utf-8"))
    return score


def of_class(score: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (entry for entry in score["classes"] if entry["name"] == name)
    return found


def test_drone_roofs(tmp_path: Path) -> None:
    score = run(project_data.drone_roofs, tmp_path, FEW)
    roofs = of_class(score, "footprints")
    assert roofs["label_objects"] == 36  # of the second photograph; those of the first are not missed


def test_crop_types(tmp_path: Path) -> None:
    score = run(project_data.crop_types, tmp_path, FEW)
    assert [entry["name"] for entry in score["classes"]] == sorted(project_data.CROPS)  # and no background


def test_forest_pairs(tmp_path: Path) -> None:
    score = run(project_data.forest_pairs, tmp_path, FEW)
    assert score["pixels"] == 7 * 128 * 128  # the test images alone


def test_flood_chips(tmp_path: Path) -> None:
    score = run(project_data.flood_chips, tmp_path, FEW)
    assert [entry["name"] for entry in score["classes"]] == ["dry", "water"]


@pytest.mark.slow
def test_roofs_are_found(tmp_path: Path) -> None:
    score = run(project_data.drone_roofs, tmp_path, "--steps 40 --batch-size 2")
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
def test_classes_are_learnt(draw: Callable[[Path], None], steps: int, miou: float, tmp_path: Path) -> None:
    score = run(draw, tmp_path, f"--steps {steps} --batch-size 2")
    assert score["mean_iou"] > miou
