"""Polygons from class maps: satseg against rasterio + shapely (and geopandas), as ratios within one run.

Each part prints one JSON line: polygons in memory, the same simplified (on a smaller map: cleaning and simplifying a
coverage with shapely takes minutes on a large one), the whole command to GeoPackage, plain and simplified, and how time
and memory grow with the map. Wherever polygons are at hand, those that are invalid, overlap or leave gaps are counted.
The map is five classes of smooth noise, made from a fixed seed; ``--raster`` takes a real class raster
instead. Compilation of the kernels is measured apart, in an empty cache.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.windows import Window

TRANSFORM = Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)
BLOCK = 4096


def noise(side: int, *, sigma: float = 5.0, num_classes: int = 5) -> np.ndarray:
    """Return (side, side) uint8: the strongest of several fields of smooth noise, in every pixel."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    best, classes = np.full((side, side), -np.inf, dtype=np.float32), np.zeros((side, side), dtype=np.uint8)
    for i in range(num_classes):
        field = gaussian_filter(rng.standard_normal((side, side), dtype=np.float32), sigma, mode="wrap")
        classes[field > best] = i
        np.maximum(best, field, out=best)
    return classes


def write_map(path: Path, side: int) -> None:
    """Write the noise, repeated over blocks of 4096, as a tiled GeoTIFF."""
    block = noise(min(side, BLOCK))
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "compress": "deflate", "tiled": True, "zlevel": 1}
    options = {"blockxsize": 512, "blockysize": 512, "crs": "EPSG:32645", "transform": TRANSFORM, "nodata": 255}
    with rasterio.open(path, "w", height=side, width=side, **profile, **options) as dataset:
        for top in range(0, side, BLOCK):
            for left in range(0, side, BLOCK):
                dataset.write(block, 1, window=Window(left, top, *block.shape))


def best_of(runs: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the shortest time of several runs in seconds, and the last result."""
    seconds, result = float("inf"), None
    for _ in range(runs):
        began = time.perf_counter()
        result = work()
        seconds = min(seconds, time.perf_counter() - began)
    return seconds, result


def by_rasterio(classes: np.ndarray) -> tuple[list[int], list[shapely.Polygon]]:
    """Polygonise as users do today."""
    from rasterio.features import shapes

    pairs = list(shapes(classes, mask=classes != 255, transform=TRANSFORM))
    return [int(value) for _, value in pairs], [shapely.geometry.shape(shape) for shape, _ in pairs]


def in_memory(classes: np.ndarray) -> dict[str, object]:
    """Compare polygons in memory."""
    from satseg.vectorization.trace import trace

    trace(classes[:64, :64].astype(np.int16), TRANSFORM)
    values = np.where(classes == 255, -1, classes.astype(np.int16))
    ours, (polygons, _) = best_of(3, lambda: trace(values, TRANSFORM))
    theirs, _ = best_of(1, lambda: by_rasterio(classes))
    return {"seconds_rasterio": theirs, "times_faster": theirs / ours} | _described(values, ours, polygons)


def simplified(classes: np.ndarray) -> dict[str, object]:
    """Compare polygons in memory, simplified to one pixel."""
    from satseg.vectorization.trace import trace

    trace(classes[:64, :64].astype(np.int16), TRANSFORM, tolerance=(1.0, 1.0))
    values = np.where(classes == 255, -1, classes.astype(np.int16))
    ours, (polygons, _) = best_of(3, lambda: trace(values, TRANSFORM, tolerance=(1.0, 1.0)))
    theirs, _ = best_of(1, lambda: shapely.coverage_simplify(_cleaned(np.array(by_rasterio(classes)[1])), 0.5))
    return {"seconds_rasterio": theirs, "times_faster": theirs / ours} | _described(values, ours, polygons)


def _described(values: np.ndarray, seconds: float, polygons: np.ndarray) -> dict[str, object]:
    return {
        "pixels": values.size,
        "polygons": len(polygons),
        "vertices": int(shapely.get_num_coordinates(polygons).sum()),
        "seconds": seconds,
        "invalid": int((~shapely.is_valid(polygons)).sum()),
        "gaps": _gaps(polygons),
        "overlaps_or_loose_edges": int((~shapely.is_empty(shapely.coverage_invalid_edges(polygons))).sum()),
        "area_missing": float((values >= 0).sum() * abs(TRANSFORM.determinant) - shapely.area(polygons).sum()),
    }


def _gaps(polygons: np.ndarray) -> int:
    """Count the holes of the union; a map without nodata has none."""
    union = shapely.get_parts(shapely.coverage_union_all(polygons))
    return int(shapely.get_num_interior_rings(union).sum()) + len(union) - 1


def _cleaned(polygons: np.ndarray) -> np.ndarray:
    """Give GDAL's polygons the vertices at junctions that a coverage needs."""
    clean = getattr(shapely, "coverage_clean", None)
    return polygons if clean is None else clean(polygons)


WHOLE = {
    "satseg": """
from satseg.cli.app import main
main(['vectorize', {raster!r}, '-o', {out!r}, '--quiet', '--raw', *{words!r}])
""",
    "rasterio": """
import geopandas, rasterio, shapely
from rasterio.features import shapes
with rasterio.open({raster!r}) as dataset:
    classes = dataset.read(1)
    pairs = list(shapes(classes, mask=classes != 255, transform=dataset.transform))
    crs = dataset.crs
polygons = [shapely.geometry.shape(shape) for shape, _ in pairs]
if {words!r}:
    polygons = shapely.coverage_simplify(shapely.coverage_clean(polygons), 0.5)
table = geopandas.GeoDataFrame({{'class_id': [int(value) for _, value in pairs]}}, geometry=list(polygons), crs=crs)
table['area_m2'] = table.area
table.to_file({out!r}, driver='GPKG')
""",
}


PROBE = """
import atexit
def tell():
    peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))
    open({path!r}, 'w').write(peak.split()[1])
atexit.register(tell)
"""


def whole_command(side: int, words: list[str]) -> dict[str, object]:
    """Compare whole processes from class raster to GeoPackage, start-up included."""
    found: dict[str, Any] = {"pixels": side * side, "options": words}
    with tempfile.TemporaryDirectory() as folder:
        raster = Path(folder) / "map.tif"
        write_map(raster, side)
        for tool, code in WHOLE.items():
            out = Path(folder) / f"{tool}.gpkg"
            found[f"seconds_{tool}"], found[f"mb_{tool}"] = _process(
                code.format(raster=str(raster), out=str(out), words=words)
            )
    return found | {"times_faster": found["seconds_rasterio"] / found["seconds_satseg"]}


def growth(small: int, large: int) -> dict[str, object]:
    """Compare seconds per pixel and peak memory of the command on two sizes of the same map."""
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in (small, large):
            raster = Path(folder) / f"{side}.tif"
            write_map(raster, side)
            for name, words in (("", []), ("_simplified", ["--simplify", "1px"])):
                code = WHOLE["satseg"].format(raster=str(raster), out=str(Path(folder) / "out.gpkg"), words=words)
                seconds, found[f"mb{name}_{side}"] = _process(code)
                found[f"ns_per_pixel{name}_{side}"] = seconds / side**2 * 1e9
    for name in ("", "_simplified"):
        for what in ("mb", "ns_per_pixel"):
            found[f"{what}{name}_ratio"] = found[f"{what}{name}_{large}"] / found[f"{what}{name}_{small}"]  # type: ignore[operator]
    return found


def _process(code: str, **environment: str) -> tuple[float, float]:
    """Return seconds and peak memory in MB of a fresh Python process.

    The process says itself what it took: what the system reports of a child includes this process before the fork.
    """
    with tempfile.NamedTemporaryFile("r") as told:
        began = time.perf_counter()
        words = [sys.executable, "-c", PROBE.format(path=told.name) + code]
        if status := subprocess.run(words, env={**os.environ, **environment}, check=False).returncode:
            raise SystemExit(f"a measured process failed with status {status}")
        return time.perf_counter() - began, float(told.read()) / 1024


def compilation() -> dict[str, object]:
    """Measure the first run ever of the command, with nothing compiled."""
    with tempfile.TemporaryDirectory() as folder:
        raster = Path(folder) / "map.tif"
        write_map(raster, 64)
        code = WHOLE["satseg"].format(
            raster=str(raster), out=str(Path(folder) / "out.gpkg"), words=["--simplify", "1px"]
        )
        cold, _ = _process(code, NUMBA_CACHE_DIR=str(Path(folder) / "cache"))
        warm, _ = _process(code, NUMBA_CACHE_DIR=str(Path(folder) / "cache"))
    return {"seconds_first_run": cold, "seconds_later_runs": warm}


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default="memory,simplified,command,command_simplified,growth,compilation")
    parser.add_argument("--side", type=int, default=4096, help="side of the map in memory")
    parser.add_argument("--simplified-side", type=int, default=1024)
    parser.add_argument("--command-side", type=int, default=4096)
    parser.add_argument("--command-simplified-side", type=int, default=1024)
    parser.add_argument("--growth-side", type=int, default=8192)
    parser.add_argument("--raster", help="real class raster for the part in memory")
    options = parser.parse_args()
    classes = noise(options.side) if options.raster is None else rasterio.open(options.raster).read(1)
    parts = {
        "memory": lambda: in_memory(classes),
        "simplified": lambda: simplified(classes[: options.simplified_side, : options.simplified_side]),
        "command": lambda: whole_command(options.command_side, []),
        "command_simplified": lambda: whole_command(options.command_simplified_side, ["--simplify", "1px"]),
        "growth": lambda: growth(options.growth_side // 4, options.growth_side),
        "compilation": compilation,
    }
    for name in options.parts.split(","):
        print(json.dumps({"part": name, **parts[name]()}), flush=True)


if __name__ == "__main__":
    main()
