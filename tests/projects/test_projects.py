"""Four projects from raw files to a scored map, each in at most four commands, as their scripts stand here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import project_data
import pytest

SCRIPTS = Path(__file__).parent


@pytest.mark.parametrize(
    ("draw", "budget", "least"),
    [
        (project_data.drone_roofs, "--steps 40", 0.6),
        (project_data.crop_types, "--steps 60", 0.2),
        (project_data.forest_pairs, "--steps 40", 0.6),
        (project_data.flood_chips, "--steps 40", 0.6),
    ],
)
def test_project(draw: Callable[[Path], None], budget: str, least: float, tmp_path: Path) -> None:
    draw(tmp_path)
    script = (SCRIPTS / f"{draw.__name__}.sh").read_text(encoding="utf-8")
    assert script.count("\nsatseg ") <= 4
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "BUDGET": budget},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    score = json.loads((tmp_path / "score.json").read_text(encoding="utf-8"))
    assert score["mean_iou"] >= least, done.stderr
