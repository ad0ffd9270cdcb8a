"""Workers on a cluster give the bytes of one pass here, whatever happens to them.

Covers ``ray_worker``, ``worker_pool`` and ``timing``.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from moody import Moody, assert_same, moody, network_of, write_scene
from pretended_ray import PretendedRay
from rasterio.windows import Window

from satseg.errors import ReadError, SatsegError
from satseg.inference.decision import Decision
from satseg.inference.network import Network
from satseg.inference.pipeline import Cell, predict_cells
from satseg.inference.plan import make_plan
from satseg.inference.ray_engine import RayEngine, block_rows
from satseg.inference.ray_worker import WorkerKind
from satseg.inference.reading import ReadOptions
from satseg.inference.timing import Stopwatch
from satseg.raster.scene import Scene
from satseg.raster.source import SceneSource
from satseg.raster.values import OutOfRange
from satseg.records import MapLayer, Plan

ALL_LAYERS = frozenset({MapLayer.CLASSES, MapLayer.CONFIDENCE, MapLayer.PROBABILITIES, MapLayer.DISAGREEMENT})
DECISION = Decision(3, {1: 0.5}, 0, ALL_LAYERS)


def test_blocks_are_shares_of_a_scene_that_are_not_too_large() -> None:
    def rows(height: int, width: int, workers: int, layers: frozenset[MapLayer] = DECISION.layers) -> int:
        plan = make_plan(height, width, window=512, overlap=64)
        return block_rows(plan, Decision(3, layers=layers), workers)

    assert rows(100, 100, 1) == 1
    assert rows(448 * 80, 1000, 4, frozenset({MapLayer.CLASSES})) == 5
    assert rows(448 * 1000, 20_000, 1, frozenset({MapLayer.CLASSES})) == 7
    assert rows(448 * 1000, 20_000, 1) == 1


def test_kinds_name_what_differs() -> None:
    here = WorkerKind("NVIDIA A100", "bf16-mixed", "2.9", "1.0", "a")
    assert here == WorkerKind("NVIDIA A100", "bf16-mixed", "2.9", "1.0", "b")
    other = WorkerKind("NVIDIA T4", "16-mixed", "2.9", "1.0")
    assert other.differences(here) == [
        "device NVIDIA T4 instead of NVIDIA A100",
        "precision 16-mixed instead of bf16-mixed",
    ]


class Deadly(Moody):
    """Kills its process after a few passes, as long as a file is there; or always at the first one."""

    def __init__(self, file: Path, *, always: bool = False) -> None:
        super().__init__()
        self.file = file
        self.always = always
        self.passes = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        if self.always or (self.passes > 5 and self.file.exists()):
            self.file.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)


class Broken(Moody):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("the GPU is full, say")


def build(device: torch.device, precision: str, *, model: torch.nn.Module) -> Network:
    return network_of(model, device, precision)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two machines of one core each, as far as Ray can tell."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    machine = {"num_cpus": 1, "object_store_memory": 200_000_000}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # workers find the networks of these tests there
        made = Cluster(initialize_head=True, head_node_args={**machine, "include_dashboard": False})
        made.add_node(**machine)
        ray.init(address=made.address, logging_level=logging.ERROR, log_to_driver=False)
        try:
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


@pytest.fixture
def scene(tmp_path: Path) -> SceneSource:
    return write_scene(tmp_path / "scene.tif", 700, 150, holes=True)


@pytest.fixture
def plan() -> Plan:
    return make_plan(700, 150, window=40, overlap=10, batch_size=3)


def here(source: SceneSource, plan: Plan, read_options: ReadOptions, first_row: int = 0) -> list[Cell]:
    return list(predict_cells(source.open, moody(), plan, DECISION, read_options, first_row=first_row))


def there(
    engine: RayEngine, source: SceneSource, plan: Plan, read_options: ReadOptions, first_row: int = 0
) -> list[Cell]:
    return list(engine.predict_cells(source.open, moody(), plan, DECISION, read_options, first_row=first_row))


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., PretendedRay]:
    """Put a pretended Ray in the place of the real one."""

    def use(**options: Any) -> PretendedRay:
        ray = PretendedRay([1, 1, 1], **options)
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.setitem(sys.modules, "ray.exceptions", ray.exceptions)
        return ray

    return use


@pytest.mark.parametrize("seed", range(4))
def test_whatever_order_blocks_end_in_and_whoever_dies_the_map_is_the_same(
    pretend: Callable[..., PretendedRay], scene: SceneSource, plan: Plan, tmp_path: Path, seed: int
) -> None:
    ray = pretend(seed=seed, deadly={2, 7, 13, 20}, lossy=0.05)
    read_options = ReadOptions(scratch=tmp_path, stopwatch=Stopwatch())
    with RayEngine(precision="fp32") as engine:
        engine.load(moody)
        ours = there(engine, scene, plan, read_options, seed)
        assert read_options.stopwatch is not None
        assert read_options.stopwatch.busy()["forward"] > 0
        assert_same(ours, here(scene, plan, read_options, seed))
    assert len(ray.actors) == 3 + 4  # four have died
    assert all(actor.dead for actor in ray.actors)
    assert not ray.is_initialized()


def test_a_scene_that_is_given_up_does_not_hold_up_the_next_one(
    pretend: Callable[..., PretendedRay], scene: SceneSource, plan: Plan, tmp_path: Path
) -> None:
    pretend()
    read_options = ReadOptions(scratch=tmp_path)
    with RayEngine(precision="fp32") as engine:
        engine.load(moody)
        for _ in range(3):
            with closing(engine.predict_cells(scene.open, moody(), plan, DECISION, read_options)) as cells:
                assert len(list(islice(cells, 3))) == 3
        assert_same(there(engine, scene, plan, read_options), here(scene, plan, read_options))


def test_blocks_are_not_mapped_far_ahead_of_what_is_written(
    pretend: Callable[..., PretendedRay], scene: SceneSource, plan: Plan, tmp_path: Path
) -> None:
    ray = pretend()
    given: list[range] = []
    with RayEngine(precision="fp32") as engine:
        engine.load(moody)
        monitored = [actor.made for actor in ray.actors]
        for worker in monitored:
            worker.map_block = lambda job, block, real=worker.map_block: given.append(block) or real(job, block)
        for cell in engine.predict_cells(scene.open, moody(), plan, DECISION, ReadOptions(scratch=tmp_path)):
            row = plan.row_starts.index(cell.top)
            assert all(block.start < row + 3 * 3 + 1 for block in given)
    assert len(given) == len(plan.row_starts)


def test_a_block_that_kills_whoever_has_it_ends_with_a_clear_error(
    pretend: Callable[..., PretendedRay], scene: SceneSource, plan: Plan, tmp_path: Path
) -> None:
    pretend(deadly=range(1, 100))
    with RayEngine(precision="fp32") as engine:
        engine.load(moody)
        with pytest.raises(
            SatsegError, match=r"^Rows 0 to 40 of the scene failed on 3 workers .*: The actor died\.\nhint: "
        ):
            there(engine, scene, plan, ReadOptions(scratch=tmp_path))


def test_values_out_of_range_become_nodata_and_are_counted_once_whoever_meets_them(
    pretend: Callable[..., PretendedRay], plan: Plan, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).uniform(1, 255, (1, 700, 150)).astype(np.float32)
    values[0, 100::30, 70] = -3.4e38
    profile = {"driver": "GTiff", "crs": "EPSG:32645", "transform": Affine(0.5, 0, 0, 0, -0.5, 0)}
    with rasterio.open(tmp_path / "odd.tif", "w", count=1, height=700, width=150, dtype="float32", **profile) as file:
        file.write(values)
    scene = SceneSource.of(tmp_path / "odd.tif")
    pretend(deadly={3, 5})
    ours, theirs = set[OutOfRange](), set[OutOfRange]()
    with RayEngine(precision="fp32") as engine:
        engine.load(moody)
        mapped = there(
            engine, scene, plan, ReadOptions(scratch=tmp_path, values=moody().values, on_out_of_range=ours.add)
        )
    local = ReadOptions(scratch=tmp_path, values=moody().values, on_out_of_range=theirs.add)
    assert_same(mapped, here(scene, plan, local))
    assert OutOfRange.merge(ours) == OutOfRange.merge(theirs) == OutOfRange(20, float(np.float32(-3.4e38)), 0, 100, 70)


def test_what_lies_above_a_damaged_stretch_is_still_mapped(
    pretend: Callable[..., PretendedRay], scene: SceneSource, plan: Plan, tmp_path: Path
) -> None:
    pretend()
    read_options = ReadOptions(scratch=tmp_path)
    broken = partial(open_damaged, scene)
    with RayEngine(precision="fp32") as engine:
        engine.load(moody)
        done: list[Cell] = []
        with pytest.raises(ReadError, match="It is damaged there") as caught:
            for cell in engine.predict_cells(broken, moody(), plan, DECISION, read_options):
                done.append(cell)
        assert caught.value.rows == (512, 700)
        whole = here(scene, plan, read_options)
        assert_same(done, whole[: len(done)])
        assert done[-1].bottom > 300
        told: list[ReadError] = []
        tolerant = replace(read_options, on_failure=lambda window, error: told.append(error))
        cells = list(engine.predict_cells(broken, moody(), plan, DECISION, tolerant))
    assert told
    assert (cells[-1].layers[MapLayer.CLASSES] == 255).all()
    assert not all((cell.layers[MapLayer.CLASSES] == 255).all() for cell in cells)


def open_damaged(source: SceneSource) -> Scene:
    """Open a scene that cannot be read below row 512."""

    def read(window: Window) -> tuple[np.ndarray, np.ndarray]:
        if window.row_off + window.height > 512:
            raise ReadError("It is damaged there.", rows=(512, 700), columns=(0, 150))
        return whole(window)

    scene = source.open()
    whole, scene.read = scene.read, read  # type: ignore[method-assign]
    return scene


def test_workers_of_another_kind_are_warned_about(
    pretend: Callable[..., PretendedRay],
    scene: SceneSource,
    plan: Plan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kinds = iter(
        [WorkerKind("a GPU", "bf16-mixed", host="here"), WorkerKind("an old GPU", "16-mixed", host="there")] * 2
    )
    monkeypatch.setattr(WorkerKind, "here", lambda device, precision: next(kinds))
    pretend(seed=3)
    with RayEngine(devices=2) as engine:
        engine.load(moody)
        there(engine, scene, plan, ReadOptions(scratch=tmp_path))
    assert "The worker on" in caplog.text
    assert "the map may differ in single pixels" in caplog.text


@pytest.mark.slow
def test_two_machines_give_the_bytes_of_one(cluster: Any, scene: SceneSource, plan: Plan, tmp_path: Path) -> None:
    read_options = ReadOptions(scratch=tmp_path, stopwatch=Stopwatch())
    with RayEngine(precision="fp32") as engine:
        engine.load(moody)
        assert (engine.device, engine.cores, engine.precision) == ("cpu", 1, "32-true")
        assert engine.ask(lambda network: network.precision) == "32-true"
        ours = there(engine, scene, plan, read_options)
        assert read_options.stopwatch is not None
        assert read_options.stopwatch.busy()["forward"] > 0
        assert_same(ours, here(scene, plan, read_options))
        first = 5
        assert_same(there(engine, scene, plan, read_options, first), here(scene, plan, read_options, first))
        with closing(engine.predict_cells(scene.open, moody(), plan, DECISION, read_options)) as cells:
            assert len(list(islice(cells, 3))) == 3  # a scene that is given up does not hold up the next one
        assert_same(there(engine, scene, plan, read_options), here(scene, plan, read_options))


@pytest.mark.slow
def test_blocks_of_a_worker_that_is_killed_go_to_another(
    cluster: Any, scene: SceneSource, plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trap = tmp_path / "trap"
    trap.touch()
    read_options = ReadOptions(scratch=tmp_path)
    with RayEngine(precision="fp32") as engine, caplog.at_level(logging.INFO, logger="satseg"):
        engine.load(partial(build, model=Deadly(trap)))
        assert_same(there(engine, scene, plan, read_options), here(scene, plan, read_options))
    assert not trap.exists()
    assert "A worker was lost" in caplog.text


@pytest.mark.slow
def test_the_map_survives_the_loss_of_a_machine(cluster: Any, scene: SceneSource, plan: Plan, tmp_path: Path) -> None:
    third = cluster.add_node(num_cpus=1, object_store_memory=200_000_000)
    cluster.wait_for_nodes()
    read_options = ReadOptions(scratch=tmp_path)
    with RayEngine(precision="fp32") as engine:
        engine.load(moody)
        cells = engine.predict_cells(scene.open, moody(), plan, DECISION, read_options)
        ours = list(islice(cells, 10))
        cluster.remove_node(third, allow_graceful=False)
        ours += cells
    assert_same(ours, here(scene, plan, read_options))


@pytest.mark.slow
def test_errors_of_workers_are_those_of_one_machine(
    cluster: Any, scene: SceneSource, plan: Plan, tmp_path: Path, real_files: Path
) -> None:
    read_options = ReadOptions(scratch=tmp_path)
    with RayEngine(precision="fp32") as engine:
        engine.load(partial(build, model=Broken()))
        with pytest.raises(torch.OutOfMemoryError, match="the GPU is full, say"):
            there(engine, scene, plan, read_options)
    damaged = SceneSource.of(real_files / "rasters" / "corrupt.tif", bands=("1",))
    with damaged.open() as opened:
        cut = make_plan(opened.info.height, opened.info.width, window=64, overlap=16)
    with RayEngine(precision="fp32") as engine:
        engine.load(moody)
        with pytest.raises(ReadError, match=r"corrupt.tif cannot be read at rows") as caught:
            there(engine, damaged, cut, read_options)
        assert caught.value.hint
        assert caught.value.rows[0] < caught.value.rows[1]
        told: list[SatsegError] = []
        tolerant = ReadOptions(scratch=tmp_path, on_failure=lambda window, error: told.append(error))
        assert_same(there(engine, damaged, cut, tolerant), here(damaged, cut, tolerant))
        assert told


@pytest.mark.slow
def test_a_block_that_kills_every_worker_ends_with_a_clear_error(
    cluster: Any, scene: SceneSource, plan: Plan, tmp_path: Path
) -> None:
    with RayEngine(precision="fp32") as engine:
        engine.load(partial(build, model=Deadly(tmp_path / "trap", always=True)))
        began = time.monotonic()
        with pytest.raises(SatsegError, match=r"Rows 0 to \d+ of the scene failed on 3 workers one after the other"):
            there(engine, scene, plan, ReadOptions(scratch=tmp_path))
        assert time.monotonic() - began < 120
