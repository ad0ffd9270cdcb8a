"""``tile`` against plain GDAL, and its memory: scenes of two sizes, and a million polygons.

The plain side burns the labels of the whole scene at once, reads the same windows through rasterio and writes the same
files, byte by byte; a second ratio leaves its burning out. Every measurement is a process of its own. Prints one JSON
line each.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine
from rasterio.features import rasterize
from rasterio.windows import Window

from satseg.files.gdal import gdal_environment
from satseg.labels.label_files import open_labels
from satseg.prefetch import read_ahead
from satseg.raster.scene import Scene
from satseg.sample import sample
from satseg.tiling.settings import TileSettings
from satseg.workflows.tile import tile

GRID = Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)


def write_scene(path: Path, side: int) -> None:
    """Repeat the sample scene until it is ``side`` pixels wide and high: DEFLATE, blocks of 512 px."""
    with rasterio.open(sample().labelled) as dataset:
        picture = dataset.read()
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "compress": "deflate", "zlevel": 6, "tiled": True}
    grid = {"crs": "EPSG:32645", "transform": GRID, "blockxsize": 512, "blockysize": 512, "photometric": "rgb"}
    with rasterio.open(path, "w", height=side, width=side, **profile, **grid) as dataset:
        for top in range(0, side, picture.shape[1]):
            for left in range(0, side, picture.shape[2]):
                height, width = min(picture.shape[1], side - top), min(picture.shape[2], side - left)
                dataset.write(picture[:, :height, :width], window=Window(left, top, width, height))


def write_houses(path: Path, count: int, side: int) -> None:
    """Write quadrilaterals at random places and angles, one by one as far as memory goes."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, side, (count, 1, 2))
    angles = rng.uniform(0, np.pi, (count, 1)) + np.arange(4) * np.pi / 2
    corners = centres + rng.uniform(4, 12, (count, 1, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    x, y = GRID * (corners[..., 0], corners[..., 1])
    frame = geopandas.GeoDataFrame(geometry=shapely.polygons(np.stack([x, y], axis=-1)), crs="EPSG:32645")
    pyogrio.write_dataframe(frame, path)


def run_tile(folder: Path, **options: object) -> dict[str, float]:
    """Cut the scene in a folder, and tell seconds and tiles."""
    began = time.perf_counter()
    summary = tile(
        [folder / "scene.tif"], labels=folder / "houses.gpkg", output=folder / "tiles", settings=TileSettings(**options)
    )
    return {"seconds": time.perf_counter() - began, "tiles": sum(summary.tiles.values())}


def run_plain(folder: Path, threads: int = 1) -> dict[str, float]:
    """Read the windows of the tile set and write its files again, with nothing but rasterio and a pool of threads."""
    rows = geopandas.read_parquet(folder / "tiles" / "index.parquet").to_dict("records")
    for part in ("images", "labels"):
        (folder / "plain" / part).mkdir(parents=True)
    began = time.perf_counter()
    with rasterio.open(folder / "scene.tif") as scene:
        shapes = pyogrio.read_dataframe(folder / "houses.gpkg").geometry
        burnt = rasterize(zip(shapes, repeat(1)), out_shape=scene.shape, transform=scene.transform, dtype="uint8")
    burning = time.perf_counter() - began

    def write(task: tuple[dict, dict, np.ndarray, np.ndarray]) -> None:
        row, grid, picture, classes = task
        options = {"photometric": "rgb", "names": ("red", "green", "blue")}
        write_plain(folder / "plain" / row["image"], picture, grid, **options)
        write_plain(folder / "plain" / row["labels"], classes, {**grid, "nodata": 255})

    with gdal_environment(), rasterio.open(folder / "scene.tif") as scene:

        def tasks() -> Iterator[tuple[dict, dict, np.ndarray, np.ndarray]]:
            for row in rows:
                window = Window(row["col"], row["row"], row["width"], row["height"])
                grid = {"crs": scene.crs, "transform": scene.window_transform(window)}
                yield row, grid, scene.read(window=window), burnt[window.toslices()][None]

        if threads == 1:
            deque(map(write, tasks()), maxlen=0)
        else:
            begin = gdal_environment().__enter__
            deque(read_ahead(write, tasks(), workers=threads, ahead=threads + 1, begin=begin), maxlen=0)
    return {"seconds": time.perf_counter() - began, "burning_seconds": burning, "tiles": len(rows)}


def write_plain(
    path: Path, bands: np.ndarray, grid: dict, *, photometric: str = "minisblack", names: tuple = ()
) -> None:
    """Write a tile as ``satseg tile`` does."""
    count, height, width = bands.shape
    profile = {"count": count, "height": height, "width": width, "dtype": "uint8", "photometric": photometric}
    packed = {"compress": "deflate", "zlevel": 1, "predictor": 2}
    with rasterio.open(path, "w", driver="GTiff", **profile, **packed, **grid) as dataset:
        dataset.write(bands)
        if names:
            dataset.descriptions = names


def run_labels(folder: Path) -> dict[str, float]:
    """Open the labels of a folder and burn a window in the middle of its scene."""
    began = time.perf_counter()
    source = open_labels(folder / "houses.gpkg")
    opened = time.perf_counter()
    with Scene.open(folder / "scene.tif") as scene, source.on(scene.info) as labels:
        middle = scene.info.width // 2
        share = float(labels.read(Window(middle, middle, 512, 512)).mean())
    return {"seconds": time.perf_counter() - began, "opening_seconds": opened - began, "share": share}


RUNS: dict[str, Callable[[Path], dict[str, float]]] = {
    "tile": lambda folder: run_tile(folder, threads=1),
    "tile-2": lambda folder: run_tile(folder, threads=2),
    "plain": run_plain,
    "plain-2": lambda folder: run_plain(folder, threads=2),
    "labels": run_labels,
    "apart": lambda folder: run_tile(folder, overlap=0),
}


def peak_memory() -> float:
    """Return the most that this process has held, in MB; ``ru_maxrss`` would count what its parent held before."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def measure(run: str, folder: Path) -> dict[str, float]:
    """Do one run in a fresh process."""
    for name in ("plain",) if run.startswith("plain") else ("tiles", "plain"):
        shutil.rmtree(folder / name, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, __file__, "--run", run, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def same_files(folder: Path) -> bool:
    """Tell whether both sides wrote the same bytes."""
    files = [path.relative_to(folder / "plain") for path in (folder / "plain").rglob("*.tif")]
    return bool(files) and all(
        (folder / "plain" / file).read_bytes() == (folder / "tiles" / file).read_bytes() for file in files
    )


def compare_speed(folder: Path, side: int, threads: int, repeats: int) -> dict[str, object]:
    """Time both sides in turns; the best of each counts."""
    write_scene(folder / "scene.tif", side)
    write_houses(folder / "houses.gpkg", (side // 50) ** 2, side)
    ours, plain = [], []
    suffix = "" if threads == 1 else f"-{threads}"
    for _ in range(repeats):
        ours.append(measure(f"tile{suffix}", folder))
        plain.append(measure(f"plain{suffix}", folder))
    seconds, baseline = min(run["seconds"] for run in ours), min(run["seconds"] for run in plain)
    copying = min(run["seconds"] - run["burning_seconds"] for run in plain)
    return {
        "benchmark": "tile",
        "baseline": "rasterio burns all labels at once, reads the same windows and writes the same files",
        "size": [side, side],
        "threads": threads,
        "tiles": ours[0]["tiles"],
        "same_bytes": same_files(folder),
        "seconds": seconds,
        "baseline_seconds": baseline,
        "ratio": seconds / baseline,
        "ratio_without_burning": seconds / copying,
    }


def compare_memory(folder: Path, small: int, large: int) -> dict[str, object]:
    """Tell the peak of the process on scenes of two sizes."""
    runs = {}
    for side in (small, large):
        write_scene(folder / "scene.tif", side)
        write_houses(folder / "houses.gpkg", (side // 50) ** 2, side)
        runs[side] = measure("apart", folder)
    return {
        "benchmark": "tile_memory",
        "baseline": f"peak of the same process on {small} x {small}",
        "size": [large, large],
        "small": runs[small],
        "large": runs[large],
        "extra_mb": runs[large]["peak_mb"] - runs[small]["peak_mb"],
        "ratio": runs[large]["peak_mb"] / runs[small]["peak_mb"],
    }


def compare_labels(folder: Path, count: int) -> dict[str, object]:
    """Tell what it takes to use very many polygons."""
    write_scene(folder / "scene.tif", 2048)
    runs = {}
    for polygons in (count // 100, count):
        write_houses(folder / "houses.gpkg", polygons, round(100 * polygons**0.5 / 5))
        runs[polygons] = measure("labels", folder)
    return {
        "benchmark": "tile_labels",
        "baseline": f"the same process with {count // 100} polygons",
        "size": [count],
        "small": runs[count // 100],
        "large": runs[count],
        "extra_mb": runs[count]["peak_mb"] - runs[count // 100]["peak_mb"],
    }


def main() -> None:
    """Run all three comparisons, or one run in the child process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", nargs=2, metavar=("RUN", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=("speed", "memory", "labels"), help="One of the comparisons.")
    parser.add_argument("--side", type=int, default=4096, help="Side of the scene for speed.")
    parser.add_argument("--threads", type=int, choices=(1, 2), default=2, help="Threads of both sides that write.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sides", type=int, nargs=2, default=(2048, 8192), help="Sides of the scenes for memory.")
    parser.add_argument("--polygons", type=int, default=1_000_000)
    arguments = parser.parse_args()
    if arguments.run:
        result = RUNS[arguments.run[0]](Path(arguments.run[1]))
        print(json.dumps({**result, "peak_mb": peak_memory()}))
        return
    with tempfile.TemporaryDirectory() as scratch:
        for name, compare in {
            "speed": lambda folder: compare_speed(folder, arguments.side, arguments.threads, arguments.repeats),
            "memory": lambda folder: compare_memory(folder, *arguments.sides),
            "labels": lambda folder: compare_labels(folder, arguments.polygons),
        }.items():
            if arguments.only in (None, name):
                folder = Path(scratch) / name
                folder.mkdir()
                print(json.dumps(compare(folder)), flush=True)


if __name__ == "__main__":
    main()
