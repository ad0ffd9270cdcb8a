"""Scenes of houses that touch, and networks that see their classes as they are, and their edges or their centres."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_scenes import write_scene
from scipy import ndimage

from satseg.checkpoint import ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.objects import ObjectOutputs
from satseg.objects.targets import edge_distance, inner_boundary, normalised
from satseg.records import BandSpec, BandStatistics, ProgressEvent

CLASSES = ClassTable.from_names(["background", "roof", "tank"])
OUTPUTS = [Path("houses.geojson"), Path("ids.tif")]  # the same in each folder: outputs keep the command
ORACLE = '''
import torch
from torch import nn


class Oracle(nn.Module):
    """Class, boundary and distance as three bands hold them."""

    def forward(self, images):
        classes = nn.functional.one_hot(images[:, 0].round().long().clamp(0, 2), 3).movedim(-1, 1) * 20.0
        return torch.cat([classes, torch.logit(images[:, 1:3] / 254, eps=1e-6)], dim=1)


def oracle(*, in_channels: int, num_classes: int) -> nn.Module:
    return Oracle()
'''


CENTRE_ORACLE = '''
import torch
from torch import nn


class Oracle(nn.Module):
    """Class, heat of centres and offsets as four bands hold them; along the rim of a window, offsets are far off."""

    def forward(self, images):
        classes = nn.functional.one_hot(images[:, 0].round().long().clamp(0, 2), 3).movedim(-1, 1) * 20.0
        offsets = images[:, 2:4] / 16
        wrong = torch.ones(images.shape[-2:], dtype=torch.bool)
        wrong[8:-8, 8:-8] = False
        return torch.cat([classes, images[:, 1:2] / 254, offsets + 70.0 * wrong], dim=1)


def oracle(*, in_channels: int, num_classes: int, objects: bool = False) -> nn.Module:
    return Oracle()
'''


def true_bands(ids: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return what the oracle sees of a scene: (3, row, col) uint8."""
    distance = edge_distance(ids)
    shares = np.rint(normalised(distance, ids) * 254)
    return np.stack([classes, inner_boundary(distance, 2) * 254, shares]).astype(np.uint8)


def centre_bands(ids: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return what the oracle of centres sees of a scene: (4, row, col) int16."""
    numbers = np.arange(1, ids.max() + 1)
    centres = np.array(ndimage.center_of_mass(ids > 0, ids, numbers))
    places = np.indices(ids.shape)
    heat = np.zeros(ids.shape)
    for row, column in np.rint(centres):
        near = np.exp(-((places[0] - row) ** 2 + (places[1] - column) ** 2) / 128)
        heat = np.maximum(heat, near)
    offsets = (np.moveaxis(np.vstack([[0, 0], centres])[ids], -1, 0) - places) * (ids > 0)
    return np.stack([classes, np.rint(254 * heat), *np.rint(16 * offsets)]).astype(np.int16)


def row_houses(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids of blocks of houses that touch, in the order of their first pixels, and their classes."""
    rows, columns = np.indices((height, width))
    ids = (rows // 24) * 100 + columns // (18 + (rows // 24) % 5) + 1
    ids[(rows // 24) % 4 == 3] = 0  # streets
    ids[ids % 100 == 9] = 0  # gardens
    ids[(np.bincount(ids.ravel()) < 120)[ids]] = 0  # splinters at the edges have no interior
    classes = np.where(ids > 0, 1 + (ids % 3 == 0), 0).astype(np.uint8)
    found, first, at = np.unique(ids, return_index=True, return_inverse=True)
    order = np.zeros(len(found), dtype=np.int32)
    order[np.argsort(np.where(found == 0, -1, first))] = np.arange(len(found))
    return order[at].reshape(ids.shape), classes


def write_oracle(folder: Path, ids: np.ndarray, classes: np.ndarray) -> Path:
    """Write ``scene.tif``, ``oracle.py`` and ``oracle.safetensors`` into a folder."""
    return _write(folder, true_bands(ids, classes), ORACLE, ObjectOutputs.EDGES)


def write_centre_oracle(folder: Path, ids: np.ndarray, classes: np.ndarray) -> Path:
    """Write the same files for a network that sees centres and offsets."""
    return _write(folder, centre_bands(ids, classes), CENTRE_ORACLE, ObjectOutputs.CENTRES)


def _write(folder: Path, bands: np.ndarray, oracle: str, said: ObjectOutputs) -> Path:
    write_scene(folder / "scene.tif", bands)
    (folder / "oracle.py").write_text(oracle)
    count, limits = len(bands), np.iinfo(bands.dtype)
    card = ModelCard(
        arch="oracle.py:oracle",
        classes=CLASSES,
        bands=BandSpec(tuple(map(str, range(1, count + 1))), bands.dtype.name, (1.0,) * count, (0.0,) * count),
        statistics=BandStatistics(
            1, (0.0,) * count, (1.0,) * count, (float(limits.min),) * count, (float(limits.max),) * count
        ),
        gsd=(0.5, 0.5),
        tile_size=64,
        objects=True,
        object_outputs=said,
    )
    save_checkpoint(folder / "oracle.safetensors", {}, card)
    return folder


def interrupt(event: ProgressEvent) -> None:
    """Stop a map in its last third."""
    if event.done > 0.6 * event.total:
        raise KeyboardInterrupt


def written_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., object], **options: Any
) -> list[bytes]:
    """Let ``run`` write :data:`OUTPUTS` in a new folder, and return their bytes; nothing else may be left there."""
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    run(OUTPUTS, **options)
    assert sorted(Path().iterdir()) == OUTPUTS
    return [path.read_bytes() for path in OUTPUTS]


def assert_interruption_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., object], **options: Any
) -> None:
    """Compare the bytes of a map that was interrupted and continued with those of an unbroken one."""
    monkeypatch.setattr("satseg.prediction.scene_run.COMMIT_SECONDS", 0.0)
    unbroken = written_in(folder / "unbroken", monkeypatch, run, **options)
    (folder / "broken").mkdir()
    monkeypatch.chdir(folder / "broken")
    with pytest.raises(KeyboardInterrupt):
        run(OUTPUTS, progress=interrupt, **options)
    assert [path for path in OUTPUTS if path.exists()] == []
    assert written_in(folder / "broken", monkeypatch, run, resume=True, **options) == unbroken
