"""Speed of ``predict`` from opened scene to closed files, against the bare forward passes and against the plain way.

The scene is mosaicked from the sample, DEFLATE GeoTIFF; outputs are a COG and a GeoPackage. Start-up and loading the
model are reported apart. Prints a JSON line for each baseline:

- ``bare forward``: the very same batches at the same precision, normalised and in memory, in as many streams.
- ``plain way``: float32, windows of 512 px, half of them overlapping, probabilities accumulated in memory, with the
  same network; on a smaller scene, since it holds all of it. Also the share of pixels on which both agree.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.windows import Window

from satseg.backend.cores import available_cores
from satseg.backend.device import select_device, select_precision
from satseg.checkpoint import Checkpoint
from satseg.inference.network import Network
from satseg.inference.plan import window_positions
from satseg.prediction.outputs import OutputPaths
from satseg.prediction.predictor import Predictor
from satseg.prediction.provenance import Provenance
from satseg.prediction.settings import PredictionSettings
from satseg.raster.scene import Scene
from satseg.raster.source import SceneSource
from satseg.records import Plan, PredictionSummary
from satseg.sample import sample
from satseg.training.settings import TrainSettings
from satseg.workflows.tile import tile
from satseg.workflows.train import train

AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def write_scene(path: Path, source: Path, side: int) -> None:
    """Mosaic a scene from another one and its mirror images, so that there are no seams."""
    with rasterio.open(source) as dataset:
        pixels = dataset.read()
        profile = {"driver": "GTiff", "count": dataset.count, "dtype": pixels.dtype, "crs": dataset.crs}
        profile |= {"transform": dataset.transform, "nodata": dataset.nodata, "compress": "deflate", "tiled": True}
    once = np.concatenate([pixels, pixels[:, :, ::-1]], axis=2)
    both = np.concatenate([once, once[:, ::-1]], axis=1)
    profile |= {"height": side, "width": side, "blockxsize": 512, "blockysize": 512}
    columns = np.arange(side) % both.shape[2]
    with rasterio.open(path, "w", **profile) as dataset:
        for top in range(0, side, 512):
            rows = np.arange(top, min(top + 512, side)) % both.shape[1]
            dataset.write(both[:, rows][:, :, columns], window=Window(0, top, side, len(rows)))


def map_scene(network: Network, scene: Path, settings: PredictionSettings) -> PredictionSummary:
    """Map a scene to a COG and a GeoPackage."""
    with tempfile.TemporaryDirectory(dir=scene.parent) as folder:
        outputs = OutputPaths.of_files(Path(folder) / "map.tif", Path(folder) / "map.gpkg")
        return Predictor(network, Provenance("benchmark", settings), settings).predict(SceneSource.of(scene), outputs)


def bare_forward(network: Network, scene: Path, plan: Plan, *, most: int) -> float:
    """Return the seconds that the plan's forward passes take, from at most ``most`` of them."""
    origins = [(plan.row_starts[row], plan.column_starts[column]) for row, column in window_positions(plan)]
    passes = -(-len(origins) // plan.batch_size)
    member = network.members[0]
    with Scene.open(scene) as opened:
        windows = [opened.read(Window(left, top, *plan.window[::-1]))[0] for top, left in origins[: plan.batch_size]]
    normalised = member.normalise(torch.from_numpy(np.stack(windows)).to(network.device), None)
    images = normalised.contiguous(memory_format=torch.channels_last)
    dtype = AUTOCAST.get(network.precision)

    def forward(_: int) -> None:
        autocast = nullcontext() if dtype is None else torch.autocast(network.device.type, dtype, cache_enabled=False)
        with torch.inference_mode(), autocast:
            member.forward(images)

    with ThreadPoolExecutor(plan.streams, initializer=lambda: torch.set_num_threads(plan.threads)) as pool:
        list(pool.map(forward, range(2 * plan.streams)))
        wait_for(network.device)
        count = min(passes, most)
        began = time.perf_counter()
        list(pool.map(forward, range(count)))
        wait_for(network.device)
        return (time.perf_counter() - began) * passes / count


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was asked for; a processor has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def plain_way(network: Network, scene: Path) -> tuple[np.ndarray, float]:
    """Map a scene with windows of 512 px that overlap by half, all in memory, one forward pass after the other."""
    torch.set_num_threads(available_cores())
    member, size, step = network.members[0], 512, 256
    began = time.perf_counter()
    with rasterio.open(scene) as dataset:
        pixels = torch.from_numpy(dataset.read())
    height, width = pixels.shape[1:]
    total = torch.zeros(len(network.classes), height, width)
    count = torch.zeros(height, width)
    with torch.inference_mode():
        for top in range(0, height - size + 1, step):
            for left in range(0, width - size + 1, step):
                window = pixels[None, :, top : top + size, left : left + size]
                logits = member.model(member.normalise(window.to(network.device), None))[0]
                total[:, top : top + size, left : left + size] += logits.softmax(0).cpu()
                count[top : top + size, left : left + size] += 1
        classes = (total / count).argmax(0).to(torch.uint8).numpy()
    return classes, time.perf_counter() - began


def load(model: Path, precision: str) -> Network:
    """Load a checkpoint's network."""
    device = select_device("auto")
    return Network.from_checkpoint(Checkpoint.load(model), device=device, precision=select_precision(precision, device))


def report_bare(arguments: argparse.Namespace, scene: Path, settings: PredictionSettings) -> None:
    """Compare with the bare forward passes, before and after, since the machine may change its mind."""
    began = time.perf_counter()
    network = load(arguments.model, settings.precision)
    loading = time.perf_counter() - began
    map_scene(network, arguments.warm, settings)  # compiles kernels and loads libraries
    cpu = time.process_time()
    summary = map_scene(network, scene, settings)
    cpu = time.process_time() - cpu
    bare = [bare_forward(network, scene, summary.plan, most=arguments.passes) for _ in range(2)]
    seconds = summary.seconds
    print(
        json.dumps(
            {
                "benchmark": "predict_speed",
                "baseline": "bare forward",
                "model": arguments.model.stem,
                "size": [arguments.size, arguments.size],
                "precision": network.precision,
                "window": summary.plan.window,
                "overlap": summary.plan.overlap,
                "batch_size": summary.plan.batch_size,
                "streams": summary.plan.streams,
                "threads": summary.plan.threads,
                "seconds": round(seconds, 2),
                "processor_seconds": round(cpu, 2),
                "bare_seconds": [round(value, 2) for value in bare],
                "ratio": round(seconds / min(bare), 3),
                "forwarded": round(summary.forwarded, 3),
                "megapixels_per_second": round(arguments.size**2 / 1e6 / seconds, 3),
                "stages": {name: round(value, 2) for name, value in summary.stages.items()},
                "peak_mb": summary.peak_memory // 2**20,
                "loading_seconds": round(loading, 2),
                "polygons": sum((summary.polygons or {}).values()),
            }
        ),
        flush=True,
    )


def report_plain(arguments: argparse.Namespace, scene: Path, settings: PredictionSettings) -> None:
    """Compare with the plain way."""
    network, single = load(arguments.model, settings.precision), load(arguments.model, "fp32")
    map_scene(network, arguments.warm, settings)
    with tempfile.TemporaryDirectory(dir=scene.parent) as folder:
        outputs = OutputPaths.of_files(Path(folder) / "map.tif", Path(folder) / "map.gpkg")
        summary = Predictor(network, Provenance("benchmark", settings), settings).predict(
            SceneSource.of(scene), outputs
        )
        with rasterio.open(Path(folder) / "map.tif") as dataset:
            ours = dataset.read(1)
    classes, seconds = plain_way(single, scene)
    print(
        json.dumps(
            {
                "benchmark": "predict_speed",
                "baseline": "plain way",
                "model": arguments.model.stem,
                "size": [arguments.plain, arguments.plain],
                "precision": network.precision,
                "seconds": round(summary.seconds, 2),
                "plain_seconds": round(seconds, 2),
                "ratio": round(seconds / summary.seconds, 2),
                "same_classes": round(float((ours == classes).mean()), 5),
            }
        ),
        flush=True,
    )


def train_on_sample(folder: Path, arch: str, minutes: float) -> Path:
    """Train a network on the labelled scene of the sample, and return its checkpoint."""
    scenes = sample()
    tile([scenes.labelled], labels=scenes.labels, output=folder / "tiles")
    settings = TrainSettings(arch=arch, minutes=minutes)
    return Path(train(folder / "tiles", output=folder / "run", settings=settings).best)


def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="checkpoint of a three-band network; default: one trained here")
    parser.add_argument(
        "--minutes",
        type=float,
        default=0.5,
        help="of training, so that maps have regions",
    )
    parser.add_argument("--scene", type=Path, help="scene to mosaic; default: the sample's")
    parser.add_argument("--size", type=int, default=4096, help="side of the scene, 0 to skip")
    parser.add_argument("--plain", type=int, default=2048, help="side of the scene for the plain way, 0 to skip")
    parser.add_argument("--passes", type=int, default=200, help="bare forward passes to measure; more are extrapolated")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--window", type=int, help="default: predict's")
    parser.add_argument("--batch-size", type=int, help="default: predict's")
    arguments = parser.parse_args()
    settings = PredictionSettings(
        window=arguments.window, batch_size=arguments.batch_size, precision=arguments.precision, gsd="scene"
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments.model = arguments.model or train_on_sample(Path(folder), "erfnet", arguments.minutes)
        source = arguments.scene or sample().labelled
        arguments.warm = Path(folder) / "warm.tif"
        write_scene(arguments.warm, source, 600)
        for side, report in ((arguments.size, report_bare), (arguments.plain, report_plain)):
            if side:
                write_scene(Path(folder) / f"{side}.tif", source, side)
                report(arguments, Path(folder) / f"{side}.tif", settings)


if __name__ == "__main__":
    main()
