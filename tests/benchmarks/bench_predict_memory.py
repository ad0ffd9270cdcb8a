"""Peak memory of ``predict`` with an oracle model, on a small scene, a large one and a very wide one.

Each scene is mapped in a process of its own, to a class raster and to polygons. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from rasterio.windows import Window
from torch import Tensor, nn

from satseg.classes import ClassTable
from satseg.inference.network import Network
from satseg.prediction.outputs import OutputPaths
from satseg.prediction.predictor import Predictor
from satseg.prediction.provenance import Provenance
from satseg.prediction.settings import PredictionSettings
from satseg.raster.source import SceneSource
from satseg.records import BandStatistics

FIELD = 250  # pixels a side: regions keep their size when the scene grows


class Threshold(nn.Module):
    """Two classes: below and above the middle of the first band."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([-images[:, :1], images[:, :1]], dim=1)


def write_scene(path: Path, height: int, width: int) -> None:
    """Write fields of random brightness, DEFLATE, strips of one row as many writers make them."""
    rng = np.random.default_rng(0)
    columns = -(-width // FIELD)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "compress": "deflate", "zlevel": 1}
    grid = {"crs": "EPSG:32645", "transform": Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)}
    with rasterio.open(path, "w", height=height, width=width, **profile, **grid) as dataset:
        for top in range(0, height, FIELD):
            rows = min(FIELD, height - top)
            field = np.repeat(rng.choice([40, 200], columns).astype(np.uint8), FIELD)[:width]
            dataset.write(np.broadcast_to(field, (rows, width)), 1, window=Window(0, top, width, rows))


def map_scene(path: Path) -> dict[str, float]:
    """Map one scene and return seconds and this process's peak memory in MB."""
    began = time.perf_counter()
    network = Network(
        Threshold(),
        classes=ClassTable.from_names(["background", "bright"]),
        statistics=BandStatistics(1, (120.0,), (50.0,), (0.0,), (255.0,)),
        device=torch.device("cpu"),
    )
    outputs = OutputPaths.of_files(path.with_name("map.tif"), path.with_name("map.gpkg"))
    settings = PredictionSettings(gsd="scene")
    summary = Predictor(network, Provenance("oracle", settings), settings).predict(SceneSource.of(path), outputs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak_mb": peak, "seconds": time.perf_counter() - began, "polygons": sum((summary.polygons or {}).values())}


def measure(height: int, width: int) -> dict[str, float]:
    """Map a generated scene in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        write_scene(path, height, width)
        done = subprocess.run([sys.executable, __file__, "--map", path], stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)


def main() -> None:
    """Run both sizes, or one scene in the child process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--map", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--small", type=int, nargs=2, default=(5_000, 5_000), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument(
        "--large",
        type=int,
        nargs=2,
        action="append",
        metavar=("HEIGHT", "WIDTH"),
        help="may be given more than once; default: 20000 40000 and 2000 400000",
    )
    arguments = parser.parse_args()
    if arguments.map:
        print(json.dumps(map_scene(arguments.map)))
        return
    small = measure(*arguments.small)
    for size in arguments.large or [(20_000, 40_000), (2_000, 400_000)]:
        large = measure(*size)
        print(
            json.dumps(
                {
                    "benchmark": "predict_memory",
                    "baseline": f"peak of the same process on {arguments.small[0]} x {arguments.small[1]}",
                    "size": list(size),
                    "small": small,
                    "large": large,
                    "extra_mb": large["peak_mb"] - small["peak_mb"],
                    "ratio": large["peak_mb"] / small["peak_mb"],
                    "bytes_per_column": (large["peak_mb"] - small["peak_mb"]) * 2**20 / (size[1] - arguments.small[1]),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
