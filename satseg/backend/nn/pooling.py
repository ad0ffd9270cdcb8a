"""Means over grids of a given number of cells, of maps of any size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AdaptiveMean(nn.Module):
    """As ``nn.AdaptiveAvgPool2d``, which exports to ONNX for a single cell alone.

    Args:
        cells: Rows and columns of the grid.
    """

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, cells, cells) for (N, C, H, W)."""
        return adaptive_mean(x, self.cells, self.cells)


def adaptive_mean(x: Tensor, rows: int, columns: int) -> Tensor:
    """Average over the cells of a grid, which overlap where the sides of the map are no multiples of their numbers.

    Args:
        x: (N, C, H, W).
        rows: Rows of the grid.
        columns: Columns of the grid.

    Returns:
        (N, C, rows, columns).
    """
    if not torch.compiler.is_exporting():
        return F.adaptive_avg_pool2d(x, (rows, columns))
    height, width = x.shape[-2:]
    return _shares(rows, height, x) @ x @ _shares(columns, width, x).T


def _shares(cells: int, side: int, like: Tensor) -> Tensor:
    """Return (cells, side): shares of pixels in the means of cells; cell i begins at floor(i * side / cells)."""
    numbers = torch.arange(cells, device=like.device)[:, None]
    count, pixels = torch.full_like(numbers, cells), torch.full_like(numbers, side)
    first = torch.div(numbers * pixels, count, rounding_mode="floor")
    behind = torch.div((numbers + 1) * pixels + count - 1, count, rounding_mode="floor")
    places = torch.arange(side, device=like.device)
    inside = (places >= first) & (places < behind)
    return inside.to(like.dtype) / (behind - first).to(like.dtype)
