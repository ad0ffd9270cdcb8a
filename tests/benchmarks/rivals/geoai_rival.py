"""geoai by its documented route: export tiles, `train_segmentation_model`, `semantic_segmentation`, with its defaults.

Those are tiles of 256 px every 128 px, a fifth of them for validation, U-Net on ResNet-34, Adam with 1e-3, batches of
8, and the weights with the best validation. It cannot stop by the clock, so one epoch is timed first, which counts
nowhere, and as many epochs are trained as the minutes need, rounded up. As with satseg, minutes count learning only:
validation takes time beside them.

Its ImageNet weights come from a hub. Where there is none, it starts at random (``encoder_weights=None``); with
``--encoder-weights`` it trains on the encoder of that file instead, which it is given as an initial checkpoint.
"""

from __future__ import annotations

import argparse
import math
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from geoai import export_geotiff_tiles, semantic_segmentation, train
from rival import load_encoder, read_arguments, report

OWN_ENCODER, GIVEN_ENCODER = "resnet34", "tu-tf_efficientnet_lite0"


class Learning:
    """Counts steps and seconds of its training, without validation."""

    def __init__(self) -> None:
        self.seconds, self.steps = 0.0, 0
        self._epoch = train.train_semantic_one_epoch
        train.train_semantic_one_epoch = self

    def __call__(self, model: torch.nn.Module, optimizer: object, batches: torch.utils.data.DataLoader, *rest: object):
        begun = perf_counter()
        loss = self._epoch(model, optimizer, batches, *rest)
        self.seconds += perf_counter() - begun
        self.steps += len(batches)
        return loss


def learn(tiles: Path, output: Path, epochs: int, seed: int, start: dict[str, object]) -> float:
    """Train for some epochs, and return the seconds that it took."""
    begun = perf_counter()
    train.train_segmentation_model(
        images_dir=str(tiles / "images"),
        labels_dir=str(tiles / "labels"),
        output_dir=str(output),
        num_epochs=epochs,
        seed=seed,
        encoder_weights=None,
        **start,
    )
    return perf_counter() - begun


def choose_start(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Name the encoder, and write the whole network as a checkpoint if its weights are given."""
    if arguments.encoder_weights is None:
        return {"encoder_name": OWN_ENCODER}
    torch.manual_seed(arguments.seed)
    model = train.get_smp_model(encoder_name=GIVEN_ENCODER, encoder_weights=None)
    load_encoder(model.encoder, arguments.encoder_weights)
    torch.save(model.state_dict(), folder / "start.pth")
    return {"encoder_name": GIVEN_ENCODER, "checkpoint_path": str(folder / "start.pth")}


def main() -> None:
    arguments = read_arguments()
    with TemporaryDirectory(dir=arguments.output.parent) as name:
        folder = Path(name)
        export_geotiff_tiles(str(arguments.scene), str(folder / "tiles"), str(arguments.labels), quiet=True)
        start = choose_start(arguments, folder)
        learning = Learning()
        timing = learn(folder / "tiles", folder / "timing", 1, arguments.seed, start)
        epoch, steps = learning.seconds, learning.steps
        epochs = max(1, math.ceil(60 * arguments.minutes / epoch))
        seconds = learn(folder / "tiles", folder / "run", epochs, arguments.seed, start)
        best = folder / "run" / "best_model.pth"  # there is none if no epoch found a building
        semantic_segmentation(
            str(arguments.held_out),
            str(arguments.output),
            str(best if best.exists() else best.with_name("final_model.pth")),
            encoder_name=start["encoder_name"],
            quiet=True,
        )
    report(
        training_seconds=seconds,
        learning_seconds=learning.seconds - epoch,
        timing_seconds=timing,
        steps=learning.steps - steps,
        epochs=epochs,
        version=f"geoai-py {version('geoai-py')}",
    )


if __name__ == "__main__":
    main()
