"""Right-angled outlines of a dense town: are they nearer to the truth than what was traced, and still a coverage?

Buildings are burnt into a raster of ids; those that touch there stay apart. Their borders are displaced by smooth
noise, as those of a prediction are. Then they are traced and regularized, and compared with the buildings. Objects are
compared by their id, with the largest polygon that has it.

One JSON line is printed. With ``--rival-python``, an interpreter that has buildingregulariser (PyPI) regularizes the
same polygons, on one core, with its defaults and with its alignment of neighbours. Two other parts regularize copies of
the town side by side, and buildings that stand alone, to tell how the time grows. Seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter

from satseg.sample import sample
from satseg.vectorization.regions import Regions, concatenate, to_shapely
from satseg.vectorization.regularize import regularized
from satseg.vectorization.trace import Tracer

PIXELS = Affine.identity()

RIVAL = """
import os, sys
import geopandas
from buildingregulariser import regularize_geodataframe
table = geopandas.read_file(sys.argv[1])
began = sum(os.times()[:4])  # of this process and its children
found = regularize_geodataframe(table, num_cores=1, neighbor_alignment=sys.argv[3] == "aligned")
seconds = sum(os.times()[:4]) - began
found[["id", "geometry"]].to_file(sys.argv[2])
print(seconds)
"""


def ids_of(shapes: Sequence[shapely.Polygon], size: tuple[int, int]) -> np.ndarray:
    """Return (H, W) int32 ids of shapes by their number, -1 between them."""
    return rasterize(zip(shapes, range(len(shapes)), strict=True), out_shape=size, fill=-1, dtype="int32")


def burnt(buildings: Path, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (H, W) int32 ids, -1 between buildings, and the (N,) buildings in pixels."""
    import geopandas

    shapes = shapely.get_parts(geopandas.read_file(buildings).geometry.values)
    left, bottom, right, top = shapely.total_bounds(shapes)
    to_pixels = ~(Affine.translation(left - 20 * pixel, top + 20 * pixel) * Affine.scale(pixel, -pixel))
    shapes = shapely.transform(shapes, lambda xy: np.column_stack(to_pixels * tuple(xy.T)))
    size = int((top - bottom) / pixel) + 40, int((right - left) / pixel) + 40
    return ids_of(shapes, size), shapes


def shaken(ids: np.ndarray, noise: float, seed: int = 0) -> np.ndarray:
    """Return ids whose borders are displaced by smooth noise with a standard deviation in pixels per axis."""
    rng = np.random.default_rng(seed)
    at = []
    for axis, size in enumerate(ids.shape):
        field = gaussian_filter(rng.standard_normal(ids.shape, dtype=np.float32), 6)
        places = np.arange(size, dtype=np.float32).reshape(-1, *([1] * (1 - axis)))
        at.append(np.clip(np.rint(places + noise * field / field.std()), 0, size - 1).astype(np.int32))
    return ids[at[0], at[1]]


def town(ids: np.ndarray, copies: int, noise: float) -> np.ndarray:
    """Return ids of some copies of a town side by side, each disturbed in another way."""
    parts = [shaken(ids, noise, seed) for seed in range(copies)]
    return np.hstack([np.where(part < 0, part, part + i * (ids.max() + 1)) for i, part in enumerate(parts)])


def alone(count: int) -> np.ndarray:
    """Return ids of about that many rectangles and L shapes, turned, that do not touch."""
    rng = np.random.default_rng(0)
    side = int(count**0.5)
    shapes = []
    for i in range(side * side):
        x, y = 50 * (i % side) + 25, 50 * (i // side) + 25
        width, height = rng.integers(12, 18, 2)
        shape = shapely.box(x - width, y - height, x + width, y + height)
        if i % 3 == 0:
            shape = shapely.difference(shape, shapely.box(x, y, x + width, y + height))
        shapes.append(shapely.affinity.rotate(shape, rng.uniform(-20, 20), origin=(x, y)))
    return ids_of(shapes, (50 * side, 50 * side))


def traced(ids: np.ndarray, least: int) -> Regions:
    """Return the regions of ids with at least some pixels."""
    tracer = Tracer(ids.shape[1])
    regions = concatenate([tracer.push(ids), tracer.finish()])
    return regions.where(regions.pixels >= least)


def described(polygons: np.ndarray, ids: np.ndarray, truth: np.ndarray) -> dict[str, object]:
    """Compare polygons with buildings."""
    sound = np.where(shapely.is_valid(polygons), polygons, shapely.make_valid(polygons))
    largest = np.argsort(-shapely.area(sound), kind="stable")
    found, first = np.unique(ids[largest], return_index=True)
    ours, theirs = sound[largest[first]], truth[found]
    common = shapely.area(shapely.intersection(ours, theirs))
    iou = common / (shapely.area(ours) + shapely.area(theirs) - common)
    open_vertices = [(shapely.get_num_coordinates(shapes) - 1).sum() for shapes in (ours, theirs)]
    return {
        "polygons": len(polygons),
        "iou": float(iou.mean()),
        "vertices_of_truth": float(open_vertices[0] / open_vertices[1]),
        "area_of_truth": float(shapely.area(sound).sum() / shapely.area(truth).sum()),
        "invalid": int((~shapely.is_valid(polygons)).sum()),
        "coverage_is_valid": bool(shapely.coverage_is_valid(polygons)),
        "not_in_coverage": int((~shapely.is_empty(shapely.coverage_invalid_edges(polygons))).sum()),
    }


def rival(
    python: str, polygons: np.ndarray, ids: np.ndarray, pixel: float, how: str
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return seconds, polygons and ids of buildingregulariser, which gets metres."""
    import geopandas

    with tempfile.TemporaryDirectory() as folder:
        given, made = str(Path(folder) / "given.gpkg"), str(Path(folder) / "made.gpkg")
        metres = shapely.transform(polygons, lambda xy: xy * [pixel, -pixel])
        geopandas.GeoDataFrame({"id": ids}, geometry=metres, crs="EPSG:32645").to_file(given)
        words = [python, "-c", RIVAL, given, made, how]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        table = geopandas.read_file(made).explode()
        back = shapely.transform(table.geometry.values, lambda xy: xy / [pixel, -pixel])
        return float(done.stdout.split()[-1]), np.asarray(back), table["id"].to_numpy()


def timed(ids: np.ndarray, shortest: tuple[float, float]) -> dict[str, float]:
    """Return how many polygons ids make, and the seconds that it takes to regularize them."""
    regions = traced(ids, 8)
    began = time.process_time()
    regularized([regions], shortest)
    return {"polygons": len(regions), "seconds": time.process_time() - began}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("buildings", nargs="?", default=sample().labels, help="vector file; default: the sample's")
    parser.add_argument("--pixel", type=float, default=0.149, help="side of a pixel in units of its CRS")
    parser.add_argument("--noise", type=float, default=1.5, help="standard deviation of displacements in pixels")
    parser.add_argument("--shortest", type=float, default=7.66, help="shortest side in pixels")
    parser.add_argument("--copies", type=int, default=10, help="copies of the town for a large map")
    parser.add_argument("--alone", type=int, default=10_000, help="buildings that stand alone")
    parser.add_argument("--rival-python", help="interpreter with buildingregulariser")
    options = parser.parse_args()
    shortest = (options.shortest, options.shortest)
    ids, truth = burnt(options.buildings, options.pixel)
    clean, ids = ids, shaken(ids, options.noise)
    regularized([traced(ids[:300, :300], 8)], shortest)  # compiles
    began = time.process_time()
    regions = traced(ids, 8)
    middle = time.process_time()
    found = regularized([regions], shortest)
    ended = time.process_time()
    before, after = to_shapely(regions, PIXELS), to_shapely(found, PIXELS)
    result: dict[str, object] = {
        "noise": options.noise,
        "traced": described(before, regions.values, truth),
        "regularized": described(after, found.values, truth),
        "seconds": ended - middle,
        "times_tracing": (ended - began) / (middle - began),
    }
    if options.rival_python:
        for how in ("default", "aligned"):
            seconds, polygons, numbers = rival(options.rival_python, before, regions.values, options.pixel, how)
            result[f"rival_{how}"] = described(polygons, numbers, truth) | {"seconds": seconds}
    if options.copies:
        result["copies"] = timed(town(clean, options.copies, options.noise), shortest)
    if options.alone:
        result["alone"] = timed(shaken(alone(options.alone), 1.0), shortest)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
