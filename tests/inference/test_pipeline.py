from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from torch import Tensor, nn

from satseg.classes import ClassTable
from satseg.errors import SceneError
from satseg.inference.network import Network
from satseg.inference.pipeline import predict_rows
from satseg.inference.plan import make_plan
from satseg.raster.scene import Scene
from satseg.records import BandStatistics


class OneHot(nn.Module):
    """The oracle: class = raw value of the first band. Counts what it is given."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shapes.append(tuple(images.shape))
        classes = images[:, 0].round().long().clamp(0, self.num_classes - 1)
        return nn.functional.one_hot(classes, self.num_classes).permute(0, 3, 1, 2).float() * 200


def oracle(num_classes: int = 4) -> tuple[Network, OneHot]:
    model = OneHot(num_classes)
    identity = BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,))
    classes = ClassTable.from_names([f"class {i}" for i in range(num_classes)])
    return Network(model, classes=classes, statistics=identity, device=torch.device("cpu")), model


def write_scene(path: Path, values: np.ndarray, **profile: object) -> Path:
    options: dict[str, object] = {"driver": "GTiff", "crs": "EPSG:32645", "transform": Affine(0.5, 0, 0, 0, -0.5, 0)}
    options |= profile
    with rasterio.open(
        path, "w", count=1, height=values.shape[0], width=values.shape[1], dtype=values.dtype.name, **options
    ) as dataset:
        dataset.write(values, 1)
    return path


def map_scene(path: Path, **plan: int) -> np.ndarray:
    network, _ = oracle()
    with Scene.open(path) as scene:
        rows = list(predict_rows(scene, network, make_plan(scene.info.height, scene.info.width, **plan)))
    assert [r.offset for r in rows] == np.cumsum([0, *(len(r.classes) for r in rows)])[:-1].tolist()
    return np.concatenate([r.classes for r in rows])


@pytest.mark.parametrize("shape", [(1, 1), (7, 40), (64, 64), (65, 129), (100, 192), (191, 33)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_one_hot_model_gives_the_class_scene_back(tmp_path: Path, shape: tuple[int, int], batch_size: int) -> None:
    classes = np.random.default_rng(1).integers(0, 4, shape, dtype=np.uint8)
    path = write_scene(tmp_path / "scene.tif", classes)
    assert (map_scene(path, window=64, overlap=8, batch_size=batch_size) == classes).all()


def test_the_map_does_not_depend_on_the_plan(tmp_path: Path) -> None:
    classes = np.random.default_rng(2).integers(0, 4, (150, 170), dtype=np.uint8)
    path = write_scene(tmp_path / "scene.tif", classes)
    plans = [{"window": 32, "overlap": 0}, {"window": 64, "overlap": 32}, {"window": 512, "batch_size": 1}]
    maps = [map_scene(path, **plan) for plan in plans]
    assert all((one == maps[0]).all() for one in maps)


def test_nodata_and_nan_become_255(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 4, (80, 80)).astype(np.float32)
    values[10:20], values[30, 5:50] = np.nan, -9999
    path = write_scene(tmp_path / "scene.tif", values, nodata=-9999)
    invalid = np.isnan(values) | (values == -9999)
    assert (map_scene(path, window=32, overlap=4) == np.where(invalid, 255, np.nan_to_num(values))).all()


def test_windows_without_data_do_not_go_through_the_network(tmp_path: Path) -> None:
    values = np.zeros((256, 64), dtype=np.uint8)
    values[:40] = 1
    path = write_scene(tmp_path / "scene.tif", values, nodata=0)
    network, model = oracle()
    with Scene.open(path) as scene:
        list(predict_rows(scene, network, make_plan(256, 64, window=64, overlap=0, batch_size=1)))
    assert model.shapes == [(1, 1, 64, 64)]


def test_every_forward_pass_has_the_full_batch(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.zeros((64, 64 * 5), dtype=np.uint8))
    network, model = oracle()
    with Scene.open(path) as scene:
        list(predict_rows(scene, network, make_plan(64, 320, window=64, overlap=0, batch_size=4)))
    assert model.shapes == [(4, 1, 64, 64)] * 2


def test_a_damaged_scene_ends_with_its_own_error(shared_data: Path) -> None:
    identity = BandStatistics(1, (0.0,) * 3, (1.0,) * 3, (0.0,) * 3, (255.0,) * 3)
    classes = ClassTable.from_names(["a", "b"])
    network = Network(OneHot(2), classes=classes, statistics=identity, device=torch.device("cpu"))
    with (
        Scene.open(shared_data / "rasters" / "corrupt.tif") as scene,
        pytest.raises(SceneError, match=r"corrupt.tif cannot be read at rows"),
    ):
        list(predict_rows(scene, network, make_plan(scene.info.height, scene.info.width)))
