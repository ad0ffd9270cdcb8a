"""A small network of a file of one's own, for exports that take seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from satseg.backend import run_custom_file
from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.exporting.settings import ExportSettings
from satseg.exporting.subject import Subject
from satseg.inference.network import Network
from satseg.records import BandSpec, BandStatistics

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
