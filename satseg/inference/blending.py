"""Blend overlapping windows into finished cells, keeping no more than the overlaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from satseg.files.spill import SpillStore
from satseg.inference.plan import span, window_positions
from satseg.records import Plan

if TYPE_CHECKING:
    from torch import Tensor


_DEVICE_HALOS = 2**30


@dataclass(frozen=True, eq=False)
class Blended:
    """The part of a window that no later window touches, blended with all earlier ones.

    Args:
        top: Row of the scene where it begins.
        left: Column where it begins.
        probabilities: (K, h, w) float32, summing to 1 over K; what the network says of objects follows, if anything.
        valid: (h, w) bool.
        disagreement: (h, w) float32 in 0..1, or None where it is not measured.
        ends_row: Whether it is the last of its row of windows.
        below: (K, overlap, w) float32 that the row of windows below a block is to be blended with; None elsewhere.
    """

    top: int
    left: int
    probabilities: Tensor
    valid: np.ndarray
    disagreement: Tensor | None
    ends_row: bool
    below: Tensor | None = None


class WindowBlender:
    """Blend class probabilities window by window, in row-major order, and return the finished part of each.

    Where a window overlaps the one before it, the two are cross-faded over ``plan.overlap`` pixels:
    ``(1 - u) * before + u * new``, with ``u`` rising linearly and strictly between 0 and 1; beyond the fade the new
    window counts alone. Along each axis the result is a weighted mean whose positive weights sum to 1, flat at the
    borders of the scene. So only the faded stretch has to be kept: to the right of the current window, and below
    the current row of windows.

    Args:
        plan: Windows of the scene.
        device: Where the probabilities are; blending stays there.
        halos: Stores the overlaps below a row of windows; those of wide scenes are spilled to disk.
        first_row: Row of windows to begin with. Its upper overlap is not blended, as if the scene began there.
        end_row: Row of windows before which a block ends: the overlap below it is returned instead of stored. None is
            the end of the scene.
        with_disagreement: Whether to measure how much overlapping windows differ, in the probabilities of classes.
        classes: Number of classes; None if there is nothing else.
        shares: Planes that are cross-faded, the first ones; None is all. Offsets follow, which must not be mixed:
            each pixel takes those of one window, and changes to the new one in the middle of the fade, so that they
            come from the window whose centre is nearest. The last window along each axis, which snaps to the edge,
            overlaps further than it fades.
    """

    def __init__(
        self,
        plan: Plan,
        device: torch.device,
        halos: SpillStore,
        *,
        first_row: int = 0,
        end_row: int | None = None,
        with_disagreement: bool = False,
        classes: int | None = None,
        shares: int | None = None,
    ) -> None:
        self._plan = plan
        self._counts = classes, shares
        self._device = device
        self._halos = _HaloStore(halos, device)
        self._first_row = first_row
        self._end_row = end_row
        self._with_disagreement = with_disagreement
        self._ramp_down = _ramp(plan.overlap[0], device)[:, None]  # (o, 1)
        self._ramp_right = _ramp(plan.overlap[1], device)  # (o,)
        self._right: Tensor | None = None
        self._windows = window_positions(plan, first_row=first_row)

    @torch.inference_mode()
    def add(self, probabilities: Tensor, valid: np.ndarray) -> Blended:
        """Take the next window.

        Args:
            probabilities: (K, H, W) float32 in 0..1, summing to 1 over K, or zero throughout for a window without
                valid pixels. It is overwritten.
            valid: (H, W) bool.

        Returns:
            The window's finished part: up to where the next windows to the right and below begin.
        """
        row, column = next(self._windows)
        top, bottom = span(self._plan.row_starts, row, self._plan.height)
        left, right = span(self._plan.column_starts, column, self._plan.width)
        if column == 0:
            self._right = None
        disagreement = torch.zeros(bottom - top, right - left, device=self._device) if self._with_disagreement else None
        cell = self._blend_left(probabilities, right - left, disagreement)
        self._blend_above(cell, row, column, disagreement)
        below = self._store_below(cell, row, column, bottom - top)
        return Blended(
            top=top,
            left=left,
            probabilities=cell[:, : bottom - top],
            valid=valid[: bottom - top, : right - left],
            disagreement=disagreement,
            ends_row=right == self._plan.width,
            below=below,
        )

    def _blend_left(self, probabilities: Tensor, step: int, disagreement: Tensor | None) -> Tensor:
        """Blend with the overlap of the window to the left; return the columns that are complete."""
        overlap = self._plan.overlap[1]
        if self._right is not None and overlap:
            _cross_fade(probabilities[:, :, :overlap], self._right, self._ramp_right, disagreement, self._counts)
        # A copy: a view would keep the whole window.
        self._right = probabilities[:, :, step : step + overlap].clone()
        return probabilities[:, :, :step]

    def _blend_above(self, cell: Tensor, row: int, column: int, disagreement: Tensor | None) -> None:
        """Blend with the overlap of the row of windows above."""
        overlap = self._plan.overlap[0]
        if row > self._first_row and overlap:
            _cross_fade(cell[:, :overlap], self._halos.take(column), self._ramp_down, disagreement, self._counts)

    def _store_below(self, cell: Tensor, row: int, column: int, step: int) -> Tensor | None:
        """Store the overlap with the row of windows below, or return it at the end of a block."""
        overlap = self._plan.overlap[0]
        if row + 1 == len(self._plan.row_starts) or not overlap:
            return None
        below = cell[:, step : step + overlap]
        if row + 1 == self._end_row:
            return below
        self._halos.put(column, below)
        return None


class BlockSeam:
    """Blend the first row of windows of a block with the overlap of the block above, as one blender would have.

    Args:
        plan: Windows of the scene.
        halos: Stores the overlaps below blocks.
        classes: Number of classes, as for :class:`WindowBlender`.
        shares: Planes that are cross-faded, as there.
    """

    def __init__(self, plan: Plan, halos: SpillStore, *, classes: int | None = None, shares: int | None = None) -> None:
        self._counts = classes, shares
        self._halos = _HaloStore(halos, torch.device("cpu"))
        self._ramp = _ramp(plan.overlap[0], torch.device("cpu"))[:, None]

    def leave(self, column: int, below: Tensor) -> None:
        """Store the overlap below a window of a block's last row: (K, overlap, w) float32."""
        self._halos.put(column, below)

    @torch.inference_mode()
    def close(self, column: int, upper: Blended) -> None:
        """Blend the upper overlap of a window of a block's first row, in place."""
        _cross_fade(upper.probabilities, self._halos.take(column), self._ramp, upper.disagreement, self._counts)


class _HaloStore:
    """Overlaps below a row of windows, by column: on an accelerator while there is memory, else in the spill store."""

    def __init__(self, store: SpillStore, device: torch.device) -> None:
        self._store = store
        self._device = device
        self._room = 0 if device.type == "cpu" else _DEVICE_HALOS
        self._here: dict[int, Tensor] = {}

    def put(self, column: int, halo: Tensor) -> None:
        if halo.nbytes <= self._room:
            self._here[column] = halo.clone()
            self._room -= halo.nbytes
        else:
            self._store.put(column, halo.contiguous().cpu().numpy())

    def take(self, column: int) -> Tensor:
        if column in self._here:
            halo = self._here.pop(column)
            self._room += halo.nbytes
            return halo
        return torch.from_numpy(self._store.take(column)).to(self._device)


def _ramp(overlap: int, device: torch.device) -> Tensor:
    # Computed on the processor, so that it is the same number for all devices.
    return ((torch.arange(overlap, dtype=torch.float32) + 0.5) / max(overlap, 1)).to(device)


def _cross_fade(
    new: Tensor,
    before: Tensor,
    ramp: Tensor,
    disagreement: Tensor | None,
    counts: tuple[int | None, int | None],
) -> None:
    """Cross-fade in place, where ``ramp`` is the weight of ``new``; measure what differs into ``disagreement``.

    ``counts`` are the numbers of classes and of shares; what is no share changes over where the weight is a half.
    """
    classes, shares = counts
    if disagreement is not None:
        rows, columns = (min(a, b) for a, b in zip(disagreement.shape, new.shape[1:], strict=True))
        here = disagreement[:rows, :columns]
        # Class by class: the order in which a reduction adds depends on shapes and devices.
        apart = torch.zeros_like(here)
        for one, other in zip(new[:classes], before[:classes], strict=True):
            apart += (one[:rows, :columns] - other[:rows, :columns]).abs()
        torch.maximum(here, apart / 2, out=here)
    new[:shares].mul_(ramp).add_(before[:shares] * (1 - ramp))
    if shares is not None:
        new[shares:] = torch.where(ramp < 0.5, before[shares:], new[shares:])
