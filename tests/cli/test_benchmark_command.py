from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from satseg.errors import ArchitectureError
from satseg.profiling.cost import Cost, Workload


def test_json_is_the_workload_and_a_cost_per_network(satseg: Callable, tmp_path: Path) -> None:
    net = "from torch import nn\ndef net(*, in_channels, num_classes): return nn.Conv2d(in_channels, num_classes, 1)\n"
    (tmp_path / "net.py").write_text(net)
    done = satseg(
        "benchmark", "--arch", f"{tmp_path / 'net.py'}:net", "--size", 64, "--repeats", 1, "--threads", 1, "--json"
    )
    found = json.loads(done.stdout)
    assert done.code == 0
    assert (found["workload"]["size"], found["workload"]["threads"]) == (64, 1)
    assert [cost["multiply_adds"] for cost in found["costs"]] == [3 * 19 * 64 * 64]


def test_what_was_measured_is_told_at_once_and_shown_after_an_interruption(
    satseg: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(arch: str, workload: Workload) -> Cost:
        if arch == "unet":
            raise KeyboardInterrupt
        return Cost(arch, 1_000, 2_000_000, 3.5, 2**20, out_of_memory="training")

    monkeypatch.setattr("satseg.workflows.benchmark.measure_apart", measure)
    done = satseg("benchmark", "--arch", "erfnet", "--arch", "unet")
    assert done.code == 130
    assert "erfnet: inference 3.5 ms, out of memory in training" in done.stderr
    assert done.stdout.splitlines()[-1].split() == [
        *("erfnet", "1,000", "0.00", "G", "3.5", "1", "–", "–", "in", "training")
    ]


def test_one_failure_among_several_is_an_error_below_the_results(
    satseg: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(arch: str, workload: Workload) -> Cost:
        if arch == "erfnet":
            raise ArchitectureError("The network erfnet is broken.", hint="Mend it.")
        return Cost(arch, 1_000, 2_000_000, 3.5, 2**20, 9.5, 2**21)

    monkeypatch.setattr("satseg.workflows.benchmark.measure_apart", measure)
    done = satseg("benchmark", "--arch", "erfnet", "--arch", "unet")
    assert done.code == 1
    assert "unet" in done.stdout
    assert "error: The network erfnet is broken." in done.stderr


def test_a_wrong_name_is_wrong_usage_with_the_nearest(satseg: Callable) -> None:
    done = satseg("benchmark", "--arch", "erfnet", "--arch", "unett")
    assert done.code == 2
    assert "Did you mean unet" in done.stderr
