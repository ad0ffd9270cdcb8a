"""Tiles in memory: decoded once, padded to one size."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from satseg.classes import IGNORE_INDEX
from satseg.errors import TileError
from satseg.raster.values import ValueRange

if TYPE_CHECKING:
    from satseg.tiles.tile import Tile

log = logging.getLogger("satseg")

CACHE_BYTES = 2**30


@dataclass(frozen=True, eq=False)
class Sample:
    """One decoded tile.

    Args:
        bands: (B, S, S) raw values in the scenes' dtype; 0 where not valid.
        labels: (S, S) uint8 class ids, 255 = ignore, also where not valid.
        valid: (S, S) bool.
        objects: (P, S, S) with what a network learns about objects, see :data:`satseg.objects.targets.TARGETS`; P is 0
            where it learns classes alone.
    """

    bands: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    objects: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self.bands.nbytes + self.labels.nbytes + self.valid.nbytes + self.objects.nbytes


class TileReader:
    """Read tiles as squares of one size, and cache what fits into memory. Safe to share between threads.

    Tiles are cached in order of arrival until the cache is full, and never evicted: training reads every tile once
    per epoch, so evicting the oldest one would always evict the one needed next.

    Args:
        size: Rows and columns S of every sample; smaller tiles are padded at the bottom and right as not valid.
        cache_bytes: Memory for decoded tiles in bytes; 0 disables the cache.
        targets: Makes what is learnt about objects of (H, W) ids and of (H, W) bool where objects are cut, for train
            tiles; None learns classes alone.
        values: Range of plausible values. Pixels outside of it are not valid; the first tile with such a pixel is
            logged as a warning. None only excludes values that no band can hold.
    """

    def __init__(
        self,
        size: int,
        *,
        cache_bytes: int = CACHE_BYTES,
        targets: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
        values: ValueRange | None = None,
    ) -> None:
        self.size = size
        self._targets = targets
        self._values = values or ValueRange()
        self._warned = False
        self._samples: dict[str, Sample] = {}
        self._free = cache_bytes
        self._lock = Lock()

    def read(self, tile: Tile) -> Sample:
        """Return the tile's sample. Its arrays are shared: do not write to them.

        Raises:
            TileError: The tile cannot be read, or is larger than the others.
        """
        kept = self._samples.get(tile.name)
        if kept is not None:
            return kept
        bands, labels, valid = tile.read()
        if self._targets is not None and tile.split == "train" and tile.objects is not None:
            objects = self._targets(*tile.read_objects())
        else:
            objects = no_objects(labels.shape)
        sample = self._measured(tile, Sample(bands, labels, valid, objects))
        if max(sample.labels.shape) > self.size:
            rows, columns = sample.labels.shape
            raise TileError(f"Tile {tile.name} is {columns} x {rows} px; tiles have {self.size} px a side at most.")
        sample = pad(sample, self.size)
        with self._lock:
            if tile.name not in self._samples and sample.nbytes <= self._free:
                self._samples[tile.name] = sample
                self._free -= sample.nbytes
        return sample

    def _measured(self, tile: Tile, sample: Sample) -> Sample:
        """Return a sample whose valid pixels were all measured."""
        valid, out_of_range = self._values.check(sample.bands, sample.valid, 0, 0)
        if out_of_range is None:
            return sample
        if not self._warned:
            self._warned = True
            names = tuple(f"band {number + 1}" for number in range(len(sample.bands)))
            log.warning(
                "%s",
                out_of_range.message(f"The tile {tile.name}", names, "They are ignored, here and in all other tiles"),
            )
        bands = np.where(valid, sample.bands, sample.bands.dtype.type(0))
        return Sample(bands, np.where(valid, sample.labels, np.uint8(IGNORE_INDEX)), valid, sample.objects)


def no_objects(shape: tuple[int, ...]) -> np.ndarray:
    """Return the objects of a sample of that height and width that has none."""
    return np.empty((0, *shape), dtype=np.uint8)


def pad(sample: Sample, size: int) -> Sample:
    """Pad a sample at the bottom and right to size x size: bands 0, labels 255, not valid, no objects."""
    rows, cols = sample.labels.shape
    if (rows, cols) == (size, size):
        return sample
    margin = ((0, size - rows), (0, size - cols))
    return Sample(
        np.pad(sample.bands, ((0, 0), *margin)),
        np.pad(sample.labels, margin, constant_values=IGNORE_INDEX),
        np.pad(sample.valid, margin),
        np.pad(sample.objects, ((0, 0), *margin)),
    )
