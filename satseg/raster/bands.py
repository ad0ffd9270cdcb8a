"""Band statistics, and the normalisation of raw values for a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from satseg.errors import TileError
from satseg.raster.values import LARGEST, ValueRange
from satseg.records import BandStatistics, Clipping

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from satseg.raster.scales import Conversion


_EXACT = 2**21  # squares of 16-bit values that sum to less than 2**53
_SEEN = 1e-4  # error of a rounded mean, in standard deviations, above which it is corrected
_FARTHEST = 65_504.0  # the largest number in half precision


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of the valid pixels of one piece, from which statistics of many pieces are merged without loss.

    Args:
        count: Valid pixels.
        mean: (B,) float64, mean of each band.
        squares: (B,) float64, sum of the squared differences from that mean.
        minimum: (B,) float64.
        maximum: (B,) float64.
    """

    count: int
    mean: np.ndarray
    squares: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray

    @property
    def measured(self) -> bool:
        """Whether all values are in the range of measurements."""
        return bool(max(np.abs(self.minimum).max(), np.abs(self.maximum).max()) <= LARGEST)

    @property
    def key(self) -> bytes:
        """Bytes that are equal for pieces of equal pixels, and almost never for others."""
        parts = (np.array([self.count]), self.mean, self.squares, self.minimum, self.maximum)
        return b"".join(part.tobytes() for part in parts)

    @classmethod
    def of(cls, bands: np.ndarray, valid: np.ndarray) -> Moments | None:
        """Compute the moments of (band, row, col) raw values; valid is (row, col) bool. None if no pixel is valid.

        Values out of range are left out: a single -3.4e38 would dominate the statistics.
        """
        valid = ValueRange().measured(bands, valid)
        raw = bands.reshape(len(bands), -1) if valid.all() else bands[:, valid]  # (band, pixel)
        if not raw.shape[1]:
            return None
        mean, squares = _exact_sums(raw) if raw.dtype.kind in "ui" and raw.dtype.itemsize <= 2 else _sums(raw)
        return cls(raw.shape[1], mean, squares, raw.min(axis=1).astype(float), raw.max(axis=1).astype(float))


def _exact_sums(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and sum of squared differences of integers of at most 16 bits, each rounded once.

    Their squares sum exactly in float64 for up to two million pixels per band; beyond that, Python integers are used.
    """
    count = raw.shape[1]
    sums = [0] * len(raw)
    squares = [0] * len(raw)
    for first in range(0, count, _EXACT):
        values = raw[:, first : first + _EXACT].astype(np.float64)
        products = np.einsum("bp,bp->b", values, values)  # without BLAS, whose threads cost more than they save here
        for band, (total, square) in enumerate(zip(values.sum(axis=1).tolist(), products.tolist(), strict=True)):
            sums[band] += int(total)
            squares[band] += int(square)
    mean = np.array([total / count for total in sums])
    return mean, np.array([(count * q - s * s) / count for q, s in zip(squares, sums, strict=True)])


def _sums(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and sum of squared differences of each band."""
    values = raw.astype(np.float64)
    mean = values.mean(axis=1)
    values -= mean[:, None]
    return mean, np.einsum("bp,bp->b", values, values)


def merge_moments(pieces: Sequence[Moments]) -> BandStatistics:
    """Merge pieces into the statistics of all their pixels; the result does not depend on their order, to the last bit.

    Means and squared differences from them are merged, since sums of squares of large values lose digits.

    Raises:
        TileError: There is no piece.
    """
    if not pieces:
        raise TileError("There are no valid pixels to compute band statistics from.")
    counts = np.array([piece.count for piece in pieces], dtype=np.float64)
    means = np.array([piece.mean for piece in pieces])  # (piece, band)
    squares = np.array([piece.squares for piece in pieces])
    total = math.fsum(counts)
    mean = np.array([math.fsum(column) / total for column in (counts[:, None] * means).T])
    between = counts[:, None] * (means - mean) ** 2
    variance = [math.fsum([*a, *b]) / total for a, b in zip(squares.T, between.T, strict=True)]
    return BandStatistics(
        count=int(total),
        mean=tuple(mean.tolist()),
        std=tuple(math.sqrt(value) for value in variance),
        minimum=tuple(np.min([piece.minimum for piece in pieces], axis=0).tolist()),
        maximum=tuple(np.max([piece.maximum for piece in pieces], axis=0).tolist()),
    )


def find_clipping(statistics: BandStatistics, pixels: np.ndarray, limit: float) -> Clipping | None:
    """Find the middle of the values of bands with heavy tails, such as echoes of a radar or clouds.

    The standard deviation of such a band is that of its few extreme values: divided by it, all others become equal, and
    clipping does not part them again. Its median and percentiles do not depend on the extremes.

    Args:
        statistics: Statistics of the training tiles, C bands.
        pixels: (C, P) raw values of some of their valid pixels.
        limit: Standard deviations from the mean beyond which the extremes of a band are a heavy tail, and spreads from
            the centre at which values are clipped.

    Returns:
        None if no band has a heavy tail. A band most of whose values are equal keeps its standard deviation.
    """
    low, centre, high = np.percentile(pixels.astype(np.float64), (16, 50, 84), axis=1)
    spread, heavy = (high - low) / 2, heavy_tails(statistics, limit)
    heavy &= spread > 0
    if not heavy.any():
        return None
    return Clipping(
        centre=tuple(np.where(heavy, centre, statistics.mean).tolist()),
        spread=tuple(np.where(heavy, spread, statistics.std).tolist()),
        limit=limit,
    )


def heavy_tails(statistics: BandStatistics, limit: float) -> np.ndarray:
    """Return (C,) bool: whether the extremes of each band lie farther from its mean than ``limit`` deviations."""
    mean, std, low, high = map(np.array, (statistics.mean, statistics.std, statistics.minimum, statistics.maximum))
    found: np.ndarray = np.maximum(high - mean, mean - low) > limit * std
    return found


class Normaliser:
    """Normalise raw values by the statistics of the training tiles, on one device.

    Args:
        statistics: Statistics of the training tiles, C bands.
        device: Device of the images, to which the statistics are copied once.
        clipping: What normalises bands with heavy tails in place of mean and standard deviation, or None.

    Attributes:
        statistics: As given.
        values: Range of measured values; a pixel with a value out of range is treated as invalid.
    """

    def __init__(self, statistics: BandStatistics, device: torch.device, clipping: Clipping | None = None) -> None:
        import torch

        self.statistics, self.clipping = statistics, clipping
        self.values = ValueRange.of(statistics)
        self._device = device
        middle = statistics if clipping is None else clipping.middle(statistics)
        mean, std, far = (
            torch.tensor(part, dtype=torch.float64)[:, None, None] for part in (middle.mean, middle.std, statistics.std)
        )
        std = torch.where(std > 0, std, torch.ones_like(std))
        self._far = (_FARTHEST * torch.where(far > 0, far, 1.0) / std).to(device, torch.float32)  # normalised
        self._mean, self._std = mean.to(device, torch.float32), std.to(device, torch.float32)
        rest = mean - mean.float()
        # The rounding error of the mean in float32 is subtracted as well where it matters.
        self._rest = rest.to(device, torch.float32) if bool((rest.abs() > _SEEN * std).any()) else None
        host = _host_of(device)
        self._exact_mean, self._exact_std = mean.to(host), std.to(host)

    def after(self, conversion: Conversion) -> Normaliser:
        """Return a normaliser for raw values at another scale and offset, without converting them first."""
        if self.clipping is None:
            return Normaliser(conversion.statistics(self.statistics), self._device)
        middle = conversion.statistics(self.clipping.middle(self.statistics))
        clipping = Clipping(middle.mean, middle.std, self.clipping.limit)
        return Normaliser(conversion.statistics(self.statistics), self._device, clipping)

    def __call__(self, images: Tensor, valid: Tensor | None = None) -> Tensor:
        """Centre raw values on the training mean and scale them by the training standard deviation; or clip them.

        The result does not depend on the image, so a pixel gets the same value in every window. A band that was
        constant in training is centred only. For types that float32 cannot hold, the mean is subtracted in float64.

        Args:
            images: (N, C, H, W) raw values of any real dtype, on any device; NaN and infinity are not valid.
            valid: (N, H, W) bool, or None if every pixel is valid.

        Returns:
            (N, C, H, W) float32 on the device of this object; 0 is the training mean, and the value of invalid pixels.
            Pixels with values out of range are invalid as well (see :class:`~satseg.raster.values.ValueRange`).
        """
        return self.measure(images, valid)[0]

    def measure(self, images: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Normalise raw values, and tell which pixels were measured.

        Args:
            images: As above.
            valid: As above.

        Returns:
            The images as above; (N, H, W) bool, where pixels are valid and all values are in range, None where all are.
        """
        normalised = self._centred(images)
        if images.dtype in _narrow():
            measured = valid
        else:
            measured = (normalised.abs() <= self._far).all(dim=1)  # false for NaN
            measured = measured if valid is None else measured & valid
        if self.clipping is not None:
            normalised.clamp_(-self.clipping.limit, self.clipping.limit)
        if measured is not None:
            normalised.masked_fill_(~measured[:, None], 0)
        return normalised, measured

    def undo(self, normalised: Tensor) -> Tensor:
        """Return raw values (N, C, H, W) float64 for normalised ones, on the device that computes float64."""
        import torch

        return normalised.to(self._exact_mean.device, torch.float64) * self._exact_std + self._exact_mean

    def _centred(self, images: Tensor) -> Tensor:
        """Return the values in standard deviations from the mean, float32 on the device."""
        import torch

        # Copy first: torch converts unsigned integers, but cannot compute with all of them.
        if images.dtype in _wide():
            exact = images.to(torch.float64, copy=True).sub_(self._exact_mean).div_(self._exact_std)
            return exact.to(torch.float32).to(self._device)
        centred = images.to(torch.float32, copy=True).sub_(self._mean)  # exact where it cancels out (Sterbenz)
        if self._rest is not None:
            centred.sub_(self._rest)
        return centred.div_(self._std)


def exact_dtype(dtype: str) -> str:
    """Return the real type that raw values of a type are normalised in: it holds all of them."""
    import torch

    return "float64" if getattr(torch, dtype) in _wide() else "float32"


def upload(array: np.ndarray, device: torch.device) -> Tensor:
    """Copy raw values to a device, for :class:`Normaliser`.

    Apple GPUs do not support float64: values that are centred in float64 stay on the CPU until then.
    """
    import torch

    tensor = torch.from_numpy(array)
    return tensor.to(_host_of(device) if tensor.dtype in _wide() else device)


def constant_bands(statistics: BandStatistics, names: Sequence[str]) -> list[str]:
    """Return a phrase for each band that is constant in all training tiles, and so carries no information."""
    pairs = zip(names, statistics.minimum, statistics.maximum, strict=True)
    return [f"{name} is {low:.9g} everywhere" for name, low, high in pairs if low == high]


def _wide() -> tuple[torch.dtype, ...]:
    """Return the types whose values float32 cannot hold exactly."""
    import torch

    return torch.int32, torch.uint32, torch.int64, torch.uint64, torch.float64


def _narrow() -> tuple[torch.dtype, ...]:
    """Return the types all of whose values are in range, see :class:`~satseg.raster.values.ValueRange`."""
    import torch

    return torch.uint8, torch.int8, torch.uint16, torch.int16


def _host_of(device: torch.device) -> torch.device:
    """Return the device that computes float64 for a device."""
    import torch

    return torch.device("cpu") if device.type == "mps" else device
