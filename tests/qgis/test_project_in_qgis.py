"""QGIS itself opens projects, class rasters and polygons, in the Python that it is built for.

Covers ``style`` and ``raster_style``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from made_scenes import write_scene
from PIL import Image
from predictors import predictor_of, use_predictor
from ranged_server import RangedServer
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from satseg.classes import ClassTable
from satseg.errors import OutputError
from satseg.inference.network import Network
from satseg.outputs.writable import check_file
from satseg.prediction.settings import OutputNames, PredictionSettings
from satseg.records import BandStatistics
from satseg.sample import sample
from satseg.workflows.predict import predict, predict_scenes

pytestmark = pytest.mark.slow

PYTHON = "/usr/bin/python3"  # Debian's, for which its package python3-qgis is built
SCRIPT = Path(__file__).parents[1] / "open_in_qgis.py"
TABLE = ClassTable.from_names(["background", "wood & meadow", "<water>"])
COLOURS = [[entry.id, entry.name, entry.colour] for entry in TABLE]
SIDE = 96
SETTINGS = PredictionSettings(window=96, threads=1)


def run_qgis(*words: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run([PYTHON, *words], cwd=folder, env=environment, capture_output=True, text=True)


@cache
def missing() -> str | None:
    """Return why QGIS cannot be run, or None."""
    if shutil.which(PYTHON) is None:
        return f"there is no {PYTHON}"
    if run_qgis("-c", "import qgis.core").returncode == 0:
        return None
    return f"QGIS is not installed for {PYTHON}: apt-get install python3-qgis"


def open_in_qgis(folder: Path, *words: str) -> dict[str, Any]:
    """Return what QGIS tells of files in a folder."""
    if missing():
        pytest.skip(f"{missing()}")
    done = run_qgis(SCRIPT, *words, folder=folder)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


class Thresholds(nn.Module):
    """Three classes by the value of the first of four bands."""

    def forward(self, images: Tensor) -> Tensor:
        value = images[:, :1]
        return torch.cat([800 - value, 400 - (value - 1200).abs(), value - 1600], dim=1) / 10


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    if missing():
        pytest.skip(f"{missing()}")
    statistics = BandStatistics(1, (0.0,) * 4, (1.0,) * 4, (0.0,) * 4, (4000.0,) * 4)
    network = Network(Thresholds(), classes=TABLE, statistics=statistics, device=torch.device("cpu"))
    use_predictor(monkeypatch, predictor_of(network, SETTINGS))


def scene(path: Path, *, east: float = 0, **profile: object) -> Path:
    """Write a scene of 12 bits in 16, as Sentinel-2 orders its bands."""
    field = gaussian_filter(np.random.default_rng(3).normal(size=(SIDE, SIDE)), 8)
    field = (field - field.min()) / np.ptp(field)
    bands = np.stack([300 + 2000 * field, 2200 - 1500 * field, 400 + 900 * field, 2500 * field + 10])
    path.parent.mkdir(exist_ok=True)
    options = {"transform": Affine(10, 0, 300_000 + east, 0, -10, 3_000_000)} | profile
    with rasterio.open(write_scene(path, bands.astype(np.uint16), photometric="minisblack", **options), "r+") as made:
        made.descriptions = ("B02", "B03", "B04", "B08")
    return path


@pytest.mark.usefixtures("oracle")
def test_maps_of_two_scenes_open_in_order_with_their_classes(tmp_path: Path) -> None:
    scenes = [scene(tmp_path / "in" / "süd & ost.tif"), scene(tmp_path / "in" / "it's <x>.tif", east=2000)]
    names = OutputNames(
        output=(tmp_path / "out" / "{stem}.gpkg", tmp_path / "out" / "{stem}-map.tif"),
        confidence=tmp_path / "out" / "{stem}-sure.tif",
        project=tmp_path / "maps & more.qgs",
    )
    assert len(list(predict_scenes(scenes, model="oracle", output=names, settings=SETTINGS))) == 2
    moved = (tmp_path / "in").parent.rename(tmp_path.with_name("elsewhere"))
    try:
        told = open_in_qgis(moved, "maps & more.qgs", "--picture", "p.png", "--save", "saved.qgs")["maps & more.qgs"]
        picture = np.asarray(Image.open(moved / "p.png").convert("RGB")).astype(int)
        saved = (moved / "saved.qgs").rename(moved / "maps & more.qgs")
        with pytest.raises(OutputError, match="was saved by QGIS"):
            check_file(saved)
    finally:
        moved.rename(tmp_path)

    layers = told["layers"]
    assert [layer["name"] for layer in layers] == ["Confidence", "Polygons", "Classes", "Scene"] * 2
    assert [layer["groups"] for layer in layers] == [["süd & ost"]] * 4 + [["it's <x>"]] * 4
    assert [layer["visible"] for layer in layers] == [False, True, False, True] * 2
    assert all(layer["valid"] for layer in layers)
    assert {layer["crs"] for layer in layers} == {told["crs"]} == {"EPSG:32645"}
    left, bottom, right, top = told["extent"]  # at least the ground of the scenes: a canvas has a shape of its own
    assert (left, right) == (pytest.approx(300_000), pytest.approx(302_960)) or (bottom, top) == (
        pytest.approx(3_000_000 - 960),
        pytest.approx(3_000_000),
    )
    assert left <= 300_000
    assert right >= 302_960
    for shares, polygons, areas, image in (layers[:4], layers[4:]):
        assert shares["renderer"] == "singlebandpseudocolor"
        assert polygons["renderer"] == "categorizedSymbol"
        assert polygons["features"] > 2
        assert [entry[:3] for entry in polygons["entries"]] == COLOURS[1:]
        assert all(0 < entry[3] < 255 for entry in polygons["entries"])
        assert areas["renderer"] == "paletted"
        assert [entry[:3] for entry in areas["entries"]] == COLOURS
        assert [entry[3] for entry in areas["entries"]] == [0, 255, 255]
        assert (image["renderer"], image["bands"]) == ("multibandcolor", [3, 2, 1])
        assert all(300 < low < high < 2300 for low, high in image["stretches"])
    shown = picture[(picture != 255).any(axis=2)]
    assert shown.std() > 30  # neither black nor white, as 12 bits would be without stretching


@pytest.mark.usefixtures("oracle")
def test_files_alone_show_names_and_colours_of_their_classes(tmp_path: Path) -> None:
    predict(
        scene(tmp_path / "scene.tif"),
        model="oracle",
        output=[tmp_path / "a.tif", tmp_path / "a.gpkg"],
        settings=SETTINGS,
    )
    told = open_in_qgis(tmp_path, "a.tif", "a.gpkg")
    assert told["a.tif"]["renderer"] == "paletted"
    assert [entry[:3] for entry in told["a.tif"]["entries"]] == COLOURS
    assert told["a.gpkg"]["renderer"] == "categorizedSymbol"
    assert [entry[:3] for entry in told["a.gpkg"]["entries"]] == COLOURS


@pytest.mark.usefixtures("oracle")
def test_scenes_on_a_server_and_in_a_crs_of_their_own_open(tmp_path: Path, ranged_server: RangedServer) -> None:
    laea = "+proj=laea +lat_0=27 +lon_0=85 +x_0=300000 +y_0=3000000 +datum=WGS84"
    scene(ranged_server.folder / "a.tif", crs=laea)
    names = OutputNames(output=(tmp_path / "m.geojson",), project=tmp_path / "p.qgs")
    predict(ranged_server.url("a.tif"), model="oracle", output=names, settings=SETTINGS)
    polygons, image = open_in_qgis(tmp_path, "p.qgs")["p.qgs"]["layers"]
    assert image["valid"]
    assert image["source"] == f"/vsicurl/{ranged_server.url('a.tif')}"
    assert image["extent"] == pytest.approx([300_000, 2_999_040, 300_960, 3_000_000])
    assert polygons["valid"]
    assert polygons["crs"] == "EPSG:4326"
    assert polygons["features"] > 2


def test_objects_of_the_sample_open(tmp_path: Path) -> None:
    if missing():
        pytest.skip(f"{missing()}")
    with rasterio.open(sample().held_out) as source:
        window = Window(300, 200, 256, 256)
        write_scene(
            tmp_path / "town.tif",
            source.read(window=window),
            crs=source.crs,
            transform=source.window_transform(window),
            photometric="rgb",
        )
    names = OutputNames(
        output=(tmp_path / "roofs.fgb", tmp_path / "ids.tif"),
        boundary=tmp_path / "edges.tif",
        project=tmp_path / "roofs.qgs",
    )
    predict(tmp_path / "town.tif", model="sample", output=names, settings=PredictionSettings(objects=True, threads=1))
    layers = open_in_qgis(tmp_path, "roofs.qgs")["roofs.qgs"]["layers"]
    assert [layer["name"] for layer in layers] == ["Boundary", "Polygons", "Objects", "Scene"]
    assert all(layer["valid"] for layer in layers)
    assert layers[1]["features"] > 2
    assert [entry[1] for entry in layers[1]["entries"]] == ["buildings"]
    assert layers[3]["stretches"] == []
