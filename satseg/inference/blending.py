"""Blend overlapping windows into finished rows, keeping no more than the overlaps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from satseg.classes import IGNORE_INDEX
from satseg.records import Plan, Rows

if TYPE_CHECKING:
    from torch import Tensor


class Register:
    """Take class probabilities window by window, in row-major order, and give back finished rows of classes.

    Where a window overlaps the one before it, the two are cross-faded over ``plan.overlap`` pixels:
    ``(1 - u) * before + u * new``, with ``u`` rising linearly and strictly between 0 and 1; beyond the fade the new
    window counts alone. Along each axis the result is a weighted mean whose positive weights sum to 1, flat at the
    borders of the scene. So only the faded stretch has to be kept: to the right of the current window, and below
    the current row of windows.

    Args:
        plan: Windows of the scene.
        num_classes: Channels of the probabilities.
        device: Where the probabilities are; blending stays there, and only classes leave it.
        with_confidence: Whether rows carry the probability of their class.
    """

    def __init__(self, plan: Plan, num_classes: int, device: torch.device, *, with_confidence: bool = False) -> None:
        self._plan = plan
        self._rise_down = _rise(plan.overlap[0], device)[:, None]  # (o, 1)
        self._rise_right = _rise(plan.overlap[1], device)  # (o,)
        self._below = torch.zeros(num_classes, plan.overlap[0], plan.width, device=device)
        self._right: Tensor | None = None
        self._windows = window_positions(plan)
        self._classes = np.empty((0, plan.width), dtype=np.uint8)
        self._confidence = np.empty((0, plan.width), dtype=np.uint8) if with_confidence else None

    @torch.inference_mode()
    def add(self, probabilities: Tensor | None, valid: np.ndarray) -> Rows | None:
        """Take the next window.

        Args:
            probabilities: (K, H, W) float32 in 0..1, summing to 1 over K; None for a window without valid pixels.
                It is overwritten.
            valid: (H, W) bool; what is not valid becomes 255.

        Returns:
            The rows above the next row of windows, when this window completes them.
        """
        row, column = next(self._windows)
        top, bottom = _span(self._plan.row_starts, row, self._plan.height)
        left, right = _span(self._plan.column_starts, column, self._plan.width)
        if column == 0:
            self._begin_rows(bottom - top)
        if probabilities is None:
            probabilities = torch.zeros(len(self._below), *self._plan.window, device=self._below.device)
        finished = self._fade_down(self._fade_right(probabilities, right - left), row, bottom - top, left, right)
        inside = valid[: bottom - top, : right - left]
        self._store(finished, inside, left, right)
        return Rows(top, self._classes, self._confidence) if right == self._plan.width else None

    def _begin_rows(self, count: int) -> None:
        self._right = None
        self._classes = np.empty((count, self._plan.width), dtype=np.uint8)
        if self._confidence is not None:
            self._confidence = np.empty_like(self._classes)

    def _fade_right(self, probabilities: Tensor, step: int) -> Tensor:
        """Blend with what the window to the left left here; return the columns that are complete."""
        overlap = self._plan.overlap[1]
        if self._right is not None:
            _fade(probabilities[:, :, :overlap], self._right, self._rise_right)
        self._right = probabilities[:, :, step : step + overlap]
        return probabilities[:, :, :step]

    def _fade_down(self, cell: Tensor, row: int, step: int, left: int, right: int) -> Tensor:
        """Blend with what the row of windows above left here; return the rows that are complete."""
        overlap = self._plan.overlap[0]
        if row > 0:
            _fade(cell[:, :overlap], self._below[:, :, left:right], self._rise_down)
        if row + 1 < len(self._plan.row_starts):
            self._below[:, :, left:right] = cell[:, step : step + overlap]
        return cell[:, :step]

    def _store(self, finished: Tensor, valid: np.ndarray, left: int, right: int) -> None:
        confidence, classes = finished.max(dim=0)
        self._classes[:, left:right] = np.where(valid, classes.to(torch.uint8).cpu().numpy(), IGNORE_INDEX)
        if self._confidence is not None:
            scaled = (confidence * 255).round().to(torch.uint8).cpu().numpy()
            self._confidence[:, left:right] = np.where(valid, scaled, 0)


def window_positions(plan: Plan) -> Iterator[tuple[int, int]]:
    """Yield (row, column) of each window in the plan's grid of windows, in the order in which they are blended."""
    for row in range(len(plan.row_starts)):
        for column in range(len(plan.column_starts)):
            yield row, column


def _span(starts: tuple[int, ...], index: int, length: int) -> tuple[int, int]:
    """Return where a window begins and where the next one, or the scene's end, does."""
    return starts[index], starts[index + 1] if index + 1 < len(starts) else length


def _rise(overlap: int, device: torch.device) -> Tensor:
    return (torch.arange(overlap, device=device, dtype=torch.float32) + 0.5) / max(overlap, 1)


def _fade(new: Tensor, before: Tensor, rise: Tensor) -> None:
    """Cross-fade in place: ``rise`` is the share of what is new."""
    new.mul_(rise).add_(before * (1 - rise))
