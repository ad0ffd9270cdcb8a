"""Decide how a scene is cut into windows before the first one is read."""

from __future__ import annotations

import math
from collections.abc import Iterator

from satseg.errors import UsageError
from satseg.raster.windows import window_starts
from satseg.records import Plan
from satseg.results import Size

SMALLEST_WINDOW = 32
LARGEST_SHARE = 0.139
"""Largest overlap that is taken by itself, as a share of the window: 1.35 pixels are forwarded per pixel of a scene."""
_SLACK = 0.75  # share of a held overlap that does, if it saves a row or column of windows
_ALIGN = 32
_NEAR = 3  # sizes tried above and below the given one, each _ALIGN apart


def make_plan(
    height: int,
    width: int,
    *,
    window: int | tuple[int, int] = 512,
    overlap: int | tuple[int, int] | None = None,
    batch_size: int = 4,
    streams: int = 1,
    threads: int = 1,
    align: int = 1,
) -> Plan:
    """Cut a scene into windows.

    A scene smaller than a window gets a smaller window, the next multiple of 32 px, and is padded to it. The last
    window ends at the scene's edge, or less than ``align`` pixels beyond it.

    Args:
        height: Rows of the scene.
        width: Columns of the scene.
        window: Side of a window in pixels, or its rows and columns.
        overlap: Pixels over which neighbours are blended, or along rows and along columns; None is 0.139 of the window.
        batch_size: Windows per forward pass.
        streams: Batches that run side by side.
        threads: Processor threads of each stream.
        align: What windows begin at multiples of: the stride of the network. Then a pixel lies at the same place of its
            features' grid in all windows; if not, more pixels depend on the plan (measured: 1.4 to 4 times).

    Raises:
        UsageError: The window is too small, the overlap does not fit it, or the batch is empty.
    """
    if batch_size < 1:
        raise UsageError(f"A batch needs at least 1 window, not {batch_size}.")
    sides, overlaps = _pair(window), (None, None) if overlap is None else _pair(overlap)
    rows, row_overlap = _fit_scene(height, sides[0], overlaps[0])
    columns, column_overlap = _fit_scene(width, sides[1], overlaps[1])
    return Plan(
        height=height,
        width=width,
        window=Size(rows, columns),
        overlap=Size(row_overlap, column_overlap),
        batch_size=batch_size,
        row_starts=_starts(height, rows, row_overlap, align),
        column_starts=_starts(width, columns, column_overlap, align),
        streams=streams,
        threads=threads,
    )


def wanted_overlap(window: int, receptive_field: int | None) -> int:
    """Return the overlap to take for a window: what a network sees around a pixel, at most 0.139 of the window.

    Args:
        window: Side of the window in pixels.
        receptive_field: Side of the effective receptive field in pixels, or None where it is unknown.
    """
    most = int(LARGEST_SHARE * window)
    return most if receptive_field is None else min(receptive_field, most)


def fit_window(length: int, window: int, overlap: int, *, align: int = 1, resize: bool = True) -> tuple[int, int]:
    """Choose a window near a given size, and its overlap, so that few pixels along an axis are forwarded twice.

    Windows of a fixed size rarely divide a scene: the last one snaps back and forwards a stretch again. A slightly
    larger or smaller window avoids most of that, and so does a little less of an overlap that was held to 0.139 of the
    window anyway: down to three quarters. Where there is room for it, the overlap is wider than wanted, up to 0.139.

    Args:
        length: Pixels of the scene along the axis.
        window: Wanted size of a window; the answer is at most three times 32 px, or a quarter of it, away.
        overlap: Wanted overlap.
        align: What windows begin at multiples of, as for :func:`make_plan`.
        resize: Whether the window may be of another size than wanted.

    Returns:
        Window and overlap.
    """
    if length <= window:
        return window, min(overlap, window // 2)
    held = overlap >= int(LARGEST_SHARE * window)
    near = _NEAR if resize else 0
    sizes = [window + i * _ALIGN for i in range(-near, near + 1) if abs(i) * _ALIGN <= window // 4]
    least = {size: math.ceil(_SLACK * LARGEST_SHARE * size) if held else min(overlap, size // 2) for size in sizes}
    fits = [_fit(length, size, least[size], align) for size in sizes]
    _, size, widest = min(fits, key=lambda fit: (fit[0] * fit[1], abs(fit[1] - window)))
    return size, min(widest, max(least[size], int(LARGEST_SHARE * size)), size // 2)


def _fit(length: int, size: int, least: int, align: int) -> tuple[int, int, int]:
    """Return windows needed, their size, and the overlap that spreads them evenly."""
    if length <= size:
        return 1, size, 0
    room = _up(length - size, align)
    steps = math.ceil(room / _step(size, least, align))
    return steps + 1, size, size - _up(math.ceil(room / steps), align)


def _starts(length: int, size: int, overlap: int, align: int) -> tuple[int, ...]:
    beyond = (size - length) % align if length > size else 0
    return tuple(window_starts(length + beyond, size, _step(size, overlap, align)))


def _step(size: int, overlap: int, align: int) -> int:
    """Return the largest aligned step that leaves an overlap; windows too small for one are not aligned."""
    return (size - overlap) // align * align or size - overlap


def _up(length: int, align: int) -> int:
    return -(-length // align) * align


def window_positions(plan: Plan, *, first_row: int = 0) -> Iterator[tuple[int, int]]:
    """Yield (row, column) of each window in the plan's grid of windows, in the order in which they are blended."""
    for row in range(first_row, len(plan.row_starts)):
        for column in range(len(plan.column_starts)):
            yield row, column


def span(starts: tuple[int, ...], index: int, length: int) -> tuple[int, int]:
    """Return where a window begins and where the next one, or the scene's end, does."""
    return starts[index], starts[index + 1] if index + 1 < len(starts) else length


def _fit_scene(length: int, window: int, overlap: int | None) -> tuple[int, int]:
    if window < SMALLEST_WINDOW:
        raise UsageError(f"A window of {window} px is too small; networks need {SMALLEST_WINDOW} px or more.")
    if overlap is None:
        overlap = wanted_overlap(window, None)
    if not 0 <= overlap <= window // 2:
        raise UsageError(f"An overlap of {overlap} px does not fit a window of {window} px: half of it is the most.")
    size = min(window, _up(length, _ALIGN))
    return size, min(overlap, size // 2)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
