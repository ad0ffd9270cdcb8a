"""Sampling of training tiles: the n-th sample of a run is a function of (seed, epoch, sample), without any state."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from satseg.classes import IGNORE_INDEX
from satseg.errors import TileError
from satseg.objects.targets import paste
from satseg.prefetch import read_ahead
from satseg.tiles.batches import Sample, TileReader
from satseg.training.augment import AugmentationParams, apply_symmetry, cutmix_box, draw_params, stack_params
from satseg.training.augmentation import Augmentation

if TYPE_CHECKING:
    from satseg.tiles.tile import Tile

ORDER = 0  # independent random streams of an epoch: the order of its samples, and the augmentation of each
AUGMENT = 1
MIX = 2


@dataclass(frozen=True, eq=False)
class Batch:
    """Raw samples with symmetries and CutMix applied; the remaining augmentation runs on the training device.

    Args:
        names: N names of tiles.
        bands: (N, C, S, S) raw values; 0 where not valid.
        labels: (N, S, S) uint8, 255 = ignore.
        valid: (N, S, S) bool.
        objects: (N, P, S, S), what is learnt about objects, see :class:`satseg.tiles.batches.Sample`.
        params: Augmentation parameters of the batch.
    """

    names: tuple[str, ...]
    bands: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    objects: np.ndarray
    params: AugmentationParams


@dataclass(frozen=True)
class Shard:
    """The part of every step that this process computes.

    Args:
        batch_size: Samples per batch.
        accumulate: Batches whose gradients each process accumulates per step.
        devices: Number of processes, one per device.
        rank: Rank of this process.
    """

    batch_size: int
    accumulate: int = 1
    devices: int = 1
    rank: int = 0

    @property
    def step_size(self) -> int:
        """Samples per step, over all processes."""
        return self.batch_size * self.accumulate * self.devices

    def first_sample(self, batch: int) -> int:
        """Return the number of the first sample in the n-th batch of this process."""
        return (batch * self.devices + self.rank) * self.batch_size


class TrainingBatches:
    """Training batches of a run, by number.

    Samples are numbered consecutively over the whole run. Steps cross the ends of epochs, so that all steps have the
    same size, no tile is left out, and there may be fewer tiles than samples in a step.

    Args:
        tiles: Training tiles, sampled in proportion to their weights; tiles of weight 0 are never used.
        reader: Reads and caches tiles.
        shard: The part of every step that this process computes.
        seed: Seed of the run.
        augmentation: Ranges of random augmentation.
        balance: Weigh tiles by the classes they contain, see :func:`balanced_weights`.

    Raises:
        TileError: There is no tile, or all weights are zero.
    """

    def __init__(
        self,
        tiles: Sequence[Tile],
        reader: TileReader,
        *,
        shard: Shard,
        seed: int,
        augmentation: Augmentation,
        balance: bool = False,
    ) -> None:
        self.tiles = [tile for tile in tiles if tile.weight > 0]
        if not self.tiles:
            raise TileError(
                "There is no tile to train on: the split 'train' is empty, or all its weights are zero.",
                hint="Check the columns 'split' and 'weight' of the index, or tile again.",
            )
        self.reader = reader
        self.shard = shard
        self.seed = seed
        self.augmentation = augmentation
        self._weights = np.array([tile.weight for tile in self.tiles], dtype=np.float64)
        if balance:
            self._weights *= balanced_weights(self._weights, [tile.pixels for tile in self.tiles])
        self._orders: dict[int, np.ndarray] = {}

    def epochs(self, step: int) -> float:
        """Return the number of epochs in ``step`` steps."""
        return step * self.shard.step_size / len(self.tiles)

    def epoch_ended(self, step: int) -> bool:
        """Return whether the last of ``step`` steps finished an epoch."""
        samples, tiles = step * self.shard.step_size, len(self.tiles)
        return step > 0 and samples // tiles > (samples - self.shard.step_size) // tiles

    def batch(self, number: int) -> Batch:
        """Read the n-th batch of this process, counted from 0; a step consists of ``accumulate`` batches.

        Raises:
            TileError: A tile cannot be read.
        """
        first = self.shard.first_sample(number)
        found = [self._sample(sample) for sample in range(first, first + self.shard.batch_size)]
        names, samples, params = zip(*found, strict=True)
        bands, labels, valid, objects = (np.stack(part) for part in zip(*map(_arrays, samples), strict=True))
        return Batch(names, bands, labels, valid, objects, stack_params(params))

    def ahead(self, step: int, *, workers: int = 1) -> Generator[Batch, None, None]:
        """Yield batches from ``step`` on, without end, and prepare the next ones in background threads."""
        first = step * self.shard.accumulate
        return read_ahead(self.batch, count(first), workers=workers, ahead=2 * workers)

    def _sample(self, number: int) -> tuple[str, Sample, AugmentationParams]:
        epoch, position = divmod(number, len(self.tiles))
        tile = self.tiles[self._order(epoch)[position]]
        name, sample = tile.name, self._read(tile)
        drawn = draw_params(
            self.augmentation, len(sample.bands), np.random.default_rng((self.seed, epoch, AUGMENT, position))
        )
        sample = _transformed(sample, int(drawn.symmetry))
        rng = np.random.default_rng((self.seed, epoch, MIX, position))
        if rng.random() < self.augmentation.cutmix:
            other = self.tiles[self._order(epoch)[rng.integers(len(self.tiles))]]
            sample = _mixed(sample, self._read(other), cutmix_box(self.reader.size, rng))
            name = f"{name} with {other.name}"
        return name, sample, drawn

    def _read(self, tile: Tile) -> Sample:
        sample = self.reader.read(tile)
        largest = int(sample.labels[sample.labels != IGNORE_INDEX].max(initial=0))
        if largest >= len(tile.pixels):
            raise TileError(
                f"The labels {tile.labels} contain class id {largest}, but the tile set has only {len(tile.pixels)} "
                "classes, numbered from 0.",
                hint=f"Set unlabelled pixels to {IGNORE_INDEX}, or tile again with a class for this value.",
            )
        return sample

    def _order(self, epoch: int) -> np.ndarray:
        """Return the tiles of an epoch in their order, (T,) indices."""
        order = self._orders.get(epoch)
        if order is None:
            order = epoch_order(self._weights, np.random.default_rng((self.seed, epoch, ORDER)))
            self._orders = {e: o for e, o in self._orders.items() if e >= epoch - 1} | {epoch: order}
        return order


def epoch_order(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the T tiles of one epoch by systematic sampling, in random order.

    The number of times a tile is drawn differs from its expected value by less than one; with equal weights, every tile
    is drawn exactly once.

    Args:
        weights: (T,) float64 above zero.
        rng: Random generator.

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
    """Compute factors on the weights of tiles that balance the classes.

    The probability of a tile is then that of drawing first a class, uniformly, and then one of the labelled pixels of
    that class in the tile. Tiles without labelled pixels get 0.

    Args:
        weights: (T,) float64 above zero.
        pixels: (T, K) labelled pixels per tile and class.

    Returns:
        (T,) float64. If all tiles have labels, the product with the weights has the same sum as the weights.
    """
    counts = np.asarray(pixels, dtype=np.float64)
    of_class = (counts * weights[:, None]).sum(axis=0)  # (K,)
    present = of_class > 0
    if not present.any():
        return np.ones(len(weights))
    shares = counts[:, present] / of_class[present]  # (T, K present); weighted, each column sums to 1
    factors: np.ndarray = shares.mean(axis=1) * weights.sum()
    return factors


def _transformed(sample: Sample, symmetry: int) -> Sample:
    return Sample(*(apply_symmetry(part, symmetry) for part in _arrays(sample)))


def _mixed(sample: Sample, other: Sample, box: tuple[slice, slice]) -> Sample:
    """Return a copy of a sample with a rectangle from another one."""
    mixed = Sample(sample.bands.copy(), sample.labels.copy(), sample.valid.copy(), sample.objects)
    for ours, theirs in zip(_arrays(mixed)[:3], _arrays(other)[:3], strict=True):
        ours[..., *box] = theirs[..., *box]
    return replace(mixed, objects=paste(sample.objects, other.objects, box))


def _arrays(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return sample.bands, sample.labels, sample.valid, sample.objects
