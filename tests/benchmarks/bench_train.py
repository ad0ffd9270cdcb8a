"""Seconds per training step with tiles from disk, and with one batch held in memory: what reading and turning cost.

Both run the same Trainer, which augments on the device; three passes each, in turns, and the medians of their steps.
Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Generator
from itertools import repeat
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import rasterio
import torch
from affine import Affine

from satseg.backend import create_model
from satseg.backend.cores import available_cores
from satseg.backend.device import select_device, select_precision
from satseg.checkpoint import ModelCard
from satseg.evaluation.confusion import score
from satseg.records import ProgressEvent
from satseg.runs import Run
from satseg.tiles.batches import TileReader
from satseg.tiles.tileset import TileSet
from satseg.tiling.settings import TileSettings
from satseg.training.augmentation import PRESETS
from satseg.training.devices import make_fabric
from satseg.training.learner import Learner
from satseg.training.loop import Trainer
from satseg.training.recipe import Recipe
from satseg.training.sampling import Batch, Shard, TrainingBatches
from satseg.training.schedule import Budget
from satseg.workflows.tile import tile

WARM_UP = 4  # steps in which kernels are chosen


class HeldBatches(TrainingBatches):
    """The first batch, again and again."""

    def ahead(self, step: int, *, workers: int = 1) -> Generator[Batch, None, None]:
        """Yield the batch of step 0 without end."""
        yield from repeat(self.batch(0))


def write_tiles(folder: Path, size: int) -> TileSet:
    """Cut a scene of noise into 64 training tiles of three bands."""
    rng = np.random.default_rng(0)
    side = 8 * size
    profile = {"driver": "GTiff", "height": side, "width": side, "dtype": "uint8", "crs": "EPSG:32645"}
    profile["transform"] = Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)
    for name, count, high in (("scene", 3, 256), ("labels", 1, 2)):
        with rasterio.open(folder / f"{name}.tif", "w", count=count, **profile) as dataset:
            dataset.write(rng.integers(0, high, (count, side, side), dtype=np.uint8))
    tile(
        [folder / "scene.tif"],
        labels=folder / "labels.tif",
        output=folder / "tiles",
        settings=TileSettings(size=size, overlap=0, split=(1, 0, 0)),
    )
    return TileSet.open(folder / "tiles")


def seconds_per_step(
    tiles: TileSet, output: Path, batches: type[TrainingBatches], options: argparse.Namespace
) -> float:
    """Train for some steps and return the median time between their ends."""
    device = select_device(options.device)
    recipe = Recipe(
        arch=options.arch,
        batch_size=options.batch_size,
        lr=1e-4,
        augment=PRESETS[options.augment],
        precision=select_precision(options.precision, device),
    )
    fabric = make_fabric(device, recipe.precision)
    model = create_model(options.arch, in_channels=3, num_classes=2)
    ends: list[float] = []

    def progress(event: ProgressEvent) -> None:
        ends.append(perf_counter())

    trainer = Trainer(
        learner=Learner(model, recipe, tiles.statistics, fabric),
        batches=batches(
            tiles.tiles("train"),
            TileReader(tiles.tile_size, cache_bytes=options.cache_mb * 2**20),
            shard=Shard(options.batch_size),
            seed=0,
            augmentation=recipe.augment,
        ),
        validate=lambda network: score(np.eye(2, dtype=np.int64), tiles.classes.names),
        fabric=fabric,
        budget=Budget(steps=options.steps + WARM_UP),
        run=Run.start(output, {}),
        card=ModelCard(options.arch, tiles.classes, tiles.bands, tiles.statistics, tiles.gsd, tiles.tile_size),
        progress=progress,
    )
    trainer.fit(perf_counter())
    return median(np.diff(ends[WARM_UP:]).tolist())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="erfnet")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--augment", default="light", choices=PRESETS)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--cache-mb", type=int, default=1024, help="memory for decoded tiles; 0 reads every time")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(available_cores())
    found: dict[str, list[float]] = {"tiles": [], "held": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiles = write_tiles(folder, options.size)
        for turn in range(3):
            for kind, batches in (("tiles", TrainingBatches), ("held", HeldBatches)):
                found[kind].append(seconds_per_step(tiles, folder / f"{kind}-{turn}", batches, options))
    loop, held = (median(found[kind]) for kind in ("tiles", "held"))
    print(json.dumps({"seconds_per_step": loop, "seconds_held": held, "ratio": loop / held, **vars(options)}))


if __name__ == "__main__":
    main()
