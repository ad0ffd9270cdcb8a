"""Train a network with and without an elevation raster that helps, and compare their maps of ground new to both.

The elevation is made: buildings of the sample are 3 to 9 m high, with noise of 1 m (standard deviation) on pixels of
0.6 m, and among them are as many round trees of the same heights, which no label covers. It is a raster of its own, on
another grid than the scenes. "flat" and "moved" are maps by the network that learnt with elevation where that is 0
everywhere, and where it lies 30 m to the east.

    python tests/benchmarks/bench_elevation.py
    python tests/benchmarks/bench_elevation.py --arch esanet --steps 60
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import geopandas
import numpy as np
import rasterio
from affine import Affine
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter

import satseg
from satseg.sample import sample

PIXEL = 0.6  # units of EPSG:3857, of which one is 0.88 m on the ground here
MOVED = 34.0


def write_elevation(path: Path, scene: Path, *, seed: int, flat: bool = False, east: float = 0.0) -> Path:
    """Write heights above ground (1, rows, columns) float32 in metres for the ground of a scene."""
    rng = np.random.default_rng(seed)
    with rasterio.open(scene) as dataset:
        bounds, crs = dataset.bounds, dataset.crs
    height, width = (int(side / PIXEL) + 20 for side in (bounds.top - bounds.bottom, bounds.right - bounds.left))
    grid = Affine(PIXEL, 0, bounds.left - 7, 0, -PIXEL, bounds.top + 7)
    roofs = geopandas.read_file(sample().labels).to_crs(crs)
    roofs = roofs.cx[bounds.left : bounds.right, bounds.bottom : bounds.top]
    trees = geopandas.points_from_xy(
        rng.uniform(bounds.left, bounds.right, len(roofs)), rng.uniform(bounds.bottom, bounds.top, len(roofs)), crs=crs
    ).buffer(3)
    shapes = [(shape, rng.uniform(3, 9)) for shape in (*trees, *roofs.geometry)]
    values = rasterize(shapes, (height, width), transform=grid, dtype="float64")
    values = gaussian_filter(values, 0.5) + rng.normal(0, 1, values.shape)
    if flat:
        values = np.zeros_like(values)
    moved = grid * Affine.translation(east / PIXEL, 0)
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=height, width=width, dtype="float32", crs=crs, transform=moved
    ) as dataset:
        dataset.write(values.astype(np.float32), 1)
    return path


def main() -> None:
    """Print a line of JSON for each map."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="erfnet")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--size", type=int, default=128, help="side of the tiles in pixels")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    towns = sample()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        here = write_elevation(folder / "ndsm.tif", towns.labelled, seed=1)
        there = {
            "elevation": write_elevation(folder / "there.tif", towns.held_out, seed=2),
            "flat": write_elevation(folder / "flat.tif", towns.held_out, seed=2, flat=True),
            "moved": write_elevation(folder / "moved.tif", towns.held_out, seed=2, east=MOVED),
        }
        for extra, maps in (((), {"none": None}), ((here,), there)):
            began = time.perf_counter()
            cut = satseg.TileSettings(gsd="0.5m", size=args.size, split=(0.8, 0.2, 0), extra=extra)
            tiles = folder / f"tiles{len(extra)}"
            satseg.tile(towns.labelled, labels=towns.labels, output=tiles, settings=cut)
            learn = satseg.TrainSettings(
                arch=args.arch, steps=args.steps, batch_size=args.batch_size, seed=args.seed, threads=args.threads,
                pictures=False,
            )  # fmt: skip
            run = satseg.train(tiles, output=folder / f"run{len(extra)}", settings=learn)
            for shown, raster in maps.items():
                scored = satseg.EvaluateSettings(
                    extra=() if raster is None else raster, pixels_only=True, threads=args.threads
                )
                report = satseg.evaluate(run.best, towns.held_out, labels=towns.labels, settings=scored)
                found = {entry.name: round(entry.iou, 4) for entry in report.classes}
                seconds = round(time.perf_counter() - began)
                print(json.dumps({**vars(args), "extra": shown, "iou": found, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
