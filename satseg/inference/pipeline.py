"""Stream a scene through a network: read ahead, forward, blend, hand out finished cells."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import compress, islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from satseg.backend.cores import torch_threads
from satseg.backend.finite import first_not_finite, not_finite
from satseg.classes import ClassTable
from satseg.files.spill import SpillStore
from satseg.inference.blending import Blended, WindowBlender
from satseg.inference.decision import Decision
from satseg.inference.reading import ReadOptions, WindowBatch, read_batches
from satseg.inference.timing import Stage, Stopwatch
from satseg.prefetch import read_ahead, run_ahead
from satseg.raster.scene import Scene
from satseg.records import MapLayer, Plan, Progress, ProgressEvent, Rows, no_progress

_AHEAD = 2  # batches that are ready before the network asks for them
_HALO_SHARE = 0.25  # of the budget; the cache of scene chunks has the rest
_JOINED = 4096  # columns of a cell that is written to disk


class Classifier(Protocol):
    """What turns windows into class probabilities."""

    classes: ClassTable
    outputs: int
    shares: int
    device: torch.device

    def upload(self, images: np.ndarray, valid: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Return (N, C, H, W) raw values and (N, H, W) bool on the device; None where all pixels are valid."""
        ...

    def classify(self, raw: Tensor, mask: Tensor | None) -> Tensor:
        """Return (N, K, H, W) float32 on the device for what was uploaded."""
        ...


@dataclass(frozen=True, eq=False)
class Cell:
    """A finished rectangle of a map. Cells come row by row, from left to right.

    Args:
        top: First row in the scene.
        left: First column.
        layers: (band, row, col) uint8 by layer, all of one height and width.
        ends_row: Whether it reaches the right edge, so that all rows above its bottom are finished.
    """

    top: int
    left: int
    layers: dict[MapLayer, np.ndarray]
    ends_row: bool

    @property
    def bottom(self) -> int:
        """Row after its last one."""
        return self.top + self.layers[MapLayer.CLASSES].shape[1]

    @property
    def pixels(self) -> int:
        """Rows times columns."""
        return int(self.layers[MapLayer.CLASSES][0].size)


def predict_cells(
    open_scene: Callable[[], Scene],
    network: Classifier,
    plan: Plan,
    decision: Decision,
    read_options: ReadOptions,
    *,
    first_row: int = 0,
) -> Generator[Cell, None, None]:
    """Yield the map of a scene cell by cell, row by row from the top.

    Reading runs in threads of its own, and so does each of the plan's streams of forward passes; the caller's thread
    blends. Memory holds a few batches and, up to the budget, the rows of the scene and the overlaps that are still
    needed. Windows without valid pixels do not go through the network.

    Args:
        open_scene: Opens the scene; called in several threads.
        network: What classifies. It is called from several threads if the plan has several streams.
        plan: Windows, overlaps and batches.
        decision: How probabilities become classes, and which layers are stored.
        read_options: Threads, memory and other circumstances.
        first_row: Row of windows to begin with. The upper overlap of its cells is then not blended with what lies
            above, so only what comes after :func:`rows_to_repeat` rows of windows is as it would be from the top.

    Raises:
        SceneError: The scene cannot be read to its end.
        NetworkError: The output of the network for a valid pixel is not finite.
        OutputError: The scratch folder is full.
    """
    watch = read_options.stopwatch or Stopwatch()
    disagreement = MapLayer.DISAGREEMENT in decision.layers
    blended = blend_windows(
        open_scene, network, plan, read_options, first_row=first_row, with_disagreement=disagreement
    )
    with closing(blended):
        for part in blended:
            with watch.time(Stage.BLEND):
                cell = Cell(part.top, part.left, decision.decide(part), part.ends_row)
            yield cell


def blend_windows(
    open_scene: Callable[[], Scene],
    network: Classifier,
    plan: Plan,
    read_options: ReadOptions,
    *,
    first_row: int = 0,
    end_row: int | None = None,
    with_disagreement: bool = False,
) -> Generator[Blended, None, None]:
    """Yield the blended probabilities of a scene, or of a block of its rows of windows, window by window.

    Batches are those of the whole plan: one that lies across the border of a block is run whole.

    Args:
        open_scene: As in :func:`predict_cells`, like all that is not listed here.
        network: What classifies.
        plan: Windows, overlaps and batches.
        read_options: Threads, memory and other circumstances.
        first_row: Row of windows to begin with.
        end_row: Row of windows to end before; None is the end of the scene.
        with_disagreement: Whether to measure how much overlapping windows differ.
    """
    watch = read_options.stopwatch or Stopwatch()
    columns = len(plan.column_starts)
    first, end = first_row * columns, (len(plan.row_starts) if end_row is None else end_row) * columns
    begin = first // plan.batch_size * plan.batch_size  # the first batch may begin in the row above
    with ExitStack() as stack:
        stack.enter_context(torch_threads(1))  # blending is light, and every core has its stream
        halo_budget = int(read_options.budget * _HALO_SHARE)
        halos = stack.enter_context(SpillStore(halo_budget, read_options.scratch))
        chunks = stack.enter_context(SpillStore(read_options.budget - halo_budget, read_options.scratch))
        blender = WindowBlender(
            plan,
            network.device,
            halos,
            first_row=first_row,
            end_row=end_row,
            with_disagreement=with_disagreement,
            classes=len(network.classes),
            shares=network.shares,
        )
        batches = range(begin, end, plan.batch_size)
        reading = read_batches(open_scene, plan, read_options, chunks, batches, watch=watch)
        ready = stack.enter_context(closing(run_ahead(reading, ahead=_AHEAD)))
        forward = _Forward(network, plan, watch)
        passes = read_ahead(forward, ready, workers=plan.streams, ahead=plan.streams, begin=forward.begin)
        windows = _unbatch(stack.enter_context(closing(passes)))
        for valid, probabilities in islice(windows, first - begin, end - begin):
            with watch.time(Stage.BLEND):
                if probabilities is None:
                    probabilities = torch.zeros(network.outputs, *plan.window, device=network.device)
                blended = blender.add(probabilities, valid)
            yield blended


def predict_rows(
    open_scene: Callable[[], Scene],
    network: Classifier,
    plan: Plan,
    read_options: ReadOptions,
    *,
    progress: Progress = no_progress,
) -> Generator[Rows, None, None]:
    """Yield the classes of a scene strip by strip, each as high as a row of windows and held in memory.

    Args:
        open_scene: Opens the scene; called in several threads.
        network: What classifies.
        plan: Windows, overlaps and batches.
        read_options: Threads, memory and other circumstances.
        progress: Called after each strip, in pixels of the scene.
    """
    decision = Decision(len(network.classes))
    with closing(predict_cells(open_scene, network, plan, decision, read_options)) as cells:
        for cell in join_cells(cells, plan.width):
            yield Rows(cell.top, cell.layers[MapLayer.CLASSES][0])
            progress(ProgressEvent("Predicting", cell.bottom * plan.width, plan.height * plan.width, "px"))


def rows_to_repeat(plan: Plan, first_row: int) -> int:
    """Return how many rows of windows above ``first_row`` must be run again to go on there as from the top.

    The overlap that a row leaves for the next one is free of what it took from the row above, unless the next one
    begins within that stretch; only the last row may, since it snaps to the edge.
    """
    if first_row < 2:
        return first_row
    step = plan.row_starts[first_row] - plan.row_starts[first_row - 1]
    return 1 if step >= plan.overlap[0] else 2


def join_cells(cells: Iterable[Cell], width: int = _JOINED) -> Iterator[Cell]:
    """Join cells side by side until they are ``width`` columns wide or end their row: disks like long lines."""
    joined: list[Cell] = []
    columns = 0
    for cell in cells:
        joined.append(cell)
        columns += cell.layers[MapLayer.CLASSES].shape[2]
        if columns >= width or cell.ends_row:
            layers = {layer: np.concatenate([c.layers[layer] for c in joined], axis=2) for layer in cell.layers}
            yield replace(joined[0], layers=layers, ends_row=cell.ends_row)
            joined, columns = [], 0


class _Forward:
    """One forward pass, in one of the streams."""

    def __init__(self, network: Classifier, plan: Plan, watch: Stopwatch) -> None:
        self._network = network
        self._plan = plan
        self._watch = watch
        self._here = threading.local()

    def begin(self) -> None:
        """Prepare a thread: torch keeps the number of its threads, and its current stream on a GPU, per thread."""
        torch.set_num_threads(self._plan.threads)
        if self._network.device.type == "cuda":
            # With a stream for each thread, one batch is copied while another one is computed.
            self._here.stream = torch.cuda.Stream(self._network.device)
            torch.cuda.set_stream(self._here.stream)

    def __call__(self, batch: WindowBatch) -> tuple[WindowBatch, Tensor | None]:
        if batch.images is None:
            return batch, None
        count = len(batch.images)
        images, valid = self._filled(batch)
        with self._watch.time(Stage.TRANSFER):
            uploaded = self._network.upload(images, valid)
            self._wait()
        with self._watch.time(Stage.FORWARD):
            probabilities = self._network.classify(*uploaded)[:count]
            sums = probabilities[:, 0].sum(dim=(1, 2))  # NaN where any pixel is: checking each would take longer
            self._wait()
            if not sums.isfinite().all():
                _check_finite(batch, probabilities)
        if probabilities.is_cuda:
            # Blending reads it in the default stream; the memory must not be reused before that is done.
            probabilities.record_stream(torch.cuda.default_stream(self._network.device))
        return batch, probabilities

    def _filled(self, batch: WindowBatch) -> tuple[np.ndarray, np.ndarray]:
        """Return images and valid pixels of a full batch: kernels may round differently for another size."""
        assert batch.images is not None, "only batches with images are run"
        assert batch.seen is not None, "images come with it"
        count = len(batch.images)
        if count == self._plan.batch_size:
            return batch.images, batch.seen
        fill = np.arange(self._plan.batch_size) % count
        return batch.images[fill], batch.seen[fill]

    def _wait(self) -> None:
        """Wait for this thread's stream; the others go on."""
        if self._network.device.type == "cuda":
            self._here.stream.synchronize()


def _check_finite(batch: WindowBatch, probabilities: Tensor) -> None:
    """Refuse NaN at a valid pixel: it would be read as the first class."""
    found = first_not_finite(probabilities, batch.seen)
    if found is None:
        return
    number, row, column = found
    window = list(compress(batch.windows, batch.holding))[number]
    top, left = int(window.row_off), int(window.col_off)
    raise not_finite(
        f"row {top + row}, column {left + column} of the scene, "
        f"in the window of {window.width} x {window.height} px at row {top}, column {left}"
    )


def _unbatch(passes: Iterable[tuple[WindowBatch, Tensor | None]]) -> Iterator[tuple[np.ndarray, Tensor | None]]:
    """Yield the valid pixels and the probabilities of each window."""
    for batch, probabilities in passes:
        results = iter(() if probabilities is None else probabilities)
        for valid, holds in zip(batch.valid, batch.holding, strict=True):
            yield valid, next(results) if holds else None
