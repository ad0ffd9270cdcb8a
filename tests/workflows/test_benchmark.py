"""Measuring networks, each in a process of its own.

Covers ``profiling/apart``, ``profiling/cost`` and ``profiling/memory``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from satseg.backend import find_architecture
from satseg.errors import ArchitectureError, UsageError
from satseg.profiling.cost import Cost, Workload
from satseg.workflows.benchmark import Benchmark, benchmark

MIB = 2**20
NETS = """
import os, signal, torch
from torch import nn

class Heavy(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.classify = nn.Conv2d(in_channels, num_classes, 1)
        self.ballast = nn.Parameter(torch.zeros(16 * 2**20))  # 64 MiB

    def forward(self, images):
        return self.classify(images) + self.ballast.mean()

class Limited(nn.Module):
    def __init__(self, in_channels, num_classes, fail):
        super().__init__()
        self.classify = nn.Conv2d(in_channels, num_classes, 1)
        self.fail = fail

    def forward(self, images):
        if images.shape[-1] > 64 and images.device.type != "meta":
            self.fail()
        return self.classify(images)

def too_large():
    raise RuntimeError("images are too large.")

def heavy(*, in_channels, num_classes):
    return Heavy(in_channels, num_classes)

def limited(*, in_channels, num_classes):
    return Limited(in_channels, num_classes, too_large)

def killed(*, in_channels, num_classes):
    return Limited(in_channels, num_classes, lambda: os.kill(os.getpid(), signal.SIGKILL))

def use_up_memory():
    torch.zeros(2**60, dtype=torch.uint8)

def huge(*, in_channels, num_classes):
    return Limited(in_channels, num_classes, use_up_memory)

class Hungry(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.classify = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, images):
        if self.training:
            use_up_memory()
        return self.classify(images)

def hungry(*, in_channels, num_classes):
    return Hungry(in_channels, num_classes)
"""


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text(NETS)
    return path


def test_counts_are_those_of_the_catalogue_and_the_picture_is_drawn(tmp_path: Path) -> None:
    found = benchmark("enet", output=tmp_path / "speed.png", size=64, repeats=1, device="cpu", threads=1)
    (cost,) = found.costs
    assert (cost.arch, cost.parameters) == ("enet", find_architecture("enet").parameters)
    assert 0 < cost.inference_ms < cost.training_ms
    assert Image.open(tmp_path / "speed.png").size == (1440, 1008)


def test_memory_holds_weights_and_for_training_gradients_and_two_moments(nets: Path) -> None:
    (cost,) = benchmark(f"{nets}:heavy", size=64, repeats=1, device="cpu", precision="fp32", threads=1).costs
    assert 64 * MIB < cost.inference_bytes < 128 * MIB
    assert 4 * 64 * MIB < cost.training_bytes < 8 * 64 * MIB  # AdamW has a temporary or two


def test_a_network_that_fails_takes_none_along(nets: Path) -> None:
    found = benchmark([f"{nets}:limited", f"{nets}:heavy"], size=96, repeats=1, device="cpu", threads=1)
    assert [cost.arch for cost in found.costs] == ["nets.py:heavy"]
    (failure,) = found.failed
    assert failure.arch == f"{nets}:limited"
    assert "limited cannot be measured at 96 px: RuntimeError: images are too large." in failure.message


def test_the_failure_of_the_only_network_is_raised(nets: Path) -> None:
    with pytest.raises(ArchitectureError, match="images are too large"):
        benchmark(f"{nets}:limited", size=96, repeats=1, device="cpu", threads=1)


@pytest.mark.parametrize(("name", "phase"), [("killed", "inference"), ("huge", "inference"), ("hungry", "training")])
def test_what_memory_did_not_suffice_for_is_a_result_with_what_was_measured_before(
    nets: Path, name: str, phase: str
) -> None:
    """The system kills a process that uses up memory; torch may notice first, and raises."""
    (cost,) = benchmark(f"{nets}:{name}", size=96, repeats=1, device="cpu", threads=1).costs
    assert (cost.out_of_memory, cost.parameters, cost.multiply_adds) == (phase, 3 * 19 + 19, 3 * 19 * 96 * 96)
    assert (cost.inference_ms is None, cost.training_ms is None) == (phase == "inference", True)


def test_results_so_far_are_told_after_each_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(arch: str, workload: Workload) -> Cost:
        if arch == "unet":
            raise ArchitectureError("The network unet is broken.")
        return Cost(arch, 1_000, 2_000, 3.5) if arch == "erfnet" else Cost(arch, 9, 9, out_of_memory="inference")

    monkeypatch.setattr("satseg.workflows.benchmark.measure_apart", measure)
    told: list[Benchmark] = []
    found = benchmark(["enet", "unet", "erfnet"], output=tmp_path / "speed.png", on_result=told.append)
    assert [(len(so_far.costs), len(so_far.failed)) for so_far in told] == [(1, 0), (1, 1), (2, 1)]
    assert told[-1] == found
    assert (tmp_path / "speed.png").exists()  # of what could be timed


def test_a_wrong_name_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(ArchitectureError, match="erfent"):
        benchmark(["enet", "erfent"])


@pytest.mark.parametrize("wrong", [{"size": 32}, {"output": "speed.jpg"}, {"arch": []}])
def test_arguments_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        benchmark(**wrong)
