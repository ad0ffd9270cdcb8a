"""Where the ground has changed between two scenes that lie on each other, whatever their colours and light.

The later scene is predicted from the earlier one: its bands are fitted by those of the earlier one and their squares,
by least squares over the surroundings. What is the same ground in other colours is predicted; what deviates, by more
than is usual nearby and more than a displacement of half a pixel would explain, has changed. Pixels that deviate are
left out of the fit, which is repeated: changes do not explain themselves. This is iteratively reweighted regression as
in Nielsen: "The Regularized Iteratively Reweighted MAD Method for Change Detection in Multi- and Hyperspectral Data",
IEEE Transactions on Image Processing 16, 2007, in moving surroundings and with a model of one date.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

CELL = 16
"""Pixels along each side of the cells in which sums of the fit are formed."""

_AROUND = 12  # cells on each side of a cell that its fit takes part in: 400 px across
MARGIN = CELL * (_AROUND + 1)
"""Pixels on each side of a window that its result depends on."""

_ROUNDS = 4
_USUAL = 2.5  # deviations beyond which pixels are left out of the next fit
_MEDIAN = 1.4826  # standard deviations of a normal distribution per median of its absolute values
_RIDGE = 1e-3  # of the number of pixels, which the sums of standardised squares are compared to
_LEAST = 0.05  # of the standard deviation of a band: rounding and compression deviate as much
_BLUR = 1.0  # px: interpolation blurs the earlier scene a little, this one both
_MISPLACED = 0.5  # px
_CLIP = 5.0  # standard deviations


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of the bands of a scene, (band,) float64 each."""

    mean: np.ndarray
    std: np.ndarray

    def apply(self, bands: np.ndarray) -> np.ndarray:
        """Return (band, row, col) float32 in standard deviations, clipped."""
        scaled = (bands - self.mean[:, None, None]) / np.maximum(self.std, 1e-12)[:, None, None]
        return np.clip(scaled, -_CLIP, _CLIP).astype(np.float32)


def moved(values: np.ndarray, displacements: np.ndarray, *, order: int, beyond: float = 0.0) -> np.ndarray:
    """Return the values of a window of the earlier scene where they lie in the later one.

    Args:
        values: (row, col) values.
        displacements: (2, row, col) pixels that each pixel of the later scene has moved.
        order: 1 interpolates, 0 takes the nearest.
        beyond: Value of what comes from beyond the window.
    """
    rows, columns = np.indices(values.shape, dtype=np.float32)
    places = rows - displacements[0], columns - displacements[1]
    return np.asarray(ndimage.map_coordinates(values, places, order=order, mode="constant", cval=beyond))


def changed(earlier: np.ndarray, later: np.ndarray, valid: np.ndarray, *, deviation: float) -> np.ndarray:
    """Tell which pixels of the later scene show other ground than the earlier one.

    Args:
        earlier: (band, row, col) float32 in standard deviations, moved to where it lies in the later scene. Its first
            row and column belong to a multiple of 16 px of the scene.
        later: (band, row, col) float32 likewise.
        valid: (row, col) bool: where both are known.
        deviation: Usual deviations beyond which a pixel has changed.

    Returns:
        (row, col) bool. Up to :data:`MARGIN` pixels from edges that are not those of the scene, it is not reliable.
    """
    height, width = valid.shape
    blurred = [_blurred(bands, valid) for bands in (earlier, later)]
    known = _cells(valid[None])[..., 0]  # bool
    before, after = map(_cells, blurred)
    shape = -(-height // CELL), -(-width // CELL)
    errors, usual = _residuals(before, after, known, shape)
    slopes = np.stack([np.hypot(*np.gradient(band)) for band in blurred[1]])
    beyond = np.maximum(np.abs(_image(errors, shape, height, width)) - _MISPLACED * slopes, 0)
    squares = np.square(beyond / _image(np.broadcast_to(usual[:, None], errors.shape), shape, height, width))
    score = ndimage.uniform_filter(np.where(valid, squares.mean(axis=0), 0), size=5, mode="nearest")
    return _regions(score > deviation**2)


def _regions(found: np.ndarray) -> np.ndarray:
    """Drop specks and fill gaps of a few pixels."""
    whole = ndimage.binary_opening(found, np.ones((3, 3), dtype=bool))
    padded = np.pad(whole, 8, mode="edge")
    filled: np.ndarray = ndimage.binary_closing(padded, np.ones((9, 9), dtype=bool))[8:-8, 8:-8]
    return filled


def _blurred(bands: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Blur (band, row, col) values, of known pixels alone."""
    weight = ndimage.gaussian_filter(valid.astype(np.float32), _BLUR, mode="nearest")
    sums = [ndimage.gaussian_filter(np.where(valid, band, 0), _BLUR, mode="nearest") for band in bands]
    return np.stack(sums) / np.maximum(weight, 1e-3)


def _cells(bands: np.ndarray) -> np.ndarray:
    """Return (cell, CELL * CELL, band) of (band, row, col), whose last row and column of cells are filled up with 0."""
    count, height, width = bands.shape
    padded = np.pad(bands, ((0, 0), (0, -height % CELL), (0, -width % CELL)))
    rows, columns = padded.shape[1] // CELL, padded.shape[2] // CELL
    parts = padded.reshape(count, rows, CELL, columns, CELL).transpose(1, 3, 2, 4, 0)
    return np.ascontiguousarray(parts).reshape(rows * columns, CELL * CELL, count)


def _image(cells: np.ndarray, shape: tuple[int, int], height: int, width: int) -> np.ndarray:
    """Return (band, row, col) of (cell, CELL * CELL, band)."""
    parts = cells.reshape(*shape, CELL, CELL, -1).transpose(4, 0, 2, 1, 3)
    return parts.reshape(-1, shape[0] * CELL, shape[1] * CELL)[:, :height, :width]


def _residuals(
    before: np.ndarray, after: np.ndarray, known: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Fit one scene by the other.

    Args:
        before: (cell, pixel, band) of the earlier scene.
        after: Those of the later one.
        known: (cell, pixel) bool.
        shape: Rows and columns of cells.

    Returns:
        What the fit leaves of the later scene, (cell, pixel, band), and its usual size around each cell, (cell, band).
    """
    features = np.concatenate([np.ones_like(before[..., :1]), before, np.square(before)], axis=2)
    ridge = np.eye(features.shape[2])
    ridge[0, 0] = 0
    used = known
    for _ in range(_ROUNDS):
        weighted = (features * used[..., None]).transpose(0, 2, 1)
        squares, products = _around(weighted @ features, shape), _around(weighted @ after, shape)
        squares += (_RIDGE * squares[:, :1, :1] + 1e-6) * ridge + 1e-6 * np.eye(len(ridge))
        errors = after - features @ np.linalg.solve(squares, products).astype(np.float32)
        size = np.abs(errors)
        share = used.mean(axis=1, keepdims=True)
        medians = _around(share * np.median(size, axis=1), shape)
        usual = np.maximum(_MEDIAN * medians / np.maximum(_around(share, shape), 1e-6), _LEAST)
        used = known & (size <= _USUAL * usual[:, None]).all(axis=2)
    return errors, usual.astype(np.float32)


def _around(cells: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the sums of (cell, ...) over the surroundings of each cell, float64."""
    grid = cells.reshape(*shape, *cells.shape[1:]).astype(np.float64)
    across = 2 * _AROUND + 1
    sizes = (across, across, *[1] * (grid.ndim - 2))
    return ndimage.uniform_filter(grid, sizes, mode="constant").reshape(cells.shape) * across**2
