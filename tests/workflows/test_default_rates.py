"""Every network learns with the defaults of ``satseg train``: its own rate, loss, augmentation and schedule.

Tiles of the sample are small and coarse and batches are small, which lowers the rate as it does for users. The networks
with more than 100 billion multiply-adds get the smallest tiles there may be, and fewer steps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from satseg.backend import list_architectures
from satseg.sample import sample
from satseg.tiling.settings import TileSettings
from satseg.training.settings import TrainSettings
from satseg.workflows.tile import tile
from satseg.workflows.train import train

STEPS, FEWER = 200, 60
LARGE = 100e9  # multiply-adds
NETWORKS = {entry.name: entry for entry in list_architectures()}


@pytest.fixture(scope="module")
def sample_tiles(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Folders of tiles of 32 px of 0.8 m, for large networks, and of 64 px of 0.5 m."""
    scenes = sample()
    folders = {}
    for large, size, gsd in ((True, 32, "80cm"), (False, 64, "50cm")):
        folders[large] = tmp_path_factory.mktemp("rates") / "tiles"
        settings = TileSettings(size=size, gsd=gsd)
        tile([scenes.labelled], labels=scenes.labels, output=folders[large], settings=settings)
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("arch", NETWORKS)
def test_a_network_beats_the_constant_predictor(arch: str, sample_tiles: dict[bool, Path], tmp_path: Path) -> None:
    large = NETWORKS[arch].multiply_adds > LARGE
    steps = FEWER if large else STEPS
    settings = TrainSettings(arch=arch, steps=steps, batch_size=4, device="cpu", precision="fp32", pictures=False)
    summary = train(sample_tiles[large], output=tmp_path / "run", settings=settings)
    counts = np.array(summary.validation.confusion)
    share = counts.sum(axis=1).max() / counts.sum()  # of the more frequent class
    assert summary.only_class is None
    assert summary.validation.global_accuracy > share
    assert summary.validation.mean_iou > share / len(counts)
