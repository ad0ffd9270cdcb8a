"""Networks to export: those of the zoo, untrained, and a small one of a file of one's own, which takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from satseg.backend import create_model, run_custom_file, with_crop
from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.exporting.settings import ExportSettings
from satseg.exporting.subject import Subject
from satseg.inference.network import Network
from satseg.records import BandSpec, BandStatistics

_TILE_SIZE = 96
_WARM_UP = 20  # batches: running statistics are then nine tenths those of the images

NET = """
import torch.nn.functional as F
from torch import nn

class Net(nn.Module):
    def __init__(self, bands, classes):
        super().__init__()
        self.down = nn.Conv2d(bands, 8, 3, stride=2, padding=1)
        self.head = nn.Conv2d(8, classes, 1)
        self.aux_head = nn.Conv2d(8, classes, 1)

    def forward(self, images):
        scores = self.head(self.down(images).relu())
        return F.interpolate(scores, size=images.shape[-2:], mode="bilinear")

class Split(Net):
    def forward(self, images):
        return super().forward(images) * (2 if images.shape[-1] > 200 else 1)

class Lines(Net):
    unrolls = True

def lines(*, in_channels, num_classes):
    return Lines(in_channels, num_classes)

def net(*, in_channels, num_classes):
    return Net(in_channels, num_classes)

def split(*, in_channels, num_classes):
    return Split(in_channels, num_classes)
"""


def small_checkpoint(folder: Path, *, function: str = "net", dtype: str = "uint16", **card: Any) -> tuple[Path, str]:
    """Write the network and a checkpoint of it with random weights; return the latter, and what ``arch`` has to say."""
    (folder / "net.py").write_text(NET)
    arch = f"{folder / 'net.py'}:{function}"
    torch.manual_seed(0)
    model = run_custom_file(arch)(in_channels=2, num_classes=5 if card.get("objects") else 3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # decided classes
    made = {
        "arch": f"net.py:{function}",
        "classes": ClassTable.from_names(["water", "wood", "roofs"]),
        "bands": BandSpec(("red", "nir"), dtype, (1.0,) * 2, (0.0,) * 2),
        "statistics": BandStatistics(9, (110.0, 90.0), (45.0, 30.0), (0.0,) * 2, (255.0,) * 2),
        "gsd": (0.5, 0.5),
        "tile_size": 64,
    }
    save_checkpoint(folder / "model.safetensors", model.state_dict(), ModelCard(**made | card))
    return folder / "model.safetensors", arch


def untrained_checkpoint(folder: Path, arch: str, **options: Any) -> Path:
    """Write a checkpoint of a network of the zoo with random weights, whose norms have seen images; return its path."""
    options = with_crop(arch, options, _TILE_SIZE)
    card = ModelCard(
        arch=arch,
        arch_options=options,
        classes=ClassTable.from_names(["water", "wood", "roofs"]),
        bands=BandSpec(("red", "green", "blue"), "uint8", (1.0,) * 3, (0.0,) * 3),
        statistics=BandStatistics(9, (110.0,) * 3, (45.0,) * 3, (0.0,) * 3, (255.0,) * 3),
        gsd=(0.5, 0.5),
        tile_size=_TILE_SIZE,
    )
    torch.manual_seed(0)
    model = create_model(arch, in_channels=3, num_classes=3, **options)
    # Norms that have seen no image let some networks grow their features to thousands, and rounding with them.
    with torch.no_grad():
        for _ in range(_WARM_UP):
            model((torch.rand(2, 3, 128, 128) * 255 - 110) / 45)  # as the check draws and normalises them
    path = folder / f"{arch}.safetensors"
    # A layer with two names is one tensor, which safetensors refuses.
    save_checkpoint(path, {name: tensor.clone() for name, tensor in model.state_dict().items()}, card)
    return path


def subject_of(path: Path, arch: str, **settings: Any) -> Subject:
    """Return the subject of an export."""
    return Subject(Checkpoint.load(path), ExportSettings(**settings), run_custom_file(arch))


def reference_of(subject: Subject) -> Network:
    """Return the network as ``predict`` runs it."""
    return Network.from_checkpoint(
        subject.checkpoint, device=torch.device("cpu"), precision="32-true", builder=subject.builder
    )


def pixels(subject: Subject, *shape: int) -> np.ndarray:
    """Return raw values (N, 2, H, W) for N, H, W."""
    count, height, width = shape
    values = np.random.default_rng(0).integers(0, 256, (count, 2, height, width))
    return values.astype(subject.checkpoint.card.bands.dtype)
