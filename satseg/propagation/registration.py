"""Where the ground of one scene lies in another of the same grid: displacements by phase correlation, part by part.

Kuglin & Hines: "The Phase Correlation Image Alignment Method", 1975. What is compared are the lengths of gradients, so
that colours and the direction of contrasts do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

PART = 256
"""Pixels along each side of the parts whose displacement is measured."""

_LOW_PASS = 0.2  # cycles per pixel: standard deviation of the weights of frequencies
_CERTAIN = 8.0  # standard deviations of a correlation map that a peak rises above its mean; chance reaches about 5
_LEAST_KNOWN = 0.5  # share of a part


@dataclass(frozen=True)
class Shift:
    """Displacement of a part.

    Args:
        rows: Pixels downwards, from the earlier scene to the later one.
        columns: Pixels to the right.
        certainty: Height of the peak above the mean of the correlation, in its standard deviations.
    """

    rows: float
    columns: float
    certainty: float


class Displacements:
    """Displacements of the whole grid, interpolated between the middles of parts.

    Args:
        parts: (row, column, 2) float32: pixels downwards and to the right.
    """

    def __init__(self, parts: np.ndarray) -> None:
        self.parts = parts

    @classmethod
    def of(cls, found: Iterable[tuple[int, int, Shift]], shape: tuple[int, int]) -> Displacements | None:
        """Take the medians of neighbouring parts; uncertain parts move like the nearest certain one.

        Args:
            found: Row and column of each part that could be measured, and its displacement.
            shape: Rows and columns of parts.

        Returns:
            None if none is certain.
        """
        parts = np.full((*shape, 2), np.nan, dtype=np.float32)
        for row, column, shift in found:
            if shift.certainty >= _CERTAIN:
                parts[row, column] = shift.rows, shift.columns
        unknown = np.isnan(parts[..., 0])
        if unknown.all():
            return None
        nearest = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
        filled = parts[tuple(nearest)]
        return cls(ndimage.median_filter(filled, size=(3, 3, 1), mode="nearest"))

    @property
    def reach(self) -> int:
        """Whole pixels beyond which nothing moves, along rows or columns."""
        return math.ceil(np.abs(self.parts).max()) + 1

    @property
    def median(self) -> tuple[float, float]:
        """Median of the displacements in pixels, downwards and to the right."""
        rows, columns = np.median(self.parts.reshape(-1, 2), axis=0).tolist()
        return rows, columns

    def of_window(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Return how far each pixel of the later scene has moved, (2, height, width) float32: down and to the right."""
        rows = (np.arange(top, top + height) + 0.5) / PART - 0.5
        columns = (np.arange(left, left + width) + 0.5) / PART - 0.5
        places = np.meshgrid(rows, columns, indexing="ij")
        return np.stack(
            [ndimage.map_coordinates(self.parts[..., axis], places, order=1, mode="nearest") for axis in (0, 1)]
        )


def measure_shift(earlier: np.ndarray, later: np.ndarray, valid: np.ndarray, *, limit: float) -> Shift | None:
    """Measure how far the ground of a part has moved.

    Args:
        earlier: (band, row, col) values of the earlier scene.
        later: Those of the later one, of as many or other bands.
        valid: (row, col) bool: where both are known.
        limit: Pixels along each axis beyond which no displacement is looked for.

    Returns:
        None where less than half is known, or either scene has no structure at all.
    """
    if valid.mean() < _LEAST_KNOWN:
        return None
    spectra = [fft.rfft2(_structure(bands, valid)) for bands in (earlier, later)]
    cross = spectra[1] * spectra[0].conj()
    size = np.abs(cross)
    if not size.any():
        return None
    frequencies = fft.fftfreq(valid.shape[0])[:, None] ** 2 + fft.rfftfreq(valid.shape[1])[None] ** 2
    phases = cross / np.maximum(size, size.max() * 1e-12) * np.exp(-frequencies / (2 * _LOW_PASS**2))
    correlation = fft.fftshift(fft.irfft2(phases, s=valid.shape))
    return _peak(correlation, limit)


def _structure(bands: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return (row, col) lengths of gradients over all bands in their standard deviations, fading to the edge."""
    squares = np.zeros(valid.shape)
    for band in bands.astype(np.float64):
        known = band[valid]
        spread = known.std()
        if spread > 0:
            scaled = np.where(valid, (band - known.mean()) / spread, 0.0)
            squares += sum(np.square(slope) for slope in np.gradient(scaled))
    lengths = np.sqrt(squares)
    lengths[~ndimage.binary_erosion(valid, border_value=1)] = 0
    lengths -= lengths.mean()
    return lengths * np.outer(np.hanning(valid.shape[0]), np.hanning(valid.shape[1]))


def _peak(correlation: np.ndarray, limit: float) -> Shift:
    """Return the highest place within the limit, to a fraction of a pixel by the parabola through its neighbours."""
    middle = [side // 2 for side in correlation.shape]
    reach = [min(math.ceil(limit), centre - 1) for centre in middle]
    near = correlation[tuple(slice(c - r, c + r + 1) for c, r in zip(middle, reach, strict=True))]
    row, column = (int(place) for place in np.unravel_index(near.argmax(), near.shape))
    if near[row, column] <= 0:
        return Shift(0.0, 0.0, 0.0)
    place = [row + middle[0] - reach[0], column + middle[1] - reach[1]]
    certainty = (near[row, column] - correlation.mean()) / max(float(correlation.std()), 1e-12)
    moved = []
    for axis in (0, 1):
        line = correlation[:, place[1]] if axis == 0 else correlation[place[0]]
        # Frequencies are weighted by a normal distribution, and so is the peak: its logarithm is a parabola.
        before, here, after = np.log(np.maximum(line[place[axis] - 1 : place[axis] + 2], 1e-3 * line[place[axis]]))
        bend = before - 2 * here + after
        moved.append(place[axis] - middle[axis] + (0.5 * (before - after) / bend if bend < 0 else 0.0))
    return Shift(float(moved[0]), float(moved[1]), float(certainty))
