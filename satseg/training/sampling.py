"""Which tile is the n-th sample of a run, and what it looks like: a function of (seed, epoch, sample), no stream."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from satseg.errors import TileError
from satseg.prefetch import read_ahead
from satseg.tiles.batches import TileReader
from satseg.training.augment import Augmentation, draw, turn

if TYPE_CHECKING:
    from satseg.tiles.tileset import Tile

ORDER = 0  # sub-streams of an epoch's randomness: the order of its samples, and each sample's augmentation
AUGMENT = 1


@dataclass(frozen=True, eq=False)
class Batch:
    """The samples of one step, raw: normalising and adjusting them is left to the device that trains.

    Args:
        names: N names of tiles.
        bands: (N, C, S, S) raw values; 0 where not valid.
        labels: (N, S, S) uint8, 255 = ignore.
        valid: (N, S, S) bool.
        gain: (N, C) float32 of the augmentation.
        offset: (N, C) float32 of the augmentation.
    """

    names: tuple[str, ...]
    bands: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    gain: np.ndarray
    offset: np.ndarray


class TrainingBatches:
    """Batches of a run, by step.

    Samples are numbered through the whole run, and a batch is the next N of them: batches run across the ends of
    epochs, so that none is ever smaller, no tile is left out, and fewer tiles than a batch work as well.

    Args:
        tiles: Training tiles. A tile of weight 2 comes twice as often as one of weight 1, one of weight 0 never.
        reader: Reads and keeps them.
        batch_size: Samples N of a step.
        seed: Seed of the run.
        augmentation: How far samples may be changed.

    Raises:
        TileError: There is no tile, or all weights are zero.
    """

    def __init__(
        self, tiles: Sequence[Tile], reader: TileReader, *, batch_size: int, seed: int, augmentation: Augmentation
    ) -> None:
        self.tiles = [tile for tile in tiles if tile.weight > 0]
        if not self.tiles:
            raise TileError(
                "There is no tile to train on: the split 'train' is empty.",
                hint="Check the column 'split' and 'weight' of the index, or tile again.",
            )
        self.reader = reader
        self.batch_size = batch_size
        self.seed = seed
        self.augmentation = augmentation
        self._weights = np.array([tile.weight for tile in self.tiles], dtype=np.float64)
        self._orders: dict[int, np.ndarray] = {}

    def epochs(self, step: int) -> float:
        """Return the passes over the data that ``step`` steps make."""
        return step * self.batch_size / len(self.tiles)

    def epoch_ended(self, step: int) -> bool:
        """Tell whether the last of ``step`` steps finished an epoch."""
        samples = step * self.batch_size
        return step > 0 and samples // len(self.tiles) > (samples - self.batch_size) // len(self.tiles)

    def batch(self, step: int) -> Batch:
        """Read and augment the batch of one step, counted from 0.

        Raises:
            TileError: A tile cannot be read.
        """
        first = step * self.batch_size
        samples = [self._sample(number) for number in range(first, first + self.batch_size)]
        names, *arrays = zip(*samples, strict=True)
        return Batch(names, *(np.stack(part) for part in arrays))

    def ahead(self, step: int, *, workers: int = 1) -> Generator[Batch, None, None]:
        """Yield the batches from ``step`` on without end, prepared in threads while others are trained on."""
        return read_ahead(self.batch, count(step), workers=workers, ahead=2 * workers)

    def _sample(self, number: int) -> tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        epoch, position = divmod(number, len(self.tiles))
        tile = self.tiles[self._order(epoch)[position]]
        sample = self.reader.read(tile)
        rng = np.random.default_rng((self.seed, epoch, AUGMENT, position))
        drawn = draw(self.augmentation, len(sample.bands), rng)
        turned = (turn(array, drawn.symmetry) for array in (sample.bands, sample.labels, sample.valid))
        return (tile.name, *turned, drawn.gain, drawn.offset)

    def _order(self, epoch: int) -> np.ndarray:
        """Return the tile of each position of an epoch, (T,) indices."""
        order = self._orders.get(epoch)
        if order is None:
            order = epoch_order(self._weights, np.random.default_rng((self.seed, epoch, ORDER)))
            self._orders = {e: o for e, o in self._orders.items() if e >= epoch - 1} | {epoch: order}
        return order


def epoch_order(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the tiles of one epoch, as many as there are, in random order.

    Systematic sampling: each tile comes within one of its expected number of times, and exactly once where all
    weights are equal.

    Args:
        weights: (T,) float64 above zero.
        rng: Source of the draw.

    Returns:
        (T,) indices.
    """
    size = len(weights)
    if np.all(weights == weights[0]):
        return rng.permutation(size)
    ends = np.cumsum(weights) * (size / weights.sum())
    drawn = np.searchsorted(ends, np.arange(size) + rng.random(), side="right")
    return rng.permutation(np.minimum(drawn, size - 1))
