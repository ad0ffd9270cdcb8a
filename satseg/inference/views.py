"""Views of a window, flipped, rotated and resized, and the inverse transforms of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from satseg.errors import UsageError
from satseg.inference.plan import SMALLEST_WINDOW

_ROWS, _COLUMNS = -2, -1
FINEST, COARSEST = 16.0, 1 / 16
"""Factors by which windows may be resized, at most and at least."""


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to lay a square down: flipped along some axes, then transposed or not.

    Args:
        flipped: Axes to flip: -2 for rows, -1 for columns.
        transposed: Whether rows and columns change places.
    """

    flipped: tuple[int, ...] = ()
    transposed: bool = False

    def turn(self, images: Tensor) -> Tensor:
        """Lay (..., H, W) down this way; (..., W, H) where transposed."""
        turned = images.flip(self.flipped) if self.flipped else images
        return turned.transpose(_ROWS, _COLUMNS) if self.transposed else turned

    def turn_back(self, images: Tensor) -> Tensor:
        """Undo :meth:`turn`, pixel by pixel."""
        straight = images.transpose(_ROWS, _COLUMNS) if self.transposed else images
        return straight.flip(self.flipped) if self.flipped else straight


_FLIPS = ((), (_COLUMNS,), (_ROWS,), (_ROWS, _COLUMNS))
ORIENTATIONS = {
    "none": (Orientation(),),
    "flips": tuple(Orientation(flipped) for flipped in _FLIPS),
    "d4": tuple(Orientation(flipped, transposed) for transposed in (False, True) for flipped in _FLIPS),
}
"""Orientations by the name of the test-time augmentation: as it is; four flips; the eight symmetries of a square."""


@dataclass(frozen=True)
class Views:
    """Orientations and scales in which a network sees each window; the mean of all views counts.

    Args:
        tta: Test-time augmentation, a key of :data:`ORIENTATIONS`.
        scales: Factors by which windows are resized, besides ``resample``.
        resample: Size of a scene's pixel over that of the network's training, along rows and columns: over 1, windows
            are enlarged to what the network knows.

    Raises:
        UsageError: There is no such augmentation, no scale at all, or a factor is not between 1/16 and 16.
    """

    tta: str = "none"
    scales: tuple[float, ...] = (1.0,)
    resample: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if self.tta not in ORIENTATIONS:
            raise UsageError(
                f"The test-time augmentation {self.tta!r} is unknown.", hint=f"Choose from {', '.join(ORIENTATIONS)}."
            )
        if not self.scales:
            raise UsageError("No scale is given.", hint="Scales are factors, such as `scales='0.75,1,1.25'`.")
        for factor in (*self.scales, *self.resample):
            if not COARSEST <= factor <= FINEST:  # refuses NaN too
                raise UsageError(f"Windows cannot be resized by a factor of {factor:g}; factors range from 1/16 to 16.")

    @property
    def orientations(self) -> tuple[Orientation, ...]:
        """How each window is turned."""
        return ORIENTATIONS[self.tta]

    def window(self, side: int) -> tuple[int, int]:
        """Return the rows and columns of a scene that a network sees as ``side`` pixels at scale 1, or hardly less.

        Never as more: a network that takes windows of one size would cut them into four.
        """
        rows, columns = (max(SMALLEST_WINDOW, _most(side, factor)) for factor in self.resample)
        return rows, columns

    def span(self, pixels: int) -> tuple[int, int]:
        """Return the rows and columns of a scene that a network sees as that many pixels, at the coarsest scale."""
        rows, columns = (math.ceil(pixels / (factor * min(self.scales))) for factor in self.resample)
        return rows, columns

    def sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return rows and columns of a window at each scale, never less than the 32 px that every network takes."""
        rows, columns = height * self.resample[0], width * self.resample[1]
        return [
            (max(SMALLEST_WINDOW, round(rows * scale)), max(SMALLEST_WINDOW, round(columns * scale)))
            for scale in self.scales
        ]


def _most(side: int, factor: float) -> int:
    """Return how many pixels become ``side`` pixels at most when they are resized."""
    near = round(side / factor)
    return near if round(near * factor) <= side else near - 1


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (N, C, H, W) bilinearly to ``size``; what shrinks is averaged over all that a new pixel covers.

    Each result is a mean with weights that sum to 1, so probabilities stay probabilities.
    """
    if tuple(images.shape[-2:]) == size:
        return images
    shrinks = any(new < old for new, old in zip(size, images.shape[-2:], strict=True))
    return F.interpolate(images, size=size, mode="bilinear", antialias=shrinks)


def mean(tensors: Iterable[Tensor], planes: int | None = None) -> Tensor:
    """Average tensors of one shape as they come; the first one is overwritten, and is the mean where it is alone.

    Args:
        tensors: (N, K, H, W) each.
        planes: How many of K are averaged, the first ones; the others remain those of the first tensor. None is all.
    """
    rest = iter(tensors)
    found, count = next(rest), 1
    total = found[:, :planes]
    for tensor in rest:
        total, count = total.add_(tensor[:, :planes]), count + 1
    if count > 1:
        total.div_(count)
    return found
