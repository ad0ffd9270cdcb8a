"""A network from a file of the user that fails while the command line is at work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from satseg.backend import create_model, run_custom_file
from satseg.checkpoint import ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.records import BandSpec, BandStatistics

NET = """
import sys
from torch import nn

class Net(nn.Module):
    def __init__(self, bands, classes):
        super().__init__()
        self.head = nn.Conv2d(bands, classes, 1)

    def forward(self, images):
        if images.shape[-1] != images.shape[-2] or images.shape[-1] < 34:  # the images that it is tried on
            return self.head(images)
        print("at work")
        {line}
        return self.head(images)

def net(*, in_channels, num_classes):
    return Net(in_channels, num_classes)
"""


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64), dtype="uint8")
    profile = {"width": 64, "height": 64, "count": 1, "dtype": "uint8"}
    transform = Affine(1, 0, 500_000, 0, -1, 5_000_000)
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32632", transform=transform, **profile) as file:
        file.write(pixels)
    return path


@pytest.fixture
def mapping(tmp_path: Path, scene: Path, satseg: Callable) -> Callable:
    """Predict with a network that runs a line of code on every window."""

    def run(line: str, output: str) -> object:
        (tmp_path / "mine.py").write_text(NET.format(line=line))
        arch = f"{tmp_path / 'mine.py'}:net"
        card = ModelCard(
            arch="mine.py:net",
            classes=ClassTable.from_names(["background", "wood"]),
            bands=BandSpec(("band_1",), "uint8", (1.0,), (0.0,)),
            statistics=BandStatistics(1, (127.0,), (50.0,), (0.0,), (255.0,)),
            gsd=None,
            tile_size=64,
        )
        weights = create_model(run_custom_file(arch), in_channels=1, num_classes=2).state_dict()
        save_checkpoint(tmp_path / "mine.safetensors", weights, card)
        words = ("predict", scene, "-m", tmp_path / "mine.safetensors", "--arch", arch, "-o", output)
        return satseg(*words, "--window", 64, "--batch-size", 1, "--device", "cpu", "--threads", 1)

    return run


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "raise ValueError('too wide')",
            "error: The custom architecture failed: ValueError in line 14 of mine.py: too wide.",
        ),
        ("sys.exit(0)", "error: The custom architecture failed: it ends the program (sys.exit) in line 14 of mine.py."),
    ],
)
def test_its_failure_is_told_with_the_line_and_leaves_no_map(
    mapping: Callable, tmp_path: Path, line: str, said: str
) -> None:
    done = mapping(line, str(tmp_path / "map.tif"))
    assert (done.code, done.stdout) == (1, "")
    assert said in done.stderr
    assert not (tmp_path / "map.tif").exists()


def test_what_it_prints_does_not_mix_with_a_map_on_stdout(mapping: Callable) -> None:
    done = mapping("pass", "-")
    assert done.code == 0, done.stderr
    assert "at work" in done.stderr
    assert all(json.loads(line.strip("\x1e"))["type"] == "Feature" for line in done.stdout.splitlines())


def test_a_network_that_fails_in_training_alone_is_told_with_its_line(
    satseg: Callable, tmp_path: Path, scene: Path
) -> None:
    labels = tmp_path / "labels.tif"
    with rasterio.open(scene) as source, rasterio.open(labels, "w", **source.profile) as file:
        file.write((source.read() > 127).astype("uint8"))
    assert satseg("tile", scene, "-l", labels, "-o", tmp_path / "tiles", "--size", 32, "--block", 32, "-q").code == 0
    (tmp_path / "mine.py").write_text(
        NET.format(line="pass").replace("if images", "assert not self.training\n        if images")
    )
    words = ("train", tmp_path / "tiles", "--arch", f"{tmp_path / 'mine.py'}:net", "-o", tmp_path / "run", "--steps", 1)
    done = satseg(*words, "--device", "cpu", "--threads", 1)
    assert done.code == 1
    assert "error: The custom architecture failed: AssertionError in line 11 of mine.py." in done.stderr
