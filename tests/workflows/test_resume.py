"""Kill a prediction and continue it: the outputs have the bytes of an unbroken run.

Covers ``prediction/scene_run``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from predictors import predictor_of

from satseg.errors import OutputError
from satseg.files.atomic_write import work_folder
from satseg.prediction.outputs import OutputPaths
from satseg.prediction.predictor import Predictor
from satseg.prediction.settings import PredictionSettings
from satseg.raster.source import SceneSource
from satseg.records import MapLayer, ProgressEvent
from satseg.vectorization.settings import PolygonSettings

OUTPUTS = ("map.tif", "confidence.tif", "map.gpkg", "map.parquet")


def write_scene(path: Path, height: int, width: int) -> Path:
    """Write patches of random brightness."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (height // 10 + 1, width // 10 + 1))
    values = np.kron(coarse, np.ones((10, 10)))[:height, :width].astype(np.uint8)
    profile = {"driver": "GTiff", "crs": "EPSG:32645", "transform": Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)}
    with rasterio.open(path, "w", count=1, height=height, width=width, dtype="uint8", **profile) as dataset:
        dataset.write(values, 1)
    return path


def make_predictor(resume: bool = True, *, window: int = 64) -> Predictor:
    """Make a network whose windows disagree, so that overlaps matter; without training, alike in every process."""
    import torch
    from torch import nn

    from satseg.classes import ClassTable
    from satseg.inference.network import Network
    from satseg.records import BandStatistics

    class Moody(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            value = images[:, :1] - images.mean((1, 2, 3), keepdim=True) / 2
            return torch.cat([80 - value, 40 - (value - 120).abs(), value - 160], dim=1) / 20

    torch.set_num_threads(1)
    statistics = BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,))
    table = ClassTable.from_names(["background", "grey", "bright"])
    network = Network(Moody(), classes=table, statistics=statistics, device=torch.device("cpu"))
    polygons = PolygonSettings(simplify="1px")
    settings = PredictionSettings(window=window, threads=1, resume=resume, sieve=5, polygons=polygons)
    return predictor_of(network, settings)


def outputs(folder: Path) -> OutputPaths:
    rasters = ((MapLayer.CLASSES, folder / "map.tif"), (MapLayer.CONFIDENCE, folder / "confidence.tif"))
    return OutputPaths(rasters, (folder / "map.gpkg", folder / "map.parquet"))


def map_scene(scene: Path, folder: Path, **options: bool) -> None:
    folder.mkdir(exist_ok=True)
    make_predictor(**options).predict(SceneSource.of(scene), outputs(folder))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scene") / "scene.tif", 700, 300)


@pytest.fixture(scope="module")
def unbroken(scene: Path) -> dict[str, bytes]:
    map_scene(scene, scene.parent / "unbroken", resume=False)
    return contents(scene.parent / "unbroken")


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.97])
def test_a_map_that_was_interrupted_is_continued(
    scene: Path, unbroken: dict[str, bytes], tmp_path: Path, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("satseg.prediction.scene_run.COMMIT_SECONDS", 0)
    forwarded: list[float] = []

    def interrupt(event: ProgressEvent) -> None:
        assert event.total
        if event.done > share * event.total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_predictor().predict(SceneSource.of(scene), outputs(tmp_path), progress=interrupt)
    if share > 0.1:
        assert [path.name for path in tmp_path.iterdir()] == [work_folder(tmp_path / "map.tif").name]
    make_predictor().predict(SceneSource.of(scene), outputs(tmp_path), progress=lambda e: forwarded.append(e.done))
    assert contents(tmp_path) == unbroken
    if share > 0.1:
        assert forwarded[0] > (share - 0.2) * 700 * 300


def test_without_resume_a_map_begins_anew(scene: Path, unbroken: dict[str, bytes], tmp_path: Path) -> None:
    folder = work_folder(tmp_path / "map.tif")
    folder.mkdir()
    (folder / "identity.json").write_text("{}")
    map_scene(scene, tmp_path, resume=False)
    assert contents(tmp_path) == unbroken


def test_a_plan_or_scene_that_changed_is_noticed(scene: Path, tmp_path: Path) -> None:
    def interrupt(event: ProgressEvent) -> None:
        if event.done > event.total / 2:  # type: ignore[operator]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr("satseg.prediction.scene_run.COMMIT_SECONDS", 0)
        make_predictor().predict(SceneSource.of(scene), outputs(tmp_path), progress=interrupt)
    with pytest.raises(OutputError, match=r"its window was 64, now it is 96 \(and plan"):
        make_predictor(window=96).predict(SceneSource.of(scene), outputs(tmp_path))
    with pytest.raises(OutputError, match="its model was"):
        other = make_predictor()
        other = replace(other, provenance=replace(other.provenance, model="another"))
        other.predict(SceneSource.of(scene), outputs(tmp_path))
    os.utime(scene)  # also where it lies behind a mosaic: see satseg.files.local_files
    with pytest.raises(OutputError, match="its scene changed was"):
        make_predictor().predict(SceneSource.of(scene), outputs(tmp_path))


def write_mask(folder: Path) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(folder / "scene.tif", "r+") as dataset:
        dataset.write_mask(np.tri(200, 80, dtype=bool))


def put_into_archive(folder: Path) -> None:
    with zipfile.ZipFile(folder / "scene.zip", "w") as archive:
        archive.write(folder / "scene.tif", "scene.tif")


def change_archive(folder: Path) -> None:
    write_scene(folder / "scene.tif", 200, 81)
    write_scene(folder / "scene.tif", 200, 80)
    put_into_archive(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("scene.tif", write_mask),
        ("/vsizip/scene.zip/scene.tif", change_archive),
        ("vrt://scene.tif?bands=1", write_mask),
    ],
    ids=["mask", "archive", "vrt"],
)
def test_changes_of_what_belongs_to_a_scene_are_noticed(
    tmp_path: Path, name: str, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(event: ProgressEvent) -> None:
        if event.done > event.total / 2:  # type: ignore[operator]
            raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("satseg.prediction.scene_run.COMMIT_SECONDS", 0)
    write_scene(tmp_path / "scene.tif", 200, 80)
    put_into_archive(tmp_path)
    made = OutputPaths(((MapLayer.CLASSES, tmp_path / "map.tif"),), ())
    with pytest.raises(KeyboardInterrupt):
        make_predictor().predict(SceneSource.of(name), made, progress=interrupt)
    change(tmp_path)
    with pytest.raises(OutputError, match="its scene changed was"):
        make_predictor().predict(SceneSource.of(name), made)
    make_predictor(resume=False).predict(SceneSource.of(name), made)
    assert (tmp_path / "map.tif").exists()


def kill_at_random(scene: Path, folder: Path, kills: int, seed: int) -> int:
    """Start the map in a child, kill its process group after a random while, again and again; return the kills."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    killed = 0
    while True:
        child = subprocess.Popen([sys.executable, __file__, scene, folder], start_new_session=True)
        if killed == kills:
            assert child.wait(timeout=120) == 0
            return killed
        ready = folder / "ready"
        while not ready.exists() and child.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 1.0))
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            killed += 1
        child.wait()
        ready.unlink(missing_ok=True)


@pytest.mark.slow
def test_kills_at_random_moments_leave_the_bytes_of_an_unbroken_run(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", 3000, 300)
    map_scene(path, tmp_path / "whole", resume=False)
    for seed in range(4):
        assert kill_at_random(path, tmp_path / f"broken{seed}", kills=5, seed=seed) == 5
        (tmp_path / f"broken{seed}" / "ready").unlink()
        assert contents(tmp_path / f"broken{seed}") == contents(tmp_path / "whole")


if __name__ == "__main__":
    import satseg.prediction.scene_run

    satseg.prediction.scene_run.COMMIT_SECONDS = 0.02
    made = make_predictor()
    (Path(sys.argv[2]) / "ready").touch()
    made.predict(SceneSource.of(sys.argv[1]), outputs(Path(sys.argv[2])))
