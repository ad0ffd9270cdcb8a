"""What ``predict --objects`` costs beside ``predict``, and whether it gives back the objects of perfect maps.

A scene holds the class, the boundary and the distance of footprints; the network passes them on, and does the
arithmetic of a U-Net on a light encoder besides. Prints one JSON line: seconds and peak memory with objects over those
without, the number of true objects and of those that are found, and the share of pixels of objects with the right one.

    python tests/benchmarks/bench_predict_objects.py --scene scene.tif --labels buildings.gpkg --size 8192
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import geopandas
import numpy as np
import rasterio
from affine import Affine
from command_runner import Runner
from rasterio.features import rasterize
from scipy import ndimage

from satseg.checkpoint import ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.objects import ONE
from satseg.objects.targets import edge_distance, inner_boundary, normalised
from satseg.records import BandSpec, BandStatistics
from satseg.sample import sample

ORACLE = """
import torch
from satseg import create_model
from torch import nn


class Oracle(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = create_model("unet", in_channels=3, num_classes=4, encoder="tf_efficientnet_lite0")

    def forward(self, images):
        classes = nn.functional.one_hot(images[:, 0].round().long().clamp(0, 1), 2).movedim(-1, 1) * 20.0
        return torch.cat([classes, torch.logit(images[:, 1:] / 254, eps=1e-6)], dim=1) + 0 * self.network(images)


def oracle(*, in_channels, num_classes):
    torch.manual_seed(0)
    return Oracle()
"""


def footprints(scene: Path, labels: Path, size: int) -> tuple[np.ndarray, Affine, str]:
    """Return the footprints of a scene at another size, (row, col) int32 by first pixels, its transform and its CRS."""
    with rasterio.open(scene) as dataset:
        shapes = geopandas.read_file(labels).to_crs(dataset.crs).geometry
        grid = dataset.transform * Affine.scale(dataset.width / size, dataset.height / size)
        crs = dataset.crs.to_wkt()
    numbers = rasterize(
        zip(shapes, range(1, len(shapes) + 1), strict=True), (size, size), transform=grid, dtype="int32"
    )
    return parts(numbers), grid, crs


def parts(numbers: np.ndarray) -> np.ndarray:
    """Return the connected parts of equal numbers, in the order of their first pixels; 0 is none."""
    found = np.zeros(numbers.shape, dtype=np.int32)
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if box is not None:
            mine, count = ndimage.label(numbers[box] == number)
            found[box] += np.where(mine > 0, mine + found.max(), 0).astype(np.int32) * (count > 0)
    flat = found.ravel()
    values, first = np.unique(flat, return_index=True)
    order = np.zeros(values.max() + 1, dtype=np.int32)
    order[values[np.argsort(np.where(values == 0, -1, first))]] = np.arange(len(values))
    return order[found]


def write_files(folder: Path, ids: np.ndarray, grid: Affine, crs: str) -> None:
    """Write scene, architecture and checkpoint."""
    distance = edge_distance(ids)
    bands = np.stack([ids > 0, inner_boundary(distance, 2) * ONE, np.rint(normalised(distance, ids) * ONE)])
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "compress": "deflate", "tiled": True}
    size = {"height": ids.shape[0], "width": ids.shape[1], "transform": grid, "crs": crs}
    with rasterio.open(folder / "scene.tif", "w", **profile, **size) as dataset:
        dataset.write(bands.astype(np.uint8))
    (folder / "oracle.py").write_text(ORACLE)
    sys.path.insert(0, str(folder))
    from oracle import oracle

    card = ModelCard(
        arch="oracle.py:oracle",
        classes=ClassTable.from_names(["background", "buildings"]),
        bands=BandSpec(("1", "2", "3"), "uint8", (1.0,) * 3, (0.0,) * 3),
        statistics=BandStatistics(1, (0.0,) * 3, (1.0,) * 3, (0.0,) * 3, (255.0,) * 3),
        gsd=None,
        tile_size=256,
        objects=True,
    )
    save_checkpoint(folder / "oracle.safetensors", oracle(in_channels=3, num_classes=4).state_dict(), card)


def measure(folder: Path, threads: int, *options: str) -> tuple[float, float]:
    """Map the scene; return seconds and peak memory in MB."""
    runner = Runner(threads)
    model = ("-m", folder / "oracle.safetensors", "--arch", f"{folder / 'oracle.py'}:oracle")
    outputs = ("-o", folder / "map.gpkg", "-o", folder / "map.tif")
    runner.run(
        *(sys.executable, "-m", "satseg", "predict", folder / "scene.tif", *model, *outputs),
        *("--gsd", "scene", "--threads", threads, "--quiet", *options),
    )
    return runner.seconds, runner.peak / 2**20


def agreement(found: np.ndarray, ids: np.ndarray) -> dict[str, float]:
    """Count the true objects, those found, and the share of pixels with the object that most of its pixels have."""
    inside = ids > 0
    pairs, counts = np.unique(np.stack([ids[inside], found[inside]]), axis=1, return_counts=True)
    best = np.zeros(ids.max() + 1, dtype=np.int64)
    np.maximum.at(best, pairs[0], counts)
    return {"true": int(ids.max()), "found": int(found.max()), "right": float(best.sum() / inside.sum())}


def main() -> None:
    """Measure and print."""
    town = sample()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, default=town.labelled)
    parser.add_argument("--labels", type=Path, default=town.labels)
    parser.add_argument("--size", type=int, default=2048, help="rows and columns")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids, grid, crs = footprints(options.scene, options.labels, options.size)
        write_files(folder, ids, grid, crs)
        measure(folder, options.threads, "--objects")  # compiles what is not in the cache
        plain = measure(folder, options.threads)
        objects = measure(folder, options.threads, "--objects")
        with rasterio.open(folder / "map.tif") as dataset:
            found = agreement(dataset.read(1), ids)
    line = {"seconds": objects[0], "ratio": objects[0] / plain[0], "more_mb": objects[1] - plain[1], **found}
    print(json.dumps({"size": options.size, "threads": options.threads, **line}))


if __name__ == "__main__":
    main()
