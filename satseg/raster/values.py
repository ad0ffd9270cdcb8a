"""Tell values that were measured from those that cannot have been: nodata values that a file does not declare."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from satseg.records import BandStatistics

FARTHEST = 65_000.0
"""Standard deviations from the mean beyond which a value is no measurement. Half precision ends at 65,504."""
_WHOLE = 1e15  # whole numbers up to here are written out
LARGEST = 9.9e19
"""Size beyond which no value is a measurement, whatever the band: undeclared nodata such as -3.4e38, 1e20, 9.97e36."""


@dataclass(frozen=True)
class Oddity:
    """Pixels of a scene, valid by its file, whose values cannot have been measured.

    Args:
        pixels: How many.
        value: What the first of them holds.
        band: In which band, from 0.
        row: Row of the first one in the scene.
        column: Its column.
    """

    pixels: int
    value: float
    band: int
    row: int
    column: int

    @classmethod
    def merge(cls, found: Iterable[Oddity]) -> Oddity | None:
        """Join what was found in several places; the uppermost of the first ones stands for all."""
        listed = sorted(found, key=lambda one: (one.row, one.column))
        if not listed:
            return None
        first = listed[0]
        return cls(sum(one.pixels for one in listed), first.value, first.band, first.row, first.column)

    def tell(self, scene: str, bands: tuple[str, ...], fate: str) -> str:
        """Say it in two sentences: what was found, what becomes of it, and what to do.

        Args:
            scene: Name of the scene.
            bands: Names of its bands.
            fate: What becomes of the pixels, such as ``They become nodata``.
        """
        value = spell(self.value)
        return (
            f"{scene}: {self.pixels:,} px hold values far out of range, such as {value} in {bands[self.band]} at row "
            f"{self.row}, column {self.column}. {fate}. If that is its nodata value, declare it: "
            f"gdal_edit.py -a_nodata {value} FILE"
        )


@dataclass(frozen=True)
class ValueRange:
    """The raw values of each band that count as measured.

    Integers of 8 and 16 bits all do: nothing in them is far enough out to overflow.

    Args:
        low: Smallest one of each band; none stands for bands of any number.
        high: Largest one.
    """

    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @classmethod
    def of(cls, statistics: BandStatistics) -> Self:
        """Return what is within :data:`FARTHEST` standard deviations of training, and of a size below `LARGEST`.

        A band that was constant in training counts in units of its own, as in normalisation.
        """
        reaches = [FARTHEST * (std if std > 0 else 1.0) for std in statistics.std]
        return cls(
            tuple(max(mean - reach, -LARGEST) for mean, reach in zip(statistics.mean, reaches, strict=True)),
            tuple(min(mean + reach, LARGEST) for mean, reach in zip(statistics.mean, reaches, strict=True)),
        )

    @classmethod
    def shared(cls, ranges: Iterable[ValueRange]) -> Self:
        """Return what lies in every range."""
        listed = list(ranges)
        return cls(
            tuple(map(max, zip(*(one.low for one in listed), strict=True))),
            tuple(map(min, zip(*(one.high for one in listed), strict=True))),
        )

    def measured(self, bands: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Return which valid pixels hold measured values in every band.

        Args:
            bands: (B, H, W) raw values.
            valid: (H, W) bool.

        Returns:
            (H, W) bool; ``valid`` itself where that is all of them.
        """
        if bands.dtype.kind in "iu" and bands.dtype.itemsize <= 2:
            return valid
        inside = np.ones_like(valid)
        for band, low, high in zip(bands, *self._limits(len(bands)), strict=True):
            inside &= (band >= _held(low, band.dtype)) & (band <= _held(high, band.dtype))
        return valid if inside.all() else valid & inside

    def check(self, bands: np.ndarray, valid: np.ndarray, top: int, left: int) -> tuple[np.ndarray, Oddity | None]:
        """Return which valid pixels hold measured values, and what is known of the others, if there are any.

        Args:
            bands: (B, H, W) raw values of a stretch of a scene.
            valid: (H, W) bool.
            top: First row of the stretch in the scene.
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
        found = Oddity(int(others.sum()), float(pixel[band]), band, top + int(row), left + int(column))
        return measured, found

    def _limits(self, count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.low or (-LARGEST,) * count, self.high or (LARGEST,) * count


def spell(value: float) -> str:
    """Return a value as a file of its type would state it, in as few digits as tell it from others."""
    if value.is_integer() and abs(value) < _WHOLE:
        return str(int(value))
    narrow = np.float32(value) if abs(value) <= float(np.finfo(np.float32).max) else None
    return str(narrow) if narrow is not None and float(narrow) == value else repr(value)


def _held(limit: float, dtype: np.dtype) -> float:
    """Return a limit as near as a type can hold it; float16 ends early."""
    return limit if dtype.kind in "iu" else min(max(limit, float(np.finfo(dtype).min)), float(np.finfo(dtype).max))
