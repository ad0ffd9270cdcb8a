"""Stream a scene through a network: read ahead, forward, blend, hand out finished rows."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np
from rasterio.windows import Window
from torch import Tensor

from satseg.inference.blending import Register, window_positions
from satseg.inference.network import Network
from satseg.prefetch import read_ahead
from satseg.raster.scene import Scene
from satseg.records import Plan, Progress, ProgressEvent, Rows, no_progress

_READ_AHEAD = 2


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows that were read together, in the order of the plan.

    Args:
        images: (N, C, H, W) raw values of the windows that hold valid pixels; None where none does.
        valid: (N, H, W) bool of all windows of the batch.
    """

    images: np.ndarray | None
    valid: np.ndarray


def predict_rows(
    scene: Scene, network: Network, plan: Plan, *, with_confidence: bool = False, progress: Progress = no_progress
) -> Generator[Rows, None, None]:
    """Yield the class map of a scene strip by strip, from the top.

    Memory holds a few batches and the overlaps of one row of windows, whatever the scene's height. One thread reads
    ahead while the network runs. Windows without valid pixels do not go through the network.

    Args:
        scene: Scene to read. A thread reads it until the generator is exhausted or closed: close the generator
            before the scene.
        network: What classifies.
        plan: Windows, overlaps and batch.
        with_confidence: Whether rows carry the probability of their class.
        progress: Called after each batch, in pixels of the scene.

    Raises:
        SceneError: The scene cannot be read to its end.
    """
    register = Register(plan, len(network.classes), network.device, with_confidence=with_confidence)
    total = plan.height * plan.width
    done = 0
    # One worker, since a dataset belongs to one thread.
    reading = read_ahead(lambda origins: _read_batch(scene, origins, plan), _groups(plan), workers=1, ahead=_READ_AHEAD)
    with closing(reading) as batches:
        for batch in batches:
            for rows in _blend(batch, network, register, plan.batch_size):
                done += rows.classes.size
                yield rows
            progress(ProgressEvent("Predicting", done, total, "px"))


def _blend(batch: Batch, network: Network, register: Register, batch_size: int) -> Iterator[Rows]:
    """Run one batch through the network and yield the rows that it completes."""
    holding = np.array([window.any() for window in batch.valid])
    probabilities = iter(_forward(batch, network, batch_size, holding))
    for valid, holds in zip(batch.valid, holding, strict=True):
        rows = register.add(next(probabilities) if holds else None, valid)
        if rows is not None:
            yield rows


def _forward(batch: Batch, network: Network, batch_size: int, holding: np.ndarray) -> Iterable[Tensor]:
    if batch.images is None:
        return ()
    count = len(batch.images)
    # Every forward pass has the full batch: kernels may round differently for another size.
    fill = np.arange(batch_size) % count
    return network.probabilities(batch.images[fill], batch.valid[holding][fill])[:count]


def _groups(plan: Plan) -> Iterator[list[tuple[int, int]]]:
    """Yield the origins (row, column) of the windows of each batch."""
    origins = ((plan.row_starts[row], plan.column_starts[column]) for row, column in window_positions(plan))
    while group := list(islice(origins, plan.batch_size)):
        yield group


def _read_batch(scene: Scene, origins: list[tuple[int, int]], plan: Plan) -> Batch:
    images, masks = [], []
    for top, left in origins:
        height = min(plan.window[0], plan.height - top)
        width = min(plan.window[1], plan.width - left)
        bands, valid = scene.read(Window(left, top, width, height))
        missing = ((0, plan.window[0] - height), (0, plan.window[1] - width))
        if valid.any():
            images.append(_reflect(bands, ((0, 0), *missing)))
        masks.append(_reflect(valid, missing))
    return Batch(np.stack(images) if images else None, np.stack(masks))


def _reflect(array: np.ndarray, missing: tuple[tuple[int, int], ...]) -> np.ndarray:
    if not any(after for _, after in missing):
        return array
    return np.pad(array, missing, mode="reflect")
