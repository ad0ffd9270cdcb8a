"""Estimate what a prediction takes before it is run: windows, memory, disk, and time after a short probe."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rasterio.windows import Window

from satseg.inference.network import Network
from satseg.inference.tuning import tune
from satseg.raster.scene import Scene
from satseg.records import DryRun, Plan, SceneInfo

_OVERVIEWS = 4 / 3  # pixels of a raster with its overviews, per pixel
_VERTEX_BYTES = 2 * 16  # a corner stands in the outlines of both its neighbours
_PROBE_SECONDS = 2.0


def estimate(
    scene: Scene,
    network: Network,
    plan: Plan,
    *,
    row_budget: int,
    work: int,
    rasters: Sequence[int],
    vectors: int,
) -> DryRun:
    """Run the network for a moment, on the middle of the scene, and extrapolate.

    Args:
        scene: The scene, open.
        network: The network fitted to the scene.
        plan: How the scene will be cut.
        row_budget: Bytes of rows that are kept in memory.
        work: Bytes on disk of the map in progress.
        rasters: Bands of each raster that will be written.
        vectors: Files of polygons that will be written.
    """
    info = scene.info
    cores = plan.streams * plan.threads
    probe = tune(
        network.resampled(1.0, 1.0),
        dtype=info.bands.dtype,
        overlap=lambda side: 0,
        window=max(32, round(plan.window[0] * network.views.resample[0])),
        batch_size=plan.batch_size,
        cores=cores,
        seconds=_PROBE_SECONDS,
    )
    factor = network.views.resample[0] * network.views.resample[1]
    classes = _classes_in_the_middle(scene, network, plan)
    per_pixel = len(zlib.compress(classes.tobytes(), 6)) / classes.size
    return DryRun(
        scene=info.path,
        width=info.width,
        height=info.height,
        plan=plan,
        windows=len(plan.row_starts) * len(plan.column_starts),
        forwarded=plan.forwarded,
        network_bytes=probe.memory,
        row_bytes=min(row_budget, _row_bytes(info, plan, network.outputs)),
        work_bytes=work + _plain_overviews(info, max(rasters, default=0)),
        output_bytes=round(
            info.pixels * (len(rasters) * per_pixel * _OVERVIEWS + vectors * _corner_share(classes) * _VERTEX_BYTES)
        ),
        seconds=info.pixels * plan.forwarded * factor / max(probe.pixels_per_second, 1e-9),
    )


def spilled_bytes(info: SceneInfo, plan: Plan, classes: int, row_budget: int) -> int:
    """Return the bytes of rows that go to the disk at most.

    Args:
        info: The scene.
        plan: How it is cut.
        classes: Classes of the network.
        row_budget: Bytes of rows that are kept in memory.
    """
    return max(0, _row_bytes(info, plan, classes) - row_budget)


def needed_space(info: SceneInfo, rasters: Mapping[Path, int], folder: Path, work: int) -> dict[Path, int]:
    """Return bytes that a map may need at most, by folder; without polygons, which cannot be foreseen.

    Args:
        info: The scene.
        rasters: Bands of the rasters that are written, by path.
        folder: Work folder.
        work: Bytes that are still to be written there.
    """
    needed = {folder: work}
    for path, bands in rasters.items():
        # Classes compress to a tenth at the very worst; shares hardly at all.
        share = 0.1 if bands == 1 else 1.0
        needed[path.parent] = needed.get(path.parent, 0) + round(info.pixels * bands * share * _OVERVIEWS)
    if rasters:  # overviews lie plain beside a raster while it is written, those of one after the other
        largest = max(rasters, key=lambda path: rasters[path])
        needed[largest.parent] += _plain_overviews(info, rasters[largest])
    return needed


def _plain_overviews(info: SceneInfo, bands: int) -> int:
    """Return the bytes of the overviews of a raster that are not compressed yet."""
    return round(info.pixels * bands * (_OVERVIEWS - 1))


def _row_bytes(info: SceneInfo, plan: Plan, num_classes: int) -> int:
    """Return what would be held of a scene if nothing was spilled."""
    pixel = len(info.bands) * np.dtype(info.bands.dtype).itemsize + info.has_mask
    return info.width * (2 * plan.window[0] * pixel + plan.overlap[0] * num_classes * 4)


def _classes_in_the_middle(scene: Scene, network: Network, plan: Plan) -> np.ndarray:
    height, width = (min(side, length) for side, length in zip(plan.window, (plan.height, plan.width), strict=True))
    bands, valid = scene.read(Window((plan.width - width) // 2, (plan.height - height) // 2, width, height))
    missing = ((0, plan.window[0] - height), (0, plan.window[1] - width))
    padded, mask = np.pad(bands, ((0, 0), *missing), "reflect"), np.pad(valid, missing, "reflect")
    probabilities = network.probabilities(padded[None], mask[None])[0, : len(network.classes)]
    found: np.ndarray = probabilities.argmax(0).cpu().numpy().astype(np.uint8)
    return found


def _corner_share(classes: np.ndarray) -> float:
    """Return the share of pixel corners at which a boundary turns or branches."""
    a, b, c, d = classes[:-1, :-1], classes[:-1, 1:], classes[1:, :-1], classes[1:, 1:]
    straight = ((a == b) & (c == d)) | ((a == c) & (b == d))
    return float(1 - straight.mean())
