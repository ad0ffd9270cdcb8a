"""Reaching a cluster, and what its machines have to give."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest
from pretended_ray import PretendedRay

from satseg.errors import SatsegError, UsageError
from satseg.inference.ray_cluster import WorkerSlot, connect, worker_slots
from satseg.inference.ray_engine import RayEngine


def node(cpus: float, gpus: float = 0) -> dict[str, Any]:
    return {"Alive": True, "Resources": {"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}}


DEAD = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}


@pytest.mark.parametrize(
    ("nodes", "device", "devices", "expected"),
    [
        ([node(16)], "auto", None, (WorkerSlot("cpu", 8), 2)),
        ([node(4), node(8)], "auto", None, (WorkerSlot("cpu", 4), 3)),
        ([node(2)], "auto", 2, (WorkerSlot("cpu", 1), 2)),
        ([node(8), node(5)], "cpu", 3, (WorkerSlot("cpu", 4), 3)),
        ([node(2)], "cpu", 5, (WorkerSlot("cpu", 1), 5)),
        ([node(64, 8), DEAD], "auto", None, (WorkerSlot("cuda", 8), 8)),
        ([node(64, 8)], "cuda", 4, (WorkerSlot("cuda", 8), 4)),
        ([node(64, 8)], "cpu", 2, (WorkerSlot("cpu", 32), 2)),
        ([node(0), node(16, 2)], "auto", None, (WorkerSlot("cuda", 8), 2)),
    ],
)
def test_workers_follow_from_the_machines(
    nodes: list[dict[str, Any]], device: str, devices: int | None, expected: tuple[WorkerSlot, int]
) -> None:
    assert worker_slots(nodes, device, devices) == expected


def test_devices_that_are_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match="No machine of the Ray cluster has a GPU"):
        worker_slots([node(8), DEAD], "cuda", None)
    with pytest.raises(UsageError, match="has 2 GPUs, fewer than 3 devices"):
        worker_slots([node(8, 2)], "auto", 3)
    with pytest.raises(UsageError, match="'mps'"):
        worker_slots([node(8)], "mps", None)
    with pytest.raises(SatsegError, match="has a GPU or a processor core"):
        worker_slots([DEAD], "auto", None)


def test_without_ray_its_absence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SatsegError, match="Ray is not installed") as caught:
        RayEngine()
    assert caught.value.hint == "Install it: pip install 'satseg-cli[ray]'"


def test_a_running_cluster_is_taken_before_one_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    running, absent = PretendedRay([1]), PretendedRay([1], clusters=("local",))
    connect(running, cores=3, alone=False)
    assert running.started[0]["address"] == "auto"
    connect(absent, cores=3, alone=False)
    assert (absent.started[0]["address"], absent.started[0]["num_cpus"]) == ("local", 3)
    alone = PretendedRay([1])
    connect(alone, cores=3, alone=True)
    assert alone.started[0]["address"] == "local"


def test_a_named_cluster_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "far:6379")
    ray = PretendedRay([1])
    with pytest.raises(SatsegError, match="no Ray cluster at far:6379"):
        connect(ray, cores=3, alone=False)
    assert not ray.started
    there = PretendedRay([1], clusters=("far:6379",))
    connect(there, cores=3, alone=False)
    assert there.started[0]["address"] == "far:6379"


def test_the_handler_of_sigterm_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    class Taking(PretendedRay):
        def init(self, **options: Any) -> None:
            super().init(**options)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    connect(Taking([1]), cores=1, alone=False)
    assert signal.getsignal(signal.SIGTERM) == before
