"""Dense conditional random field: pull class boundaries to the edges of the image.

Krähenbühl and Koltun: "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS 2011, as
DeepLab v1 and v2 (arXiv 1412.7062, 1606.00915) run it behind their networks. Every pixel draws its neighbours towards
its own class: strongly those of the same colour (appearance), and those right beside it of any colour
(smoothness). Here neighbours end at a radius. That makes the result of a pixel depend on what lies within iterations
times radius of it, so that a scene can be refined block by block: with a halo of that width it is the same as in one
piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from rasterio.windows import Window
from torch import Tensor

from satseg.errors import UsageError
from satseg.inference.blending import Blended
from satseg.raster.bands import Normaliser, upload
from satseg.records import BandStatistics

BLOCK = 512
_LEAST = 1 / 510  # half a step of probabilities in 8 bits: stored and exact ones are treated alike
_FAR = -30.0  # exponents end here: 1e-13 is as good as nothing, and no number becomes so small that it slows down

Place = tuple[slice, slice]


@dataclass(frozen=True)
class CRF:
    """The parameters.

    Weights, distances and iterations are those of DeepLab: 10 iterations, ``smoothness_weight`` 3 and
    ``smoothness_distance`` 3 in both papers; for the others, which both fit to their data, 4, 67 and 3 of 255 grey
    values, as published with DeepLab v2 for Pascal VOC. Grey values of photographs have a standard deviation of about
    57, hence 0.05. Kernels are normalised by their sums, so weights mean the same at any radius.

    Args:
        iterations: Mean-field updates.
        radius: How far neighbours reach, in pixels.
        appearance_weight: Weight of neighbours of similar colour.
        appearance_distance: Standard deviation of their distance, in pixels.
        appearance_value: Standard deviation of the difference of their values, in standard deviations of a band in
            training; for other than three bands differences count as if there were three.
        smoothness_weight: Weight of neighbours of any colour.
        smoothness_distance: Standard deviation of their distance, in pixels.

    Raises:
        UsageError: A number is out of its range.
    """

    iterations: int = 10
    radius: int = 5
    appearance_weight: float = 4.0
    appearance_distance: float = 67.0
    appearance_value: float = 0.05
    smoothness_weight: float = 3.0
    smoothness_distance: float = 3.0

    def __post_init__(self) -> None:
        for name in ("iterations", "radius"):
            if getattr(self, name) < 1:
                raise UsageError(f"The CRF needs {name} of 1 or more, not {getattr(self, name)}.")
        for name in ("appearance_distance", "appearance_value", "smoothness_distance"):
            if not getattr(self, name) > 0:
                raise UsageError(f"The CRF's {name.replace('_', ' ')} {getattr(self, name):g} is not above zero.")
        for name in ("appearance_weight", "smoothness_weight"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"The CRF's {name.replace('_', ' ')} {getattr(self, name):g} is below zero.")

    @property
    def halo(self) -> int:
        """Pixels around a block that its result depends on."""
        return self.iterations * self.radius


@torch.inference_mode()
def refine(probabilities: Tensor, image: Tensor, valid: Tensor, crf: CRF) -> Tensor:
    """Refine the class probabilities of a piece of a scene.

    Pixels beyond the edges of the piece do not count. Invalid pixels influence no other pixel, and keep their
    probabilities.

    Args:
        probabilities: (K, H, W) float32 in 0..1, summing to 1 over K.
        image: (C, H, W) float32, in standard deviations of each band.
        valid: (H, W) bool.
        crf: The parameters.

    Returns:
        (K, H, W) float32 in 0..1, summing to 1 over K, on the same device. Each value follows from what lies within
        ``crf.halo`` pixels, to the last bit, wherever the piece begins and ends.
    """
    evidence = probabilities.clamp(min=_LEAST).log()
    appearance = _Appearance(image, valid, crf)
    smoothness = _Smoothness(valid, crf)
    refined = probabilities
    for _ in range(crf.iterations):
        drawn = appearance.messages(refined) * crf.appearance_weight
        drawn += smoothness.messages(refined) * crf.smoothness_weight
        refined = torch.where(valid, _softmax(drawn.add_(evidence)), probabilities)
    return refined


def refined_blocks(
    read_probabilities: Callable[[Window], np.ndarray],
    read_image: Callable[[Window], tuple[np.ndarray, np.ndarray]],
    height: int,
    width: int,
    *,
    crf: CRF,
    statistics: BandStatistics,
    device: torch.device,
    first_row: int = 0,
    block: int = BLOCK,
) -> Iterator[Blended]:
    """Refine a scene block by block, row by row from the top, from probabilities that were stored before.

    Blocks lie at multiples of ``block`` in the scene and are read with a halo of ``crf.halo`` pixels, so a block is the
    same in any order of blocks. Memory does not grow with the scene: a block with its halo takes 4 bytes per
    pixel and pair of opposite neighbours, 40 of them at a radius of 5, hence 60 MB for 512 px.

    Args:
        read_probabilities: Returns (K, h, w) of a window, in any scale that is proportional to probabilities: float, or
            uint8 as they are stored. What it returns for invalid pixels does not matter.
        read_image: Returns (C, h, w) raw values and (h, w) bool of a window, as ``Scene.read`` does.
        height: Rows of the scene.
        width: Columns of the scene.
        crf: The parameters.
        statistics: What raw values are standardised with.
        device: Where to compute.
        first_row: Row of blocks to begin with.
        block: Rows and columns of a block in pixels.

    Yields:
        Refined probabilities of each block, without its halo.
    """
    to_deviations = Normaliser(statistics, device)
    for top in range(first_row * block, height, block):
        for left in range(0, width, block):
            inner = Window(left, top, min(block, width - left), min(block, height - top))
            outer = _with_halo(inner, crf.halo, height, width)
            bands, valid = read_image(outer)
            mask = torch.from_numpy(np.ascontiguousarray(valid)).to(device)
            image = to_deviations(upload(bands, device)[None], mask[None])[0]
            stored = torch.from_numpy(read_probabilities(outer)).to(device, torch.float32)
            refined = _as_probabilities(stored, mask)
            if valid.any():
                refined = refine(refined, image, mask, crf)
            rows = slice(top - outer.row_off, top - outer.row_off + inner.height)
            columns = slice(left - outer.col_off, left - outer.col_off + inner.width)
            yield Blended(
                top=top,
                left=left,
                probabilities=refined[:, rows, columns],
                valid=valid[rows, columns],
                disagreement=None,
                ends_row=left + inner.width == width,
            )


class _Appearance:
    """Messages between pixels of similar colour: one kernel plane per pair of opposite offsets."""

    def __init__(self, image: Tensor, valid: Tensor, crf: CRF) -> None:
        shape = (valid.shape[0], valid.shape[1])
        scaled = image * ((3 / len(image)) ** 0.5 / crf.appearance_value)
        self._kernels = [
            (here, there, _kernel(scaled, valid, here, there, (dy * dy + dx * dx) / crf.appearance_distance**2))
            for dy, dx in _half_disc(crf.radius)
            for here, there in [_pair(dy, dx, shape)]
        ]
        sums = valid.float()  # each pixel is alike to itself; its message to itself is left out, as in the paper
        for here, there, kernel in self._kernels:
            sums[here] += kernel
            sums[there] += kernel
        self._sums = sums.clamp_(min=1)

    def messages(self, probabilities: Tensor) -> Tensor:
        """Return (K, H, W): the mean of the neighbours' probabilities, weighted by their similarity."""
        total = torch.zeros_like(probabilities)
        for here, there, kernel in self._kernels:
            # Products and sums apart: fused ones would be rounded differently at the ends of rows.
            total[:, *here] += kernel * probabilities[:, *there]
            total[:, *there] += kernel * probabilities[:, *here]
        return total.div_(self._sums)


class _Smoothness:
    """Messages between near pixels: rows, then columns, of a Gaussian."""

    def __init__(self, valid: Tensor, crf: CRF) -> None:
        self._valid = valid.float()
        self._shares = [_gauss(distance, crf.smoothness_distance) for distance in range(crf.radius + 1)]
        self._sums = self._blur(self._valid[None])[0].clamp_(min=1)

    def messages(self, probabilities: Tensor) -> Tensor:
        """Return (K, H, W): the mean of the neighbours' probabilities, weighted by their nearness."""
        counted = probabilities * self._valid
        return self._blur(counted).sub_(counted).div_(self._sums)

    def _blur(self, planes: Tensor) -> Tensor:
        for axis in (1, 2):
            blurred = planes.clone()
            for distance, share in enumerate(self._shares[1 : planes.shape[axis]], start=1):
                kept = planes.shape[axis] - distance
                blurred.narrow(axis, distance, kept).add_(planes.narrow(axis, 0, kept) * share)
                blurred.narrow(axis, 0, kept).add_(planes.narrow(axis, distance, kept) * share)
            planes = blurred
        return planes


def _kernel(scaled: Tensor, valid: Tensor, here: Place, there: Place, distance: float) -> Tensor:
    """Return (h, w): the similarity of each pixel to the one at an offset, 0 where one of the two is invalid."""
    squares = sum((band[here] - band[there]).square() for band in scaled)
    alike = _exp((squares + distance) * -0.5)
    return alike * (valid[here] & valid[there])


def _softmax(scores: Tensor) -> Tensor:
    shares = _exp(scores - scores.amax(dim=0))
    return shares / sum(shares.unbind())


def _exp(exponents: Tensor) -> Tensor:
    """Return the exponential, rounded to float32 from float64: in float32 the ends of rows are computed otherwise."""
    exponents = exponents.clamp(min=_FAR)
    if exponents.device.type == "mps":  # has no float64
        return exponents.exp_()
    return exponents.double().exp_().float()


def _as_probabilities(shares: Tensor, valid: Tensor) -> Tensor:
    """Let shares (K, H, W) sum to 1 over K; where not valid, all are equal."""
    shares = torch.where(valid, shares, 1.0)
    return shares / sum(shares.unbind())


def _half_disc(radius: int) -> list[tuple[int, int]]:
    """Return the offsets (rows, columns) within a radius, one of each pair of opposite ones."""
    square = ((dy, dx) for dy in range(radius + 1) for dx in range(-radius, radius + 1))
    return [(dy, dx) for dy, dx in square if (dy > 0 or dx > 0) and dy * dy + dx * dx <= radius * radius]


def _pair(dy: int, dx: int, shape: tuple[int, int]) -> tuple[Place, Place]:
    """Return the pixels that have a neighbour at an offset, and these neighbours."""
    rows, columns = shape
    here = slice(0, max(rows - dy, 0)), slice(max(-dx, 0), max(columns - max(dx, 0), 0))
    there = slice(dy, rows), slice(max(dx, 0), max(columns - max(-dx, 0), 0))
    return here, there


def _gauss(distance: float, deviation: float) -> float:
    return math.exp(-0.5 * (distance / deviation) ** 2)


def _with_halo(inner: Window, halo: int, height: int, width: int) -> Window:
    top, left = max(inner.row_off - halo, 0), max(inner.col_off - halo, 0)
    bottom = min(inner.row_off + inner.height + halo, height)
    right = min(inner.col_off + inner.width + halo, width)
    return Window(left, top, right - left, bottom - top)
