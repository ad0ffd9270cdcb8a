"""Workers on a cluster give the bytes of one pass here, whatever happens to them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from moody import Moody, assert_same, moody, network_of, write_scene

from satseg.errors import ReadError, SatsegError, UsageError
from satseg.inference.decision import Decision
from satseg.inference.network import Network
from satseg.inference.pipeline import Cell, Conditions, predict_cells
from satseg.inference.plan import make_plan
from satseg.inference.ray_cluster import Post, posts
from satseg.inference.ray_engine import RayEngine, block_rows
from satseg.inference.ray_worker import Kind
from satseg.inference.timing import Stopwatch
from satseg.raster.source import SceneSource
from satseg.records import MapLayer, Plan

ALL_LAYERS = frozenset(MapLayer)
DECISION = Decision(3, {1: 0.5}, 0, ALL_LAYERS)


def node(cpus: float, gpus: float = 0) -> dict[str, Any]:
    return {"Alive": True, "Resources": {"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}}


DEAD = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}


@pytest.mark.parametrize(
    ("nodes", "device", "devices", "expected"),
    [
        ([node(16)], "auto", None, (Post("cpu", 8), 2)),
        ([node(4), node(8)], "auto", None, (Post("cpu", 4), 3)),
        ([node(2)], "auto", 2, (Post("cpu", 1), 2)),
        ([node(8), node(5)], "cpu", 3, (Post("cpu", 4), 3)),
        ([node(2)], "cpu", 5, (Post("cpu", 1), 5)),
        ([node(64, 8), DEAD], "auto", None, (Post("cuda", 8), 8)),
        ([node(64, 8)], "cuda", 4, (Post("cuda", 8), 4)),
        ([node(64, 8)], "cpu", 2, (Post("cpu", 32), 2)),
        ([node(0), node(16, 2)], "auto", None, (Post("cuda", 8), 2)),
    ],
)
def test_workers_follow_from_the_machines(
    nodes: list[dict[str, Any]], device: str, devices: int | None, expected: tuple[Post, int]
) -> None:
    assert posts(nodes, device, devices) == expected


def test_devices_that_are_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match="No machine of the Ray cluster has a GPU"):
        posts([node(8), DEAD], "cuda", None)
    with pytest.raises(UsageError, match="3 devices were asked for, and there are 2 GPUs"):
        posts([node(8, 2)], "auto", 3)
    with pytest.raises(UsageError, match="'mps'"):
        posts([node(8)], "mps", None)
    with pytest.raises(SatsegError, match="has a GPU or a processor core"):
        posts([DEAD], "auto", None)


def test_blocks_are_shares_of_a_scene_that_are_not_too_large() -> None:
    def rows(height: int, width: int, workers: int, layers: frozenset[MapLayer] = DECISION.layers) -> int:
        plan = make_plan(height, width, window=512, overlap=64)
        return block_rows(plan, Decision(3, layers=layers), workers)

    assert rows(100, 100, 1) == 1
    assert rows(448 * 80, 1000, 4, frozenset({MapLayer.CLASSES})) == 5
    assert rows(448 * 1000, 20_000, 1, frozenset({MapLayer.CLASSES})) == 7
    assert rows(448 * 1000, 20_000, 1) == 1


def test_kinds_name_what_differs() -> None:
    here = Kind("NVIDIA A100", "bf16-mixed", "2.9", "1.0", "a")
    assert here == Kind("NVIDIA A100", "bf16-mixed", "2.9", "1.0", "b")
    other = Kind("NVIDIA T4", "16-mixed", "2.9", "1.0")
    assert other.differences(here) == [
        "device NVIDIA T4 instead of NVIDIA A100",
        "precision 16-mixed instead of bf16-mixed",
    ]


def test_without_ray_its_absence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SatsegError, match="Ray is not installed") as caught:
        RayEngine()
    assert caught.value.hint == "Install it: pip install 'satseg[ray]'"


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


def here(source: SceneSource, plan: Plan, conditions: Conditions, first_row: int = 0) -> list[Cell]:
    return list(predict_cells(source.open, moody(), plan, DECISION, conditions, first_row=first_row))


def there(engine: RayEngine, source: SceneSource, plan: Plan, conditions: Conditions, first_row: int = 0) -> list[Cell]:
    return list(engine.predict_cells(source.open, moody(), plan, DECISION, conditions, first_row=first_row))


@pytest.mark.slow
def test_two_machines_give_the_bytes_of_one(cluster: Any, scene: SceneSource, plan: Plan, tmp_path: Path) -> None:
    conditions = Conditions(scratch=tmp_path, stopwatch=Stopwatch())
    with RayEngine(precision="fp32") as engine:
        engine.load(moody)
        assert (engine.device, engine.cores, engine.precision) == ("cpu", 1, "32-true")
        assert engine.ask(lambda network: network.precision) == "32-true"
        assert_same(there(engine, scene, plan, conditions), here(scene, plan, conditions))
        first = 5
        assert_same(there(engine, scene, plan, conditions, first), here(scene, plan, conditions, first))
        with closing(engine.predict_cells(scene.open, moody(), plan, DECISION, conditions)) as cells:
            assert len(list(islice(cells, 3))) == 3  # a scene that is given up does not hold up the next one
        assert_same(there(engine, scene, plan, conditions), here(scene, plan, conditions))
    assert conditions.stopwatch is not None
    assert conditions.stopwatch.busy()["forward"] > 0


@pytest.mark.slow
def test_blocks_of_a_worker_that_is_killed_go_to_another(
    cluster: Any, scene: SceneSource, plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trap = tmp_path / "trap"
    trap.touch()
    conditions = Conditions(scratch=tmp_path)
    with RayEngine(precision="fp32") as engine, caplog.at_level(logging.INFO, logger="satseg"):
        engine.load(partial(build, model=Deadly(trap)))
        assert_same(there(engine, scene, plan, conditions), here(scene, plan, conditions))
    assert not trap.exists()
    assert "A worker was lost" in caplog.text


@pytest.mark.slow
def test_the_map_survives_the_loss_of_a_machine(cluster: Any, scene: SceneSource, plan: Plan, tmp_path: Path) -> None:
    third = cluster.add_node(num_cpus=1, object_store_memory=200_000_000)
    cluster.wait_for_nodes()
    conditions = Conditions(scratch=tmp_path)
    with RayEngine(precision="fp32") as engine:
        engine.load(moody)
        cells = engine.predict_cells(scene.open, moody(), plan, DECISION, conditions)
        ours = list(islice(cells, 10))
        cluster.remove_node(third, allow_graceful=False)
        ours += cells
    assert_same(ours, here(scene, plan, conditions))


@pytest.mark.slow
def test_errors_of_workers_are_those_of_one_machine(
    cluster: Any, scene: SceneSource, plan: Plan, tmp_path: Path, shared_data: Path
) -> None:
    conditions = Conditions(scratch=tmp_path)
    with RayEngine(precision="fp32") as engine:
        engine.load(partial(build, model=Broken()))
        with pytest.raises(torch.OutOfMemoryError, match="the GPU is full, say"):
            there(engine, scene, plan, conditions)
    damaged = SceneSource.of(shared_data / "rasters" / "corrupt.tif", bands=("1",))
    with damaged.open() as opened:
        cut = make_plan(opened.info.height, opened.info.width, window=256, overlap=16)
    with RayEngine(precision="fp32") as engine:
        engine.load(moody)
        with pytest.raises(ReadError, match=r"corrupt.tif cannot be read at rows") as caught:
            there(engine, damaged, cut, conditions)
        assert caught.value.hint
        assert caught.value.rows[0] < caught.value.rows[1]
        told: list[SatsegError] = []
        tolerant = Conditions(scratch=tmp_path, on_failure=lambda window, error: told.append(error))
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
            there(engine, scene, plan, Conditions(scratch=tmp_path))
        assert time.monotonic() - began < 120
