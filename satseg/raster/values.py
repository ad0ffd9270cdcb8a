"""Detect values out of range, which are mostly nodata values that a file does not declare."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from satseg.records import BandStatistics

FARTHEST = 65_000.0
"""Standard deviations from the mean beyond which a value is out of range. Half precision ends at 65,504."""
WRITTEN_OUT = 1e15
"""Whole numbers below this are written without an exponent."""

LARGEST_EXACT = 2**53
"""Largest whole number up to which all are exact in float64."""

LARGEST = 9.9e19
"""Magnitude beyond which a value is out of range in any band: undeclared nodata such as -3.4e38, 1e20, 9.97e36."""


@dataclass(frozen=True)
class OutOfRange:
    """Pixels of a scene that its file declares valid, but whose values are out of range.

    Args:
        pixels: Number of pixels.
        value: Value of the first one.
        band: Its band, from 0.
        row: Its row in the scene.
        column: Its column in the scene.
    """

    pixels: int
    value: float
    band: int
    row: int
    column: int

    @classmethod
    def merge(cls, found: Iterable[OutOfRange]) -> OutOfRange | None:
        """Merge findings of several parts of a scene; None if there are none."""
        listed = sorted(found, key=lambda one: (one.row, one.column))
        if not listed:
            return None
        first = listed[0]
        return cls(sum(one.pixels for one in listed), first.value, first.band, first.row, first.column)

    def message(self, scene: str, bands: tuple[str, ...], fate: str) -> str:
        """Return a warning: what was found, how it is treated, and what to do.

        Args:
            scene: Name of the scene.
            bands: Names of its bands.
            fate: How the pixels are treated, such as ``They become nodata``.
        """
        value = spell(self.value)
        return (
            f"{scene}: {self.pixels:,} px hold values far out of range, such as {value} in {bands[self.band]} at row "
            f"{self.row}, column {self.column}. {fate}. If that is its nodata value, declare it: "
            f"gdal_edit.py -a_nodata {value} FILE"
        )


@dataclass(frozen=True)
class ValueRange:
    """The range of measured raw values of each band.

    Integers of 8 and 16 bits are always in range: none is large enough to overflow.

    Args:
        low: Lower limit of each band; empty for the default range of any number of bands.
        high: Upper limit of each band.
    """

    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @classmethod
    def of(cls, statistics: BandStatistics) -> Self:
        """Return the range within :data:`FARTHEST` standard deviations of the training mean, and below `LARGEST`.

        A band that was constant in training has a standard deviation of 1, as in normalisation.
        """
        reaches = [FARTHEST * (std if std > 0 else 1.0) for std in statistics.std]
        return cls(
            tuple(max(mean - reach, -LARGEST) for mean, reach in zip(statistics.mean, reaches, strict=True)),
            tuple(min(mean + reach, LARGEST) for mean, reach in zip(statistics.mean, reaches, strict=True)),
        )

    @classmethod
    def shared(cls, ranges: Iterable[ValueRange]) -> Self:
        """Return the intersection of ranges."""
        listed = list(ranges)
        return cls(
            tuple(map(max, zip(*(one.low for one in listed), strict=True))),
            tuple(map(min, zip(*(one.high for one in listed), strict=True))),
        )

    def measured(self, bands: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Return which valid pixels are in range in every band.

        Args:
            bands: (B, H, W) raw values.
            valid: (H, W) bool.

        Returns:
            (H, W) bool; ``valid`` itself if all of them are.
        """
        if bands.dtype.kind in "iu" and bands.dtype.itemsize <= 2:
            return valid
        inside = np.ones_like(valid)
        for band, low, high in zip(bands, *self._limits(len(bands)), strict=True):
            inside &= (band >= _held(low, band.dtype)) & (band <= _held(high, band.dtype))
        return valid if inside.all() else valid & inside

    def check(self, bands: np.ndarray, valid: np.ndarray, top: int, left: int) -> tuple[np.ndarray, OutOfRange | None]:
        """Return which valid pixels are in range, and a description of the others, if there are any.

        Args:
            bands: (B, H, W) raw values of a part of a scene.
            valid: (H, W) bool.
            top: First row of the part in the scene.
            left: Its first column.
        """
        measured = self.measured(bands, valid)
        others = valid if measured is valid else valid & ~measured
        if measured is valid or not others.any():
            return valid, None
        row, column = np.argwhere(others)[0]
        pixel = bands[:, row, column]
        (band, *_) = (
            number
            for number, (value, low, high) in enumerate(zip(pixel, *self._limits(len(bands)), strict=True))
            if not low <= value <= high
        )
        found = OutOfRange(int(others.sum()), float(pixel[band]), band, top + int(row), left + int(column))
        return measured, found

    def _limits(self, count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.low or (-LARGEST,) * count, self.high or (LARGEST,) * count


def spell(value: float) -> str:
    """Return the shortest decimal that identifies a value in its type."""
    if value.is_integer() and abs(value) < WRITTEN_OUT:
        return str(int(value))
    narrow = np.float32(value) if abs(value) <= float(np.finfo(np.float32).max) else None
    return str(narrow) if narrow is not None and float(narrow) == value else repr(value)


def _held(limit: float, dtype: np.dtype) -> float:
    """Return a limit clipped to the range of a type such as float16."""
    return limit if dtype.kind in "iu" else min(max(limit, float(np.finfo(dtype).min)), float(np.finfo(dtype).max))
