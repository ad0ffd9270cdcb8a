from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from made_scenes import GRID, write_scene

from satseg.raster.scene import Scene
from satseg.records import SceneInfo
from satseg.tiles.tileset import TileSet
from satseg.tiling.settings import TileSettings
from satseg.workflows.tile import tile
from satseg.workflows.trained_ground import trained_fraction, warn_of_trained_ground

WIDTH, HEIGHT, SIZE = 256, 128, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of 256 x 128 px, its tile set, and scenes of its size that lie half beside it and elsewhere."""
    folder = tmp_path_factory.mktemp("ground")
    values = np.random.default_rng(0).integers(1, 255, (1, HEIGHT, WIDTH), dtype=np.uint8)
    for name, columns in (("scene", 0), ("half", WIDTH / 2), ("elsewhere", 2 * WIDTH)):
        write_scene(folder / f"{name}.tif", values, transform=GRID * Affine.translation(columns, 0))
    box = shapely.box(*(GRID * (0, HEIGHT)), *(GRID * (WIDTH / 2, 0)))
    geopandas.GeoDataFrame(geometry=[box], crs=32645).to_file(folder / "roofs.gpkg")
    tile(
        folder / "scene.tif",
        labels=folder / "roofs.gpkg",
        output=folder / "tiles",
        settings=TileSettings(size=SIZE, overlap=0, block=64),
    )
    return folder


def described(path: Path) -> SceneInfo:
    with Scene.open(path) as scene:
        return scene.info


def test_the_share_is_that_of_the_training_tiles(folder: Path) -> None:
    index = TileSet.open(folder / "tiles").index
    train = index[index["split"] == "train"]
    whole = len(train) * SIZE**2 / (WIDTH * HEIGHT)
    right = (train["col"] >= WIDTH // 2).sum() * SIZE**2 / (WIDTH * HEIGHT)
    assert 0 < right < whole < 1
    scene, half, elsewhere = (described(folder / f"{name}.tif") for name in ("scene", "half", "elsewhere"))
    assert trained_fraction(folder / "tiles", [scene]) == pytest.approx(whole)
    assert trained_fraction(folder / "tiles", [half]) == pytest.approx(right)
    assert trained_fraction(folder / "tiles", [scene, elsewhere]) == pytest.approx(whole / 2)
    assert trained_fraction(folder / "tiles", [elsewhere]) == 0


def test_only_a_tile_set_that_is_there_and_met_is_told_of(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene, elsewhere = described(folder / "scene.tif"), described(folder / "elsewhere.tif")
    warn_of_trained_ground(None, [scene])
    warn_of_trained_ground(folder / "gone", [scene])
    warn_of_trained_ground(folder / "tiles", [elsewhere])
    assert not caplog.messages
    warn_of_trained_ground(folder / "tiles", [scene])
    assert "% of the scored ground" in caplog.text
