"""Windows over a grid of pixels. Pure arithmetic, no files."""

from __future__ import annotations

from rasterio.windows import Window

from satseg.errors import UsageError


def window_starts(length: int, size: int, step: int) -> list[int]:
    """Return the offsets at which windows of ``size`` cover ``length`` pixels.

    Starts are ``step`` apart; the last one snaps back so that its window ends at the edge. When ``length`` is at
    most ``size`` there is a single window at 0, which may reach beyond the edge.

    Raises:
        UsageError: ``size`` or ``step`` is not positive, or windows would leave gaps (``step`` over ``size``).
    """
    if size < 1 or not 1 <= step <= size:
        raise UsageError(f"Windows of {size} px cannot be {step} px apart.")
    if length <= size:
        return [0]
    return [*range(0, length - size, step), length - size]


def strips(height: int, width: int, rows: int) -> list[Window]:
    """Cut a raster into full-width windows of at most ``rows`` rows, from the top."""
    return [Window(0, top, width, min(rows, height - top)) for top in range(0, height, rows)]
