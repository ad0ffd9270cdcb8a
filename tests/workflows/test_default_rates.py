"""Every network learns with the defaults of ``satseg train``: its own rate, loss, augmentation and schedule.

Tiles of the sample are small and coarse and batches are small, which lowers the rate as it does for users. The networks
with more than 150 billion multiply-adds get the smallest tiles there may be, and fewer steps.
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
LARGE = 150e9  # multiply-adds
WIDE = {"fasterseg"}  # its features at stride 32 have nothing to say of 2 x 2 px
NETWORKS = {entry.name: entry for entry in list_architectures()}


@pytest.fixture(scope="module")
def sample_tiles(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders of tiles of 26 m and more, by their size in pixels."""
    scenes = sample()
    folders = {}
    for size, gsd in ((32, "80cm"), (64, "50cm"), (128, "25cm")):
        folders[size] = tmp_path_factory.mktemp("rates") / "tiles"
        settings = TileSettings(size=size, gsd=gsd)
        tile([scenes.labelled], labels=scenes.labels, output=folders[size], settings=settings)
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("arch", NETWORKS)
def test_a_network_beats_the_constant_predictor(arch: str, sample_tiles: dict[int, Path], tmp_path: Path) -> None:
    large = NETWORKS[arch].multiply_adds > LARGE
    steps = FEWER if large else STEPS
    settings = TrainSettings(arch=arch, steps=steps, batch_size=4, device="cpu", precision="fp32", pictures=False)
    size = 32 if large else 128 if arch in WIDE else 64
    summary = train(sample_tiles[size], output=tmp_path / "run", settings=settings)
    counts = np.array(summary.validation.confusion)
    share = counts.sum(axis=1).max() / counts.sum()  # of the more frequent class
    assert summary.only_class is None
    assert summary.validation.global_accuracy > share
    assert summary.validation.mean_iou > share / len(counts)
