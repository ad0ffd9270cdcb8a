"""Measuring networks, each in a process of its own.

Covers ``profiling/apart``, ``profiling/cost`` and ``profiling/memory``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from satseg.backend import find_architecture
from satseg.errors import ArchitectureError, SatsegError, UsageError
from satseg.workflows.benchmark import benchmark

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
    failed: list[SatsegError] = []
    archs = [f"{nets}:{name}" for name in ("limited", "killed", "heavy")]
    found = benchmark(archs, size=96, repeats=1, device="cpu", threads=1, on_error=failed.append)
    assert [cost.arch for cost in found.costs] == ["nets.py:heavy"]
    assert "limited cannot be measured at 96 px: RuntimeError: images are too large." in failed[0].message
    assert "killed cannot be measured at 96 px: its process was killed" in failed[1].message


def test_a_wrong_name_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(ArchitectureError, match="erfent"):
        benchmark(["enet", "erfent"])


@pytest.mark.parametrize("wrong", [{"size": 32}, {"output": "speed.jpg"}, {"arch": []}])
def test_arguments_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        benchmark(**wrong)
