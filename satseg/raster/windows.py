"""Windows over a pixel grid."""

from __future__ import annotations

from collections.abc import Iterator

from rasterio.windows import Window

from satseg.errors import UsageError
from satseg.records import SceneInfo

STRIP_PIXELS = 2**22
"""Approximate size of the strips in which rasters are read."""


def window_starts(length: int, size: int, step: int) -> list[int]:
    """Return the offsets at which windows of ``size`` cover ``length`` pixels.

    Starts are ``step`` apart; the last one is moved back so that its window ends at the edge. If ``length`` is at most
    ``size``, there is a single window at 0, which may extend beyond the edge.

    Raises:
        UsageError: ``size`` or ``step`` is not positive, or ``step`` exceeds ``size``.
    """
    if size < 1 or not 1 <= step <= size:
        raise UsageError(f"Windows of {size} px with a step of {step} px do not cover a raster.")
    if length <= size:
        return [0]
    return [*range(0, length - size, step), length - size]


def strips(height: int, width: int, rows: int) -> list[Window]:
    """Split a raster into full-width windows of at most ``rows`` rows, from the top."""
    return [Window(0, top, width, min(rows, height - top)) for top in range(0, height, rows)]


def block_strips(info: SceneInfo, block_rows: int = 1) -> list[Window]:
    """Split a raster along its blocks into full-width windows of some million pixels, from the top."""
    block = min(block_rows, info.height)
    rows = max(1, STRIP_PIXELS // (info.width * block)) * block
    if rows * info.width > 16 * STRIP_PIXELS:  # blocks as high as the raster
        rows = max(1, STRIP_PIXELS // info.width)
    return strips(info.height, info.width, rows)


def block_cells(info: SceneInfo, block_shape: tuple[int, int]) -> Iterator[Window]:
    """Split the strips of a raster along its blocks into windows of some million pixels, however wide it is."""
    across = max(1, min(block_shape[1], info.width))
    for strip in block_strips(info, block_shape[0]):
        height = int(strip.height)
        width = max(1, STRIP_PIXELS // (height * across)) * across
        for left in range(0, info.width, width):
            yield Window(left, strip.row_off, min(width, info.width - left), height)
