"""Covers ``backend/finite``."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from rasterio.windows import Window
from torch import Tensor, nn

from satseg.classes import ClassTable
from satseg.errors import NetworkError, SceneError
from satseg.inference.decision import Decision
from satseg.inference.network import Network
from satseg.inference.pipeline import Cell, join_cells, predict_cells, predict_rows, rows_to_repeat
from satseg.inference.plan import make_plan
from satseg.inference.reading import ReadOptions
from satseg.raster.scene import Scene
from satseg.raster.values import OutOfRange
from satseg.records import BandStatistics, MapLayer


class OneHot(nn.Module):
    """The oracle: class = raw value of the first band. Counts what it is given."""

    def __init__(self, num_classes: int = 4) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shapes.append(tuple(images.shape))
        classes = images[:, 0].round().long().clamp(0, self.num_classes - 1)
        return nn.functional.one_hot(classes, self.num_classes).permute(0, 3, 1, 2).float() * 200


def oracle(model: OneHot) -> Network:
    identity = BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,))
    classes = ClassTable.from_names([f"class {i}" for i in range(model.num_classes)])
    return Network(model, classes=classes, statistics=identity, device=torch.device("cpu"))


def write_scene(path: Path, values: np.ndarray, **profile: object) -> Path:
    options: dict[str, object] = {"driver": "GTiff", "crs": "EPSG:32645", "transform": Affine(0.5, 0, 0, 0, -0.5, 0)}
    options |= profile
    with rasterio.open(
        path, "w", count=1, height=values.shape[0], width=values.shape[1], dtype=values.dtype.name, **options
    ) as dataset:
        dataset.write(values, 1)
    return path


def map_scene(path: Path, model: OneHot | None = None, **plan: Any) -> np.ndarray:
    network = oracle(model or OneHot())
    with Scene.open(path) as scene:
        made = make_plan(scene.info.height, scene.info.width, **plan)
    read_options = ReadOptions(scratch=path.parent)
    rows = list(predict_rows(lambda: Scene.open(path), network, made, read_options))
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


class Cells(OneHot):
    """Class = largest value in a cell of 8 x 8 px: a network with an output stride."""

    def forward(self, images: Tensor) -> Tensor:
        largest = nn.functional.max_pool2d(images, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
        return super().forward(largest)


@pytest.mark.parametrize("plan", [{"window": 64, "overlap": 9}, {"window": 80, "overlap": 20}, {"window": 48}])
def test_windows_that_begin_at_multiples_of_the_stride_see_the_same_cells(tmp_path: Path, plan: dict[str, int]) -> None:
    values = np.random.default_rng(4).choice(4, (152, 176), p=(0.97, 0.01, 0.01, 0.01)).astype(np.uint8)
    path = write_scene(tmp_path / "scene.tif", values)
    expected = values.reshape(19, 8, 22, 8).max(axis=(1, 3)).repeat(8, 0).repeat(8, 1)
    assert (map_scene(path, Cells(), align=8, **plan) == expected).all()
    assert (map_scene(path, Cells(), align=1, **plan) != expected).any()


@pytest.mark.parametrize("shape", [(65, 129), (100, 191), (77, 200)])
def test_windows_may_end_beyond_the_scene(tmp_path: Path, shape: tuple[int, int]) -> None:
    classes = np.random.default_rng(1).integers(0, 4, shape, dtype=np.uint8)
    path = write_scene(tmp_path / "scene.tif", classes)
    assert (map_scene(path, window=64, overlap=8, align=16) == classes).all()


def test_nodata_and_nan_become_255(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 4, (80, 80)).astype(np.float32)
    values[10:20], values[30, 5:50] = np.nan, -9999
    path = write_scene(tmp_path / "scene.tif", values, nodata=-9999)
    invalid = np.isnan(values) | (values == -9999)
    assert (map_scene(path, window=32, overlap=4) == np.where(invalid, 255, np.nan_to_num(values))).all()


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("budget", [0, 10**9])
def test_streams_and_memory_do_not_change_the_map(tmp_path: Path, streams: int, budget: int) -> None:
    """Also when what is held of a scene and of its overlaps goes to disk and comes back."""
    classes = np.random.default_rng(5).integers(0, 4, (200, 5000), dtype=np.uint8)
    path = write_scene(tmp_path / "scene.tif", classes)
    plan = make_plan(200, 5000, window=96, overlap=16, batch_size=3, streams=streams)
    read_options = ReadOptions(scratch=tmp_path, readers=2, budget=budget)
    rows = list(predict_rows(lambda: Scene.open(path), oracle(OneHot()), plan, read_options))
    assert (np.concatenate([r.classes for r in rows]) == classes).all()


def test_windows_without_data_do_not_go_through_the_network(tmp_path: Path) -> None:
    values = np.zeros((256, 64), dtype=np.uint8)
    values[:40] = 1
    path = write_scene(tmp_path / "scene.tif", values, nodata=0)
    model = OneHot()
    map_scene(path, model, window=64, overlap=0, batch_size=1)
    assert model.shapes == [(1, 1, 64, 64)]


def test_every_forward_pass_has_the_full_batch(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.zeros((64, 64 * 5), dtype=np.uint8))
    model = OneHot()
    map_scene(path, model, window=64, overlap=0, batch_size=4)
    assert model.shapes == [(4, 1, 64, 64)] * 2


def test_outside_an_area_nothing_is_read_or_mapped(tmp_path: Path) -> None:
    class Corner:
        def touches(self, window: Window) -> bool:
            return bool(window.row_off < 50 and window.col_off < 70)

        def inside(self, window: Window) -> np.ndarray:
            rows, columns = np.ogrid[: int(window.height), : int(window.width)]
            return (rows + window.row_off < 50) & (columns + window.col_off < 70)

    path = write_scene(tmp_path / "scene.tif", np.ones((200, 300), dtype=np.uint8))
    model = OneHot()
    plan = make_plan(200, 300, window=32, overlap=4, batch_size=1)
    read_options = ReadOptions(scratch=tmp_path, area=Corner())
    rows = list(predict_rows(lambda: Scene.open(path), oracle(model), plan, read_options))
    expected = np.full((200, 300), 255)
    expected[:50, :70] = 1
    assert (np.concatenate([r.classes for r in rows]) == expected).all()
    assert len(model.shapes) == 2 * 3


@pytest.mark.parametrize("row", [1, 2, 3, 6])
def test_a_map_goes_on_in_the_middle_with_the_same_batches(tmp_path: Path, row: int) -> None:
    """A network whose answer depends on the whole batch: only the very same batches give the same cells."""

    class Batchwise(OneHot):
        def forward(self, images: Tensor) -> Tensor:
            return torch.cat([images, images.mean((0, 1, 2, 3)).expand_as(images)], dim=1) * 0.01

    values = np.random.default_rng(6).integers(0, 255, (230, 150), dtype=np.uint8)
    path = write_scene(tmp_path / "scene.tif", values)
    plan = make_plan(230, 150, window=40, overlap=8, batch_size=3)
    decision = Decision(2, layers=frozenset({MapLayer.CLASSES, MapLayer.CONFIDENCE}))

    def cells(first_row: int) -> list[Cell]:
        network, read_options = oracle(Batchwise(2)), ReadOptions(scratch=tmp_path)
        return list(predict_cells(lambda: Scene.open(path), network, plan, decision, read_options, first_row=first_row))

    done = plan.row_starts[row]
    unbroken = [cell for cell in cells(0) if cell.top >= done]
    again = [cell for cell in cells(row - rows_to_repeat(plan, row)) if cell.top >= done]
    assert [(cell.top, cell.left) for cell in again] == [(cell.top, cell.left) for cell in unbroken]
    for one, other in zip(again, unbroken, strict=True):
        assert all((one.layers[layer] == other.layers[layer]).all() for layer in decision.layers)


def test_cells_are_joined_until_they_are_wide_or_end_their_row() -> None:
    def cell(left: int, width: int, ends_row: bool) -> Cell:
        return Cell(0, left, {MapLayer.CLASSES: np.full((1, 2, width), left, np.uint8)}, ends_row)

    joined = list(join_cells([cell(0, 3, False), cell(3, 3, False), cell(6, 1, True), cell(0, 9, True)], width=5))
    assert [(one.left, one.layers[MapLayer.CLASSES].shape[2], one.ends_row) for one in joined] == [
        (0, 6, False),
        (6, 1, True),
        (0, 9, True),
    ]
    assert joined[0].layers[MapLayer.CLASSES][0, 0].tolist() == [0, 0, 0, 3, 3, 3]


@pytest.mark.parametrize("streams", [1, 2])
def test_a_damaged_scene_ends_with_its_own_error(real_files: Path, tmp_path: Path, streams: int) -> None:
    identity = BandStatistics(1, (0.0,) * 3, (1.0,) * 3, (0.0,) * 3, (255.0,) * 3)
    classes = ClassTable.from_names(["a", "b"])
    network = Network(OneHot(2), classes=classes, statistics=identity, device=torch.device("cpu"))
    path = real_files / "rasters" / "corrupt.tif"
    with Scene.open(path) as scene:
        plan = make_plan(scene.info.height, scene.info.width, streams=streams)
    before = threading.active_count()
    with pytest.raises(SceneError, match=r"corrupt.tif cannot be read at rows"):
        list(predict_rows(lambda: Scene.open(path), network, plan, ReadOptions(scratch=tmp_path)))
    assert threading.active_count() == before


def test_an_error_of_the_network_ends_all_threads(tmp_path: Path) -> None:
    class Broken(OneHot):
        def forward(self, images: Tensor) -> Tensor:
            if len(self.shapes) == 2:
                raise RuntimeError("out of memory, say")
            return super().forward(images)

    path = write_scene(tmp_path / "scene.tif", np.zeros((600, 600), dtype=np.uint8))
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="out of memory, say"):
        map_scene(path, Broken(), window=64, batch_size=2, streams=2)
    assert threading.active_count() == before


@pytest.mark.parametrize("batch_size", [1, 3])
def test_values_that_were_never_measured_become_nodata_and_change_nothing_else(tmp_path: Path, batch_size: int) -> None:
    classes = np.random.default_rng(3).integers(0, 4, (100, 150)).astype(np.float32)
    values, out_of_range = classes.copy(), [(7, 9), (63, 64), (99, 149)]
    for number, place in enumerate(out_of_range):
        values[place] = (-3.4028235e38, 9.97e36, 1e10)[number]
    path = write_scene(tmp_path / "scene.tif", values)
    network, found = oracle(OneHot()), set[OutOfRange]()
    with Scene.open(path) as scene:
        plan = make_plan(scene.info.height, scene.info.width, window=64, overlap=8, batch_size=batch_size)
    read_options = ReadOptions(scratch=tmp_path, values=network.values, on_out_of_range=found.add)
    rows = list(predict_rows(lambda: Scene.open(path), network, plan, read_options))
    for place in out_of_range:
        classes[place] = 255
    assert (np.concatenate([r.classes for r in rows]) == classes).all()
    assert OutOfRange.merge(found) == OutOfRange(3, float(np.float32(-3.4028235e38)), 0, 7, 9)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("class_id", [0, 3])
def test_a_network_that_is_not_finite_at_a_valid_pixel_is_refused_with_the_place(
    tmp_path: Path, value: float, class_id: int
) -> None:
    class Mad(OneHot):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            logits[:, class_id] = torch.where(images[:, 0] == 77, value, logits[:, class_id])
            return logits

    values = np.zeros((100, 150), dtype=np.uint8)
    values[70, 100] = 77
    path = write_scene(tmp_path / "scene.tif", values)
    with pytest.raises(NetworkError, match="not finite at row 70, column 100 of the scene, in the window") as e:
        map_scene(path, Mad(), window=64, overlap=8, batch_size=4)
    assert "`precision='fp16'`" in e.value.hint
    map_scene(write_scene(tmp_path / "void.tif", values, nodata=77), Mad(), window=64)  # nobody asks it there


def test_half_precision_that_overflows_is_refused_and_not_mapped(tmp_path: Path) -> None:
    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.grow = nn.Conv2d(1, 4, 1)
            nn.init.constant_(self.grow.weight, 1000.0)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.grow(images)
            return logits

    path = write_scene(tmp_path / "scene.tif", np.full((40, 40), 200, dtype=np.uint8))
    identity = BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,))
    table = ClassTable.from_names(list("abcd"))
    for precision in ("16-mixed", "bf16-mixed", "32-true"):
        network = Network(
            Growing(), classes=table, statistics=identity, device=torch.device("cpu"), precision=precision
        )
        rows = predict_rows(lambda: Scene.open(path), network, make_plan(40, 40), ReadOptions(scratch=tmp_path))
        if precision == "16-mixed":
            with pytest.raises(NetworkError, match="row 0, column 0"):
                list(rows)
        else:
            assert len(list(rows)) == 1
