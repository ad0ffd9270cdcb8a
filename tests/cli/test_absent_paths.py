"""What is absent is said to be so, at once: nothing is imported that takes seconds.

Covers ``presence``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from satseg.presence import absent

HEAVY = {"torch", "timm", "geopandas", "pandas", "pyogrio", "scipy", "shapely", "numba"}
LINES = {
    "evaluate nope.tif -l nope.gpkg": "nope.tif does not exist.",
    "evaluate nope.safetensors tiles": "The checkpoint nope.safetensors does not exist.",
    "evaluate runs/nope tiles": "runs/nope does not exist.",
    "evaluate there.tif -l nope.gpkg": "Labels nope.gpkg do not exist.",
    "evaluate there.tif -l there.gpkg --aoi nope.gpkg": "The area of interest nope.gpkg does not exist.",
    "evaluate there.tif -l there.gpkg --labelled-area nope.gpkg": "The labelled area nope.gpkg does not exist.",
    "evaluate there.tif -l there.gpkg --class-map nope.csv": "--class-map nope.csv is neither",
    "evaluate m.safetensors nope": "The tile set nope does not exist.",
    "evaluate --pairs nope runs": "There is no folder nope.",
    "evaluate --scene-list nope.csv": "The table of scenes nope.csv cannot be read: it does not exist.",
    "evaluate m.safetensors there.tif nope.tif -l there.gpkg": "nope.tif does not exist.",
    "predict nope.tif -m m.safetensors -o map.tif": "nope.tif does not exist.",
    "predict a.tif b.tif -m m.safetensors -o map.gpkg": "a.tif, b.tif do not exist.",
    "predict --stack a.tif,b.tif -m m.safetensors -o map.gpkg": "a.tif, b.tif do not exist.",
    "predict there.tif -m nope.safetensors -o map.tif": "The checkpoint nope.safetensors does not exist.",
    "predict there.tif -m runs/nope -o map.tif": "The checkpoint runs/nope does not exist.",
    "predict there.tif -m runs -o map.tif": "The checkpoint runs/best.safetensors does not exist.",
    "predict there.tif -o map.tif": "There is no checkpoint: none was named",
    "predict there.tif -m m.safetensors -o map.tif --aoi nope.gpkg": "The area of interest nope.gpkg does not",
    "predict there.tif -m m.safetensors -o map.tif --arch nope.py:net": "The file nope.py does not exist.",
    "train nope": "The tile set nope does not exist.",
    "train runs": "runs is not a tile set: it contains no index.parquet.",
    "train tiles --init-from nope": "The checkpoint nope does not exist.",
    "train tiles --arch nope.py:net": "The file nope.py does not exist.",
    "vectorize nope.tif -o map.gpkg": "nope.tif does not exist.",
    "vectorize a.tif b.tif c.tif d.tif -o map.gpkg": "a.tif, b.tif, c.tif and 1 more do not exist.",
    "vectorize there.tif -o map.gpkg --confidence nope.tif": "nope.tif does not exist.",
    "vectorize there.tif -o map.gpkg --class-map nope.csv": "--class-map nope.csv is neither",
    "tile nope.tif -l there.gpkg": "nope.tif does not exist.",
    "tile there.tif -l there.gpkg -l nope.gpkg": "Labels nope.gpkg do not exist.",
    "tile there.tif -l nope.gpkg|layername=roofs": "Labels nope.gpkg|layername=roofs do not exist.",
    "tile there.tif -l there.gpkg --extra nope.tif": "nope.tif does not exist.",
    "predict there.tif -m m.safetensors --extra nope.tif -o map.tif": "nope.tif does not exist.",
    "evaluate m.safetensors there.tif -l there.gpkg --extra nope.tif": "nope.tif does not exist.",
    "tile there.tif -l there.gpkg --class-map nope.csv": "--class-map nope.csv is neither",
    "tile --pairs nope runs": "There is no folder nope.",
    "tile nope --check": "The tile set nope does not exist.",
    "info nope": "nope does not exist.",
}
"""What stands first in the answer to each command line."""

_SCRIPT = f"""
import contextlib, io, json, sys
from satseg.cli.app import main
answers = {{}}
for line in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()) as data:
        try:
            main(line.split())
        except SystemExit as left:
            answers[line] = [left.code, said.getvalue(), data.getvalue(), sorted({HEAVY!r} & set(sys.modules))]
json.dump(answers, sys.stdout)
"""

Answer = tuple[int, str, str, list[str]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """Exit code, stderr, stdout and what is imported by then of each command line, all in one process."""
    folder = tmp_path_factory.mktemp("absent")
    (folder / "runs").mkdir()
    (folder / "tiles").mkdir()
    for name in ("there.tif", "there.gpkg", "m.safetensors", "tiles/index.parquet"):
        (folder / name).touch()
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, json.dumps([*LINES])],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {path.name for path in folder.iterdir()} == {"runs", "tiles", "there.tif", "there.gpkg", "m.safetensors"}
    return json.loads(done.stdout)


@pytest.mark.parametrize("line", LINES)
def test_absent_paths_are_said_to_be_absent_before_anything_slow_is_imported(
    line: str, answers: dict[str, Answer]
) -> None:
    code, said, data, heavy = answers[line]
    assert said.startswith(f"error: {LINES[line]}")
    assert (code in (1, 2), data, heavy) == (True, "", [])


def test_names_of_gdal_and_urls_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "roofs.gpkg").touch()
    names = ["https://nope.invalid/a.tif", "/vsimem/a.tif", "s3://bucket/a.tif", f"{tmp_path}/roofs.gpkg|layername=a"]
    assert absent([*names, str(tmp_path / "roofs.gpkg")]) == []
    assert absent([tmp_path / "a.tif", f"{tmp_path}/a.gpkg|layername=a"]) == [
        f"{tmp_path}/a.tif",
        f"{tmp_path}/a.gpkg|layername=a",
    ]
