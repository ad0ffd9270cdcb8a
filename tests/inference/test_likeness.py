from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from satseg.inference.likeness import unlike_training
from satseg.raster.scene import Scene
from satseg.records import BandStatistics

TRAINED = BandStatistics(9, (100.0,), (10.0,), (0.0,), (200.0,))


def phrases(path: Path, values: np.ndarray, nodata: float | None = None) -> list[str]:
    height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=height, width=width, dtype="float32", nodata=nodata
    ) as dataset:
        dataset.write(values.astype(np.float32), 1)
    with Scene.open(path) as scene:
        return unlike_training(scene, TRAINED)


@pytest.mark.parametrize("shape", [(1, 1), (300, 40), (900, 1000)])
def test_a_scene_like_the_training_scenes_is_not_remarked(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(100, 10, shape)
    if values.size == 1:
        values[:] = 100
        assert len(phrases(tmp_path / "a.tif", values)) == 1  # a single pixel has no spread
    else:
        assert phrases(tmp_path / "a.tif", values) == []


def test_another_level_is_remarked_with_numbers(tmp_path: Path) -> None:
    (phrase,) = phrases(tmp_path / "a.tif", np.random.default_rng(0).normal(130, 10, (600, 600)))
    assert phrase.startswith("band_1 130 ± ")
    assert phrase.endswith("100 ± 10 in training")


def test_another_spread_is_remarked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    assert phrases(tmp_path / "a.tif", rng.normal(100, 50, (600, 600)))
    assert phrases(tmp_path / "b.tif", rng.normal(100, 2, (600, 600)))


def test_a_scene_without_data_is_not_remarked(tmp_path: Path) -> None:
    assert phrases(tmp_path / "a.tif", np.zeros((50, 50)), nodata=0) == []
