"""A network whose windows disagree, and scenes for it: only the very same batches and blending give the same map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from torch import Tensor, nn

from satseg.classes import ClassTable
from satseg.inference.network import Network
from satseg.inference.pipeline import Cell
from satseg.objects import ObjectOutputs
from satseg.raster.source import SceneSource
from satseg.records import BandStatistics


class Moody(nn.Module):
    """Its answer depends on the whole batch."""

    def forward(self, images: Tensor) -> Tensor:
        mood = images.mean((1, 2, 3), keepdim=True) + images.mean() / 7
        return torch.cat([torch.sin((images + mood) * factor) * 3 for factor in (0.01, 0.031, 0.047)], dim=1)


def moody(device: torch.device | None = None, precision: str = "32-true") -> Network:
    return network_of(Moody(), device, precision)


def network_of(
    model: nn.Module,
    device: torch.device | None = None,
    precision: str = "32-true",
    objects: ObjectOutputs | None = None,
) -> Network:
    identity = BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,))
    table = ClassTable.from_names(["background", "grey", "bright"])
    device = device or torch.device("cpu")
    return Network(model, classes=table, statistics=identity, device=device, precision=precision, objects=objects)


def write_scene(path: Path, height: int, width: int, *, holes: bool = False) -> SceneSource:
    values = np.random.default_rng(height * width).integers(1, 255, (height, width), dtype=np.uint8)
    if holes:
        values[height // 3 : height // 2] = 0
        values[:, width // 4] = 0
    profile = {"driver": "GTiff", "crs": "EPSG:32645", "transform": Affine(0.5, 0, 0, 0, -0.5, 0), "nodata": 0}
    with rasterio.open(path, "w", count=1, height=height, width=width, dtype="uint8", **profile) as dataset:
        dataset.write(values, 1)
    return SceneSource.of(path)


def assert_same(ours: list[Cell], theirs: list[Cell]) -> None:
    assert [(cell.top, cell.left, cell.ends_row) for cell in ours] == [(c.top, c.left, c.ends_row) for c in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.layers.keys() == other.layers.keys()
        assert all(one.layers[layer].tobytes() == other.layers[layer].tobytes() for layer in other.layers)
