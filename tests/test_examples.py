"""The examples run as they stand, on the sample and with a few steps."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import rasterio
from nbclient import NotebookClient
from stac_schemas import check_item

from satseg.sample import sample

ROOT = Path(__file__).resolve().parents[1]
BUDGET = "--steps 3 --batch-size 2"


def keep_to_one_core() -> None:
    """Two threads of torch that wait for each other on a busy machine are many times slower than one."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def run(words: list[object], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=keep_to_one_core,
    )
    assert done.returncode == 0, done.stderr
    return done


def crop(source: Path, target: Path, size: int) -> Path:
    """Write the top left corner of a scene."""
    window = rasterio.windows.Window(0, 0, size, size)
    with rasterio.open(source) as scene:
        profile = {**scene.profile, "width": size, "height": size, "compress": "deflate", "photometric": "rgb"}
        with rasterio.open(target, "w", **profile) as out:
            out.write(scene.read(window=window))
    return target


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_pipeline_script(tmp_path: Path) -> None:
    scene = crop(sample().labelled, tmp_path / "town.tif", 512)
    others = [crop(sample().unlabelled, tmp_path / f"{name}.tif", 256) for name in ("east", "west")]
    done = run([ROOT / "examples" / "pipeline.sh", scene, sample().labels, *others], tmp_path, BUDGET=BUDGET)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()[-2:]] == [str(path) for path in others]
    suffixes = (".tif", ".tif.aux.xml", ".gpkg", ".qml")  # the attribute table of the raster, and colours of polygons
    expected = {f"{scene}{suffix}" for scene in ("east", "west") for suffix in suffixes}
    assert {path.name for path in (tmp_path / "maps").iterdir()} == expected


def test_python_api(tmp_path: Path) -> None:
    done = run([sys.executable, ROOT / "examples" / "python_api.py", tmp_path / "example", 3], tmp_path)
    assert re.search(r": 0\.\d{3}$", done.stdout)


def test_python_api_is_ten_lines() -> None:
    lines = (ROOT / "examples" / "python_api.py").read_text().splitlines()
    code = [line for line in lines if line and not line.startswith(('"""', "import sys", "from pathlib"))]
    assert len(code) <= 10


def test_the_notebook_runs_as_it_is_committed(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "examples" / "first_map.ipynb", as_version=4)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
    held_out = crop(sample().held_out, tmp_path / "other.tif", 256)
    labelled = crop(sample().labelled, tmp_path / "scene.tif", 512)
    smaller = f"""
import dataclasses, pathlib
scenes = dataclasses.replace(
    sample(), labelled=pathlib.Path({str(labelled)!r}), held_out=pathlib.Path({str(held_out)!r})
)
"""
    first = notebook.cells[1]
    assert "scenes, steps = sample(), 300\n" in first.source
    first.source = first.source.replace("scenes, steps = sample(), 300\n", f"steps = 2\n{smaller}")
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    data = [output.get("data", {}) for cell in notebook.cells[1:] for output in cell.get("outputs", [])]
    tables = [entry["text/html"] for entry in data if "text/html" in entry]
    assert [re.findall("<b>(.*?)</b>", table) for table in tables] == [
        ["FileInfo"],
        ["TileSummary"],
        ["TrainingSummary"],
    ]
    assert sum("image/png" in entry for entry in data) == 1
    assert sum(entry.get("text/plain") == "" for entry in data) >= 3  # bars, which go when functions end
    said = "".join(output.get("text", "") for cell in notebook.cells[1:] for output in cell.get("outputs", []))
    assert re.search(r"mean IoU: 0\.\d{3}\n", said)
    assert "no-such-scene.tif does not exist." in said
    assert "Traceback" not in said


def test_custom_architecture(tmp_path: Path) -> None:
    scene = crop(sample().labelled, tmp_path / "scene.tif", 512)
    arch = f"{ROOT / 'examples' / 'custom_architecture.py'}:stripes"
    run(["satseg", "tile", scene, "--labels", sample().labels, "-o", "tiles"], tmp_path)
    run(["satseg", "train", "--arch", arch, *shlex.split(BUDGET)], tmp_path)
    run(["satseg", "predict", scene, "-m", "runs/stripes-1", "--arch", arch, "-o", "map.tif"], tmp_path)
    with rasterio.open(tmp_path / "map.tif") as written:
        assert written.shape == (512, 512)


def test_the_exported_network_still_makes_its_map(tmp_path: Path) -> None:
    """Other processors round the sums of an 8-bit network otherwise."""
    example = ROOT / "examples" / "exported"
    run(["satseg", "predict", example / "scene.tif", "-m", example / "roofs.onnx", "-o", "map.tif"], tmp_path)
    with rasterio.open(tmp_path / "map.tif") as made, rasterio.open(example / "map.tif") as kept:
        assert made.tags(1) == kept.tags(1)
        assert np.mean(made.read(1) == kept.read(1)) > 0.995


def test_the_item_and_the_project_describe_the_files_beside_them() -> None:
    example = ROOT / "examples" / "exported"
    item = json.loads((example / "roofs.json").read_text(encoding="utf-8"))
    check_item(item)
    (asset,) = [asset for asset in item["assets"].values() if asset["href"] == "./roofs.onnx"]
    assert asset["file:checksum"] == "1220" + hashlib.sha256((example / "roofs.onnx").read_bytes()).hexdigest()
    project = (example / "map.qgs").read_text(encoding="utf-8")
    shown = {
        name.partition("|")[0].removeprefix("./") for name in re.findall(r"<datasource>(.*?)</datasource>", project)
    }
    assert shown == {"scene.tif", "map.tif", "map.gpkg", "confidence.tif"}
