"""A small tile set that a network can learn in a few steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from satseg.workflows.tile import tile


@pytest.fixture(scope="session")
def bright_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of 256 x 384 px, two bands of uint16 with nodata 0; ``labels.tif`` beside it marks the bright squares."""
    folder = tmp_path_factory.mktemp("bright")
    rng = np.random.default_rng(0)
    labels = np.kron(rng.random((16, 24)) < 0.4, np.ones((16, 16))).astype(np.uint8)
    noise = rng.integers(1, 300, (2, 256, 384))
    bands = (noise + labels * np.array([900, 500])[:, None, None]).astype(np.uint16)
    bands[:, :40, :40] = 0
    profile = {"driver": "GTiff", "height": 256, "width": 384, "crs": "EPSG:32645"}
    profile["transform"] = Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)
    with rasterio.open(folder / "scene.tif", "w", count=2, dtype="uint16", nodata=0, **profile) as dataset:
        dataset.write(bands)
    with rasterio.open(folder / "labels.tif", "w", count=1, dtype="uint8", nodata=255, **profile) as dataset:
        dataset.write(labels, 1)
    return folder / "scene.tif"


@pytest.fixture(scope="session")
def bright_tiles(bright_scene: Path) -> Path:
    """The scene in tiles of 64 px: 16 train tiles, 4 val tiles, 4 test tiles."""
    folder = bright_scene.parent / "tiles"
    tile([bright_scene], labels=bright_scene.parent / "labels.tif", output=folder, size=64, overlap=0, block=128)
    return folder
