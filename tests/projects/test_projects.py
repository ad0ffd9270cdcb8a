"""Four projects from raw files to a scored map, each in at most four commands, as their scripts stand here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import project_data

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


def test_drone_roofs(tmp_path: Path) -> None:
    score = run(project_data.drone_roofs, tmp_path, "--steps 40 --batch-size 2")
    (roofs,) = (entry for entry in score["classes"] if entry["name"] == "footprints")
    assert roofs["label_objects"] == 36  # of the second photograph; those of the first are not missed
    assert roofs["object_f1"] > 0.7


def test_crop_types(tmp_path: Path) -> None:
    score = run(project_data.crop_types, tmp_path, "--steps 30 --batch-size 2")
    assert [entry["name"] for entry in score["classes"]] == sorted(project_data.CROPS)  # and no background
    assert score["mean_iou"] > 4 / 36**2  # one crop everywhere has 1 / 36 of one class, and nothing of the others


def test_forest_pairs(tmp_path: Path) -> None:
    score = run(project_data.forest_pairs, tmp_path, "--steps 40 --batch-size 2")
    assert score["pixels"] == 7 * 128 * 128  # the test images alone
    assert score["mean_iou"] > 0.6


def test_flood_chips(tmp_path: Path) -> None:
    score = run(project_data.flood_chips, tmp_path, "--steps 30 --batch-size 2")
    assert [entry["name"] for entry in score["classes"]] == ["dry", "water"]
    assert score["mean_iou"] > 0.6
