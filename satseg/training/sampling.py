"""Which tile is the n-th sample of a run, and what it looks like: a function of (seed, epoch, sample), no stream."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from satseg.classes import IGNORE_INDEX
from satseg.errors import TileError
from satseg.prefetch import read_ahead
from satseg.tiles.batches import Sample, TileReader
from satseg.training.augment import Augmentation, Draw, draw, draw_box, stack_draws, turn

if TYPE_CHECKING:
    from satseg.tiles.tileset import Tile

ORDER = 0  # sub-streams of an epoch's randomness: the order of its samples, and each sample's augmentation
AUGMENT = 1
MIX = 2


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples raw, turned and mixed; the rest of what was drawn is left to the device that trains.

    Args:
        names: N names of tiles.
        bands: (N, C, S, S) raw values; 0 where not valid.
        labels: (N, S, S) uint8, 255 = ignore.
        valid: (N, S, S) bool.
        draws: What is done to each sample.
    """

    names: tuple[str, ...]
    bands: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    draws: Draw


@dataclass(frozen=True)
class Share:
    """Which part of every step this process computes.

    Args:
        batch_size: Samples at a time.
        accumulate: Batches that each process adds up before it updates the network.
        devices: Processes.
        rank: Number of this process, from 0.
    """

    batch_size: int
    accumulate: int = 1
    devices: int = 1
    rank: int = 0

    @property
    def step_size(self) -> int:
        """Samples of a step, over all processes."""
        return self.batch_size * self.accumulate * self.devices

    def first_sample(self, batch: int) -> int:
        """Return the number of the first sample of this process's n-th batch of the run."""
        return (batch * self.devices + self.rank) * self.batch_size


class TrainingBatches:
    """Batches of a run, by number.

    Samples are numbered through the whole run, and a step takes the next of them: steps run across the ends of
    epochs, so that none is ever smaller, no tile is left out, and fewer tiles than a step takes work as well.

    Args:
        tiles: Training tiles. A tile of weight 2 comes twice as often as one of weight 1, one of weight 0 never.
        reader: Reads and keeps them.
        share: What this process computes of every step.
        seed: Seed of the run.
        augmentation: How far samples may be changed.
        balance: Weigh tiles by the classes they hold, see :func:`balanced_weights`.

    Raises:
        TileError: There is no tile, or all weights are zero.
    """

    def __init__(
        self,
        tiles: Sequence[Tile],
        reader: TileReader,
        *,
        share: Share,
        seed: int,
        augmentation: Augmentation,
        balance: bool = False,
    ) -> None:
        self.tiles = [tile for tile in tiles if tile.weight > 0]
        if not self.tiles:
            raise TileError(
                "There is no tile to train on: the split 'train' is empty.",
                hint="Check the column 'split' and 'weight' of the index, or tile again.",
            )
        self.reader = reader
        self.share = share
        self.seed = seed
        self.augmentation = augmentation
        self._weights = np.array([tile.weight for tile in self.tiles], dtype=np.float64)
        if balance:
            self._weights *= balanced_weights(self._weights, [tile.pixels for tile in self.tiles])
        self._orders: dict[int, np.ndarray] = {}

    def epochs(self, step: int) -> float:
        """Return the passes over the data that ``step`` steps make."""
        return step * self.share.step_size / len(self.tiles)

    def epoch_ended(self, step: int) -> bool:
        """Tell whether the last of ``step`` steps finished an epoch."""
        samples, tiles = step * self.share.step_size, len(self.tiles)
        return step > 0 and samples // tiles > (samples - self.share.step_size) // tiles

    def batch(self, number: int) -> Batch:
        """Read and turn this process's n-th batch of the run, counted from 0; a step takes ``accumulate`` of them.

        Raises:
            TileError: A tile cannot be read.
        """
        first = self.share.first_sample(number)
        found = [self._sample(sample) for sample in range(first, first + self.share.batch_size)]
        names, samples, draws = zip(*found, strict=True)
        bands, labels, valid = (
            np.stack(part) for part in zip(*((s.bands, s.labels, s.valid) for s in samples), strict=True)
        )
        return Batch(names, bands, labels, valid, stack_draws(draws))

    def ahead(self, step: int, *, workers: int = 1) -> Generator[Batch, None, None]:
        """Yield the batches from ``step`` on without end, prepared in threads while others are trained on."""
        first = step * self.share.accumulate
        return read_ahead(self.batch, count(first), workers=workers, ahead=2 * workers)

    def _sample(self, number: int) -> tuple[str, Sample, Draw]:
        epoch, position = divmod(number, len(self.tiles))
        tile = self.tiles[self._order(epoch)[position]]
        name, sample = tile.name, self._read(tile)
        drawn = draw(self.augmentation, len(sample.bands), np.random.default_rng((self.seed, epoch, AUGMENT, position)))
        sample = _turned(sample, int(drawn.symmetry))
        rng = np.random.default_rng((self.seed, epoch, MIX, position))
        if rng.random() < self.augmentation.cutmix:
            other = self.tiles[self._order(epoch)[rng.integers(len(self.tiles))]]
            sample = _mixed(sample, self._read(other), draw_box(self.reader.size, rng))
            name = f"{name} with {other.name}"
        return name, sample, drawn

    def _read(self, tile: Tile) -> Sample:
        sample = self.reader.read(tile)
        largest = int(sample.labels[sample.labels != IGNORE_INDEX].max(initial=0))
        if largest >= len(tile.pixels):
            raise TileError(
                f"The labels {tile.labels} hold the class {largest}, but there are {len(tile.pixels)} classes, from 0.",
                hint=f"Set what is of no class to {IGNORE_INDEX}, or tile again with a class for it.",
            )
        return sample

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


def balanced_weights(weights: np.ndarray, pixels: Sequence[Sequence[int]]) -> np.ndarray:
    """Return factors on the weights of tiles that draw every class alike.

    A tile then comes as often as if a class were drawn first, all with the same chance, and then one of its labelled
    pixels: the tile it lies in. Tiles without labelled pixels never come.

    Args:
        weights: (T,) float64 above zero.
        pixels: (T, K) labelled pixels per tile and class.

    Returns:
        (T,) float64; with them the weights sum to what they summed to, so far as all tiles hold labels.
    """
    counts = np.asarray(pixels, dtype=np.float64)
    of_class = (counts * weights[:, None]).sum(axis=0)  # (K,)
    present = of_class > 0
    if not present.any():
        return np.ones(len(weights))
    shares = counts[:, present] / of_class[present]  # (T, K present); weighted, each column sums to 1
    factors: np.ndarray = shares.mean(axis=1) * weights.sum()
    return factors


def _turned(sample: Sample, symmetry: int) -> Sample:
    bands, labels, valid = (turn(part, symmetry) for part in (sample.bands, sample.labels, sample.valid))
    return Sample(bands, labels, valid)


def _mixed(sample: Sample, other: Sample, box: tuple[slice, slice]) -> Sample:
    """Return a copy of a sample with a rectangle of another one."""
    mixed = Sample(sample.bands.copy(), sample.labels.copy(), sample.valid.copy())
    for ours, theirs in ((mixed.bands, other.bands), (mixed.labels, other.labels), (mixed.valid, other.valid)):
        ours[..., *box] = theirs[..., *box]
    return mixed
