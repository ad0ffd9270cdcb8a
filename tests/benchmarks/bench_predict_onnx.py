"""Speed of exported ONNX files in onnxruntime against their checkpoints in torch, on the processor.

Of each network, ``forward`` is the median of passes over one window of raw pixels, to probabilities, all ways in turns;
``command`` is the whole of ``satseg predict``, from the start of Python to the closed class raster. ``ratio`` compares
float32 with float32, torch over onnxruntime: above 1 the file is faster. ``default`` is torch as it runs by itself, in
bfloat16 where the processor has it. ``same`` is the share of pixels with the same class in both maps. Networks are that
of the sample, and ERFNet with random weights. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import rasterio
import torch
from command_runner import Runner
from rasterio.windows import Window

from satseg.backend import create_model
from satseg.backend.cores import torch_threads
from satseg.checkpoint import Checkpoint, save_checkpoint
from satseg.exporting.settings import ExportSettings
from satseg.prediction.models import Models
from satseg.prediction.settings import PredictionSettings
from satseg.sample import sample
from satseg.workflows.export import export

WAYS = {"onnx": "auto", "torch": "fp32", "default": "auto"}
"""Precision of each way."""


def erfnet(folder: Path) -> Path:
    """Write ERFNet with random weights, for scenes like those of the sample."""
    card = Checkpoint.load("sample").card
    torch.manual_seed(0)
    model = create_model("erfnet", in_channels=len(card.bands), num_classes=len(card.classes))
    parts = {name: getattr(card, name) for name in ("classes", "bands", "statistics", "gsd", "tile_size")}
    save_checkpoint(folder / "erfnet.safetensors", model.state_dict(), type(card)(arch="erfnet", **parts))
    return folder / "erfnet.safetensors"


def forward(models: dict[str, str], options: argparse.Namespace) -> dict[str, float]:
    """Return the median seconds of a forward pass, by way."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, options.window, options.window)).astype(np.uint8)
    valid = np.ones((1, options.window, options.window), dtype=bool)
    passes: dict[str, Callable[[], object]] = {}
    for way, precision in WAYS.items():
        network = Models((models[way],)).network(PredictionSettings(precision=precision, device="cpu"))
        passes[way] = lambda network=network: network.probabilities(pixels, valid)
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    with torch_threads(options.threads):
        for number in range(options.passes + 1):
            for way, run in passes.items():
                began = time.perf_counter()
                run()
                if number:  # the first one is slower
                    times[way].append(time.perf_counter() - began)
    return {way: median(found) for way, found in times.items()}


def command(models: dict[str, str], scene: Path, options: argparse.Namespace) -> tuple[dict[str, float], float]:
    """Return the median seconds of the command, by way, and the share of pixels on which file and checkpoint agree."""
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    maps = {}
    for _ in range(options.rounds):
        for way, precision in WAYS.items():
            runner, output = Runner(options.threads), scene.with_name(f"{way}.tif")
            output.unlink(missing_ok=True)
            words = ["predict", scene, "-m", models[way], "-o", output, "--precision", precision, "--device", "cpu"]
            runner.run(sys.executable, "-m", "satseg", *words, "--threads", options.threads, "--quiet")
            times[way].append(runner.seconds)
            with rasterio.open(output) as dataset:
                maps[way] = dataset.read(1)
    return {way: median(found) for way, found in times.items()}, float((maps["onnx"] == maps["torch"]).mean())


def figures(seconds: dict[str, float]) -> dict[str, float]:
    """Return seconds and ratios, rounded."""
    ratios = {"ratio": seconds["torch"] / seconds["onnx"], "default_ratio": seconds["default"] / seconds["onnx"]}
    return {name: round(value, 3) for name, value in (seconds | ratios).items()}


def main() -> None:
    """Compare both networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="side of the scene")
    parser.add_argument("--window", type=int, default=512, help="side of the window of the passes")
    parser.add_argument("--passes", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with rasterio.open(sample().held_out) as dataset:
            profile, window = dataset.profile, Window(0, 0, options.size, options.size)
            pixels = dataset.read(window=window)
        profile.update(height=pixels.shape[1], width=pixels.shape[2])
        with rasterio.open(folder / "scene.tif", "w", **profile) as dataset:
            dataset.write(pixels)
        for network, checkpoint in {"sample": "sample", "erfnet": str(erfnet(folder))}.items():
            export(checkpoint, output=folder / f"{network}.onnx", settings=ExportSettings(overwrite=True))
            models = {"onnx": str(folder / f"{network}.onnx"), "torch": checkpoint, "default": checkpoint}
            commands, same = command(models, folder / "scene.tif", options)
            found[network] = {
                "forward": figures(forward(models, options)),
                "command": figures(commands),
                "same": round(same, 6),
            }
    settings = {"size": options.size, "window": options.window, "threads": options.threads}
    print(json.dumps({"benchmark": "predict_onnx", **settings, **found}))


if __name__ == "__main__":
    main()
