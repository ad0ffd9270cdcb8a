"""Cores that are available, those that are free, and the threads taken of them."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import torch

from satseg.backend import cores
from satseg.backend.cores import available_cores, cgroup_quota, free_cores, threads_for

CPU = torch.device("cpu")


def group(tmp_path: Path, line: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Lay out a kernel's view of the groups: /proc's list and the mounted files."""
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    proc.write_text(line + "\n")
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return proc, root


def test_cores_are_those_of_the_affinity_at_most() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no processor affinity")
def test_cores_follow_a_narrowed_affinity() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_quota_below_one_core_still_leaves_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "cgroup_quota", lambda: 0.25)
    assert available_cores() == 1


@pytest.mark.parametrize(
    ("line", "files", "cores"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "400000 100000"}, 2.0),
        ("4:cpu,cpuacct:/", {"cpu,cpuacct/cpu.cfs_quota_us": "50000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 0.5),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("4:memory:/", {"memory/cpu.max": "1 2"}, math.inf),
    ],
)
def test_quota_of_both_versions_of_cgroups(tmp_path: Path, line: str, files: dict[str, str], cores: float) -> None:
    assert cgroup_quota(*group(tmp_path, line, files)) == cores


def test_no_cgroups_is_no_limit(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path / "absent", tmp_path) == math.inf


class Clocks(NamedTuple):
    """Seconds of a core, as psutil tells them on Linux."""

    user: float
    idle: float
    iowait: float = 0.0
    guest: float = 0.0


class Moment:
    """Stands in for ``time``: a second passes in which this process computes for some time, and others work."""

    def __init__(self, work: Callable[[], object], own: float = 0.0) -> None:
        self.now = 0.0
        self._work = work
        self._own = own

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.now * self._own

    def sleep(self, seconds: float) -> None:
        self.now += 1.0
        self._work()


def during(
    monkeypatch: pytest.MonkeyPatch, after: list[Clocks], *, own: float = 0.0, work: Callable[[], object] = int
) -> None:
    """Let the clocks of the cores stand at zero, and a second later as they are given."""
    told = iter([[Clocks(0, 0) for _ in after], after])
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: next(told))
    monkeypatch.setattr(cores, "affinity", lambda: list(range(len(after))))
    monkeypatch.setattr(cores, "quota_limits", lambda: [])
    monkeypatch.setattr(cores, "time", Moment(work, own))


@pytest.mark.parametrize(
    ("after", "own", "free"),
    [
        ([Clocks(0, 1), Clocks(0, 1)], 0.0, 2.0),
        ([Clocks(1, 0), Clocks(0, 1)], 0.0, 1.0),
        ([Clocks(0.25, 0.75), Clocks(1, 0)], 0.0, 0.75),
        ([Clocks(1, 0), Clocks(1, 0)], 0.0, 0.0),
        ([Clocks(1, 0), Clocks(1, 0)], 1.0, 1.0),  # one of them is busy with this process
        ([Clocks(0, 0.5, iowait=0.5)], 0.0, 1.0),
        ([Clocks(0.5, 0.5, guest=0.5)], 0.0, 0.5),  # Linux counts guests as user time, too
        ([Clocks(0, 0), Clocks(0, 0)], 0.0, 2.0),  # a sandbox without clocks
    ],
)
def test_cores_are_free_that_others_leave_idle(
    monkeypatch: pytest.MonkeyPatch, after: list[Clocks], own: float, free: float
) -> None:
    during(monkeypatch, after, own=own)
    assert free_cores() == pytest.approx(free)


def test_only_cores_of_the_affinity_count(monkeypatch: pytest.MonkeyPatch) -> None:
    during(monkeypatch, [Clocks(1, 0), Clocks(0, 1), Clocks(0, 1)])
    monkeypatch.setattr(cores, "affinity", lambda: [0, 2])
    assert free_cores() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("cpu.stat", "usage_usec 1000000\nuser_usec 0", "usage_usec 2500000\nuser_usec 0"),
        ("cpuacct.usage", "1000000000", "2500000000"),
    ],
)
def test_what_a_group_has_used_of_its_quota_is_not_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, before: str, after: str
) -> None:
    (tmp_path / name).write_text(before)
    during(monkeypatch, [Clocks(0, 1)] * 8, work=lambda: (tmp_path / name).write_text(after))
    monkeypatch.setattr(cores, "quota_limits", lambda: [(tmp_path, 2.0)])
    assert free_cores() == pytest.approx(0.5)


def test_a_system_that_tells_nothing_leaves_all_cores_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(percpu: bool) -> Any:
        raise PermissionError("/proc/stat")

    monkeypatch.setattr(psutil, "cpu_times", hidden)
    monkeypatch.setattr(cores, "affinity", lambda: [0, 1, 2])
    monkeypatch.setattr(cores, "quota_limits", lambda: [])
    assert free_cores(0) >= 3.0


def test_this_machine_tells_its_load() -> None:
    assert free_cores(0.05) >= 0.0
    assert len(cores.core_clocks()) == len(cores.affinity())


@pytest.mark.parametrize(
    ("available", "free", "taken"),
    [(2, 2.0, 2), (2, 1.6, 2), (2, 1.1, 1), (2, 0.0, 1), (16, 12.3, 12), (4, 4.7, 4), (2, 2.5, 2)],
)
def test_training_takes_the_free_cores_and_says_so_where_these_are_not_all(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, available: int, free: float, taken: int
) -> None:
    monkeypatch.setattr(cores, "available_cores", lambda: available)
    monkeypatch.setattr(cores, "free_cores", lambda: free)
    with caplog.at_level(logging.INFO, "satseg"):
        assert threads_for(CPU) == taken
    said = f"Other processes keep cores busy: training with {taken} of {available}. `threads={available}` takes all."
    assert caplog.messages == ([said] if taken < available else [])


@pytest.mark.parametrize(("device", "available"), [("cuda", 8), ("cpu", 1)])
def test_load_is_not_measured_where_it_decides_nothing(
    monkeypatch: pytest.MonkeyPatch, device: str, available: int
) -> None:
    monkeypatch.setattr(cores, "available_cores", lambda: available)
    monkeypatch.delattr(cores, "free_cores")
    assert threads_for(torch.device(device)) == available
