"""Decide how a scene is cut into windows before the first one is read."""

from __future__ import annotations

from satseg.errors import UsageError
from satseg.raster.windows import window_starts
from satseg.records import Plan

SMALLEST_WINDOW = 32
_ALIGN = 32


def make_plan(height: int, width: int, *, window: int = 512, overlap: int | None = None, batch_size: int = 4) -> Plan:
    """Cut a scene into windows.

    A scene smaller than a window gets a smaller window, the next multiple of 32 px, and is padded to it.

    Args:
        height: Rows of the scene.
        width: Columns of the scene.
        window: Side of a window in pixels.
        overlap: Pixels over which neighbours are blended; None is an eighth of the window, with which 1.31 pixels are
            forwarded per pixel of a large scene.
        batch_size: Windows per forward pass.

    Raises:
        UsageError: The window is too small, the overlap does not fit it, or the batch is empty.
    """
    if window < SMALLEST_WINDOW:
        raise UsageError(f"A window of {window} px is too small; networks take {SMALLEST_WINDOW} px and more.")
    if overlap is None:
        overlap = window // 8
    if not 0 <= overlap <= window // 2:
        raise UsageError(f"An overlap of {overlap} px does not fit a window of {window} px; at most half of it does.")
    if batch_size < 1:
        raise UsageError(f"A batch of {batch_size} windows is none.")
    rows, columns = min(window, _aligned(height)), min(window, _aligned(width))
    row_overlap, column_overlap = min(overlap, rows // 2), min(overlap, columns // 2)
    return Plan(
        height=height,
        width=width,
        window=(rows, columns),
        overlap=(row_overlap, column_overlap),
        batch_size=batch_size,
        row_starts=tuple(window_starts(height, rows, rows - row_overlap)),
        column_starts=tuple(window_starts(width, columns, columns - column_overlap)),
    )


def _aligned(length: int) -> int:
    return -(-length // _ALIGN) * _ALIGN
