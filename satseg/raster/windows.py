"""Windows over a pixel grid."""

from __future__ import annotations

from rasterio.windows import Window

from satseg.errors import UsageError


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
