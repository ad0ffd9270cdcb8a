"""Read the windows of a scene ahead, and group them to the batches of a plan."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from rasterio.windows import Window

from satseg.files.spill import SpillStore
from satseg.inference.plan import window_positions
from satseg.inference.timing import Stage, Stopwatch
from satseg.raster.block_reader import OutOfRangeCallback, ReadFailure, read_windows
from satseg.raster.scene import Scene
from satseg.raster.values import ValueRange
from satseg.records import Plan

DEFAULT_BUDGET = 12 * 2**20
"""Bytes of rows that are kept in memory by default. What is spilled stays in the system's cache."""


class Area(Protocol):
    """A part of the scene to which a map is confined."""

    def touches(self, window: Window) -> bool:
        """Tell whether a window meets it."""
        ...

    def inside(self, window: Window) -> np.ndarray:
        """Return (H, W) bool: pixels of the window that lie in it."""
        ...


@dataclass(frozen=True)
class ReadOptions:
    """How a scene is read while it is mapped; without influence on the map of a scene that can be read.

    Args:
        readers: Threads that read and decode.
        budget: Bytes of rows to keep in memory; more goes to ``scratch``.
        scratch: Folder for what does not fit.
        area: Where to map; None is everywhere.
        on_failure: Called for parts that cannot be read, which become nodata; None raises the error.
        values: Values that count as measured; pixels with others become nodata. None takes all but what no band can
            hold.
        on_out_of_range: Called with those others, in a reading thread.
        stopwatch: Takes the time of each stage.
    """

    scratch: Path
    readers: int = 1
    budget: int = DEFAULT_BUDGET
    area: Area | None = None
    on_failure: ReadFailure | None = None
    values: ValueRange | None = None
    on_out_of_range: OutOfRangeCallback | None = None
    stopwatch: Stopwatch | None = None


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """Windows that go through the network together, in the order of the plan.

    Args:
        images: (N, C, H, W) raw values of the windows that hold pixels to map; None where none does.
        seen: (N, H, W) bool, their valid pixels inside and outside of the area, whose outline does not change the map.
        valid: (H, W) bool of each window of the batch: pixels to map.
        windows: Part of each window of the batch that lies in the scene.
    """

    images: np.ndarray | None
    seen: np.ndarray | None
    valid: list[np.ndarray]
    windows: list[Window]

    @property
    def holding(self) -> list[bool]:
        """Whether each window holds pixels to map."""
        return [bool(valid.any()) for valid in self.valid]


def read_batches(
    open_scene: Callable[[], Scene],
    plan: Plan,
    read_options: ReadOptions,
    store: SpillStore,
    batches: range,
    *,
    watch: Stopwatch,
) -> Generator[WindowBatch, None, None]:
    """Yield batches of a plan, given by the numbers of their first windows."""
    area = read_options.area

    def wanted() -> Iterator[tuple[Window, bool]]:
        for window in islice(_windows(plan), batches.start, batches.start + len(batches) * plan.batch_size):
            yield window, area is None or area.touches(window)

    pixels = read_windows(
        open_scene,
        lambda: (window for window, touched in wanted() if touched),
        store=store,
        readers=read_options.readers,
        on_failure=read_options.on_failure,
        values=read_options.values,
        on_out_of_range=read_options.on_out_of_range,
    )
    with closing(pixels):
        windows = wanted()
        while group := list(islice(windows, plan.batch_size)):
            images, seen, masks = [], [], []
            with watch.time(Stage.READ):
                for window, touched in group:
                    height, width = int(window.height), int(window.width)
                    valid = np.zeros((height, width), dtype=bool)
                    missing = ((0, plan.window[0] - height), (0, plan.window[1] - width))
                    if touched:
                        read = next(pixels)
                        holds = np.ones_like(valid) if read.valid is None else read.valid
                        valid = holds if area is None else holds & area.inside(window)
                        if valid.any():
                            images.append(_reflect(read.bands, ((0, 0), *missing)))
                            seen.append(_reflect(holds, missing))
                    masks.append(_reflect(valid, missing))
            yield WindowBatch(
                np.stack(images) if images else None,
                np.stack(seen) if seen else None,
                masks,
                [window for window, _ in group],
            )


def _windows(plan: Plan) -> Iterator[Window]:
    """Yield the part of each window that lies in the scene."""
    for row, column in window_positions(plan):
        top, left = plan.row_starts[row], plan.column_starts[column]
        yield Window(left, top, min(plan.window[1], plan.width - left), min(plan.window[0], plan.height - top))


def _reflect(array: np.ndarray, missing: tuple[tuple[int, int], ...]) -> np.ndarray:
    if not any(after for _, after in missing):
        return array
    return np.pad(array, missing, mode="reflect")
