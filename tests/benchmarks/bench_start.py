"""Seconds of small commands from start to end, beside plain scripts for the same, and what they import.

`info` of a raster stands beside `rio info`, `vectorize` of a class raster beside a script of rasterio and geopandas,
and `predict` of a scene with the sample's network beside a script that loads the network and passes the windows through
it. Commands and scripts take turns; figures are medians of wall-clock time. Imports are the ten packages that take most
milliseconds of their own, without what they import from others; `import_seconds` is the sum over all. Prints one JSON
line for each command.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import rasterio
from rasterio.transform import from_origin
from scipy.ndimage import gaussian_filter

PLAIN_POLYGONS = """
import sys, geopandas, rasterio
from rasterio.features import shapes
from shapely.geometry import shape
with rasterio.open(sys.argv[1]) as file:
    found = [(shape(outline), int(value)) for outline, value in shapes(file.read(1), transform=file.transform)]
    outlines, values = zip(*found)
    table = geopandas.GeoDataFrame({"class_id": values}, geometry=list(outlines), crs=file.crs)
table.to_file(sys.argv[2])
"""
PLAIN_PASSES = """
import sys, numpy, rasterio, torch
from satseg.checkpoint import Checkpoint
from satseg.inference.network import Network
network = Network.from_checkpoint(Checkpoint.load("sample"), device=torch.device("cpu"), precision="bf16-mixed")
with rasterio.open(sys.argv[1]) as file:
    pixels = file.read()
windows = [pixels[None, :, y:y + 512, x:x + 512] for y in range(0, file.height, 512) for x in range(0, file.width, 512)]
for window in windows:
    network.probabilities(window, numpy.ones((1, *window.shape[2:]), dtype=bool))
"""


def write_raster(path: Path, pixels: np.ndarray) -> Path:
    """Write bands (band, row, col) uint8 of 0.3 m."""
    grid = {"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 0.3, 0.3)}
    shape = dict(zip(("count", "height", "width"), pixels.shape, strict=True))
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", tiled=True, **shape, **grid) as file:
        file.write(pixels)
    return path


def smooth(bands: int, side: int) -> np.ndarray:
    """Return random bands (band, row, col), 0 to 1, in which neighbours are alike."""
    noise = np.random.default_rng(0).random((bands, side, side), dtype=np.float32)
    found = gaussian_filter(noise, (0, 4, 4))
    return (found - found.min()) / (found.max() - found.min())


def seconds(words: list[str]) -> float:
    """Run a command with Python, and return the seconds it took."""
    begun = perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return perf_counter() - begun


def imports(words: list[str]) -> Counter[str]:
    """Return the milliseconds that the modules of each package take, without what they import of others."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", *words], check=True, capture_output=True, text=True
    ).stderr
    own: Counter[str] = Counter()
    for microseconds, module in re.findall(r"import time: +(\d+) \| +\d+ \| +([\w.]+)", told):
        own[module.partition(".")[0]] += int(microseconds) / 1000
    return own


def measure(name: str, words: list[str], plain: list[str], made: Path | None, repeats: int) -> dict[str, object]:
    """Measure a command beside a plain script."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        for command, taken in zip((["-m", "satseg", *words], plain), times, strict=True):
            if made is not None:
                made.unlink(missing_ok=True)
            taken.append(seconds(command))
    if made is not None:
        made.unlink(missing_ok=True)
    own = imports(["-m", "satseg", *words])
    satseg, script = (median(taken[1:]) for taken in times)  # the first one fills caches
    return {
        "command": name,
        "seconds": round(satseg, 2),
        "plain_seconds": round(script, 2),
        "ratio": round(script / satseg, 2),
        "import_seconds": round(sum(own.values()) / 1000, 2),
        "imports_ms": {package: round(taken) for package, taken in own.most_common(10)},
    }


def main() -> None:
    """Measure the commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 2048], help="pixels of class rasters")
    parser.add_argument("--scene-side", type=int, default=1024, help="pixels of the scene that is mapped")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = str(write_raster(folder / "scene.tif", (255 * smooth(3, options.scene_side)).astype(np.uint8)))
        made = folder / "made.gpkg"
        info = ["info", scene], ["-m", "rasterio.rio.main", "info", scene]
        print(json.dumps(measure("info", *info, None, options.repeats)), flush=True)
        for side in options.sides:
            classes = str(write_raster(folder / f"{side}.tif", (smooth(1, side) > 0.5).astype(np.uint8)))
            words = ["vectorize", classes, "-o", str(made), "--quiet"]
            plain = ["-c", PLAIN_POLYGONS, classes, str(made)]
            print(json.dumps(measure(f"vectorize, {side} px", words, plain, made, options.repeats)), flush=True)
        words = ["predict", scene, "-m", "sample", "-o", str(made), "--quiet"]
        plain = ["-c", PLAIN_PASSES, scene]
        print(json.dumps(measure(f"predict, {options.scene_side} px", words, plain, made, options.repeats)), flush=True)


if __name__ == "__main__":
    main()
