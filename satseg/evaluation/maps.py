"""Compare class maps with labels, strip by strip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX
from satseg.errors import SceneError
from satseg.evaluation.confusion import ConfusionMatrix
from satseg.raster.labels import Labels
from satseg.raster.scene import Scene
from satseg.raster.windows import strips
from satseg.records import Progress, ProgressEvent, Rows, no_progress

STRIP_PIXELS = 2**22


def count_rows(confusion: ConfusionMatrix, rows: Iterable[Rows], labels: Labels) -> None:
    """Count the pixels of a class map against labels on the same grid.

    Args:
        confusion: What counts.
        rows: Finished strips of the map, in any order.
        labels: Labels on the grid of the map.

    Raises:
        LabelError: The labels cannot be read, or an id is no class.
    """
    for strip in rows:
        height, width = strip.classes.shape
        confusion.add(labels.read(Window(0, strip.offset, width, height)), strip.classes)


def read_rows(raster: Scene, *, progress: Progress = no_progress) -> Iterator[Rows]:
    """Read a class raster strip by strip, from the top.

    Args:
        raster: Raster of one band of class ids, opened with ``expand_palette=False``.
        progress: Told after every strip, in pixels.

    Yields:
        Strips of at most some four million pixels; nodata becomes 255.

    Raises:
        SceneError: It has several bands, holds no integers, or values outside 0..255.
    """
    info = raster.info
    if len(info.bands) != 1 or np.dtype(info.bands.dtype).kind not in "ui":
        raise SceneError(
            f"{info.path} is no class raster: it holds {len(info.bands)} bands of {info.bands.dtype}, not one of ids."
        )
    done = 0
    for window in strips(info.height, info.width, max(1, STRIP_PIXELS // info.width)):
        bands, valid = raster.read(window)
        ids = np.where(valid, bands[0].astype(np.int64), IGNORE_INDEX)
        if ids.min() < 0 or ids.max() > IGNORE_INDEX:
            raise SceneError(f"{info.path} is no class raster: it holds the values {ids.min()} to {ids.max()}.")
        yield Rows(int(window.row_off), ids.astype(np.uint8))
        done += ids.size
        progress(ProgressEvent("Evaluating", done, info.pixels, "px"))
