from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest

from satseg.errors import TileError
from satseg.tiles.batches import TileReader
from satseg.training.augment import SYMMETRIES, AugmentationParams, apply_symmetry
from satseg.training.augmentation import Augmentation
from satseg.training.sampling import Shard, TrainingBatches, balanced_weights, epoch_order


@dataclass(frozen=True)
class FakeTile:
    """A tile in memory, whose pixels carry its number."""

    number: int
    weight: float = 1.0
    shape: tuple[int, int] = (4, 4)
    pixels: tuple[int, ...] = (6, 5, 5)
    labels: Path = Path("labels.tif")

    @property
    def name(self) -> str:
        return f"tile-{self.number}"

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        height, width = self.shape
        bands = np.arange(2 * height * width, dtype=np.uint16).reshape(2, height, width) + 100 * self.number
        return bands, (bands[0] % 3).astype(np.uint8), np.ones(self.shape, dtype=bool)


def make(
    count: int, *, batch_size: int = 4, seed: int = 0, weights: list[float] | None = None, cache_bytes: int = 2**20
) -> TrainingBatches:
    tiles = [FakeTile(i, weight) for i, weight in enumerate(weights or [1.0] * count)]
    reader = TileReader(4, cache_bytes=cache_bytes)
    return TrainingBatches(tiles, reader, shard=Shard(batch_size), seed=seed, augmentation=Augmentation())  # type: ignore[arg-type]


def names(batches: TrainingBatches, steps: int) -> list[str]:
    return [name for step in range(steps) for name in batches.batch(step).names]


def test_an_epoch_holds_every_tile_once_and_batches_run_across_its_end() -> None:
    drawn = names(make(6), steps=6)
    epochs = [drawn[i : i + 6] for i in range(0, 24, 6)]
    assert all(sorted(epoch) == sorted(epochs[0]) and len(set(epoch)) == 6 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_fewer_tiles_than_a_batch_fill_it_again_and_again() -> None:
    assert Counter(names(make(3, batch_size=9), steps=1)) == {"tile-0": 3, "tile-1": 3, "tile-2": 3}


def test_the_end_of_an_epoch_is_the_step_that_takes_its_last_tile() -> None:
    batches = make(6)
    assert [step for step in range(8) if batches.epoch_ended(step)] == [2, 3, 5, 6]
    assert batches.epochs(3) == 2


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    one, other = make(7), make(7)
    other.batch(0)
    first, again = one.batch(5), other.batch(5)
    assert first.names == again.names
    for part in ("bands", "labels", "valid"):
        assert np.array_equal(getattr(first, part), getattr(again, part))
    for part in fields(AugmentationParams):
        assert np.array_equal(getattr(first.params, part.name), getattr(again.params, part.name))


def test_another_seed_draws_other_batches() -> None:
    assert names(make(7), 3) != names(make(7, seed=1), 3)


def test_reading_ahead_from_the_middle_gives_what_a_run_from_the_start_gives() -> None:
    ahead = make(5).ahead(3, workers=2)
    late = [next(ahead) for _ in range(4)]
    ahead.close()
    assert [batch.names for batch in late] == [make(5).batch(step).names for step in range(3, 7)]
    assert all(np.array_equal(b.bands, make(5).batch(s).bands) for s, b in enumerate(late, start=3))


def test_images_and_labels_of_a_sample_are_turned_alike() -> None:
    batch = make(5, batch_size=20).batch(0)
    for name, bands, labels in zip(batch.names, batch.bands, batch.labels, strict=True):
        raw_bands, raw_labels, _ = FakeTile(int(name[5:])).read()
        turns = [s for s in range(SYMMETRIES) if np.array_equal(apply_symmetry(raw_bands, s), bands)]
        assert len(turns) == 1
        assert np.array_equal(apply_symmetry(raw_labels, turns[0]), labels)


def test_a_tile_that_comes_back_in_another_epoch_is_augmented_anew() -> None:
    batches = make(1, batch_size=1)
    assert len({batches.batch(step).params.gain.tobytes() for step in range(10)}) == 10


def test_bands_stay_raw() -> None:
    batch = make(3).batch(0)
    assert batch.bands.dtype == np.uint16
    assert (batch.bands.shape, batch.labels.shape, batch.params.gain.shape) == ((4, 2, 4, 4), (4, 4, 4), (4, 2))


def test_what_is_kept_in_memory_does_not_change_batches() -> None:
    kept, read = make(5), make(5, cache_bytes=0)
    assert all(np.array_equal(kept.batch(s).bands, read.batch(s).bands) for s in range(4))


def test_weights_decide_how_often_a_tile_comes_and_zero_is_never() -> None:
    batches = make(4, weights=[3.0, 1.0, 1.0, 0.0])
    counts = Counter(names(batches, steps=150))  # 600 samples: 200 epochs of 3
    assert counts["tile-3"] == 0
    assert counts["tile-0"] / 600 == pytest.approx(0.6, abs=0.03)
    assert counts["tile-1"] / 600 == pytest.approx(0.2, abs=0.03)


def test_a_weighted_epoch_holds_each_tile_within_one_of_its_share() -> None:
    weights = np.array([0.3, 2.5, 1.0, 7.2, 0.1, 3.9])
    for seed in range(50):
        counts = np.bincount(epoch_order(weights, np.random.default_rng(seed)), minlength=6)
        assert counts.sum() == 6
        assert (np.abs(counts - 6 * weights / weights.sum()) < 1).all()


@pytest.mark.parametrize("weights", [[], [0.0, 0.0]])
def test_nothing_to_train_on_is_refused(weights: list[float]) -> None:
    with pytest.raises(TileError, match="no tile to train on"):
        TrainingBatches(
            [FakeTile(i, w) for i, w in enumerate(weights)],  # type: ignore[misc]
            TileReader(4),
            shard=Shard(2),
            seed=0,
            augmentation=Augmentation(),
        )


def rebuilt(shards: list[Shard], steps: int) -> list[str]:
    """Return the names of all samples, step by step, each step's batches in order of process and time."""
    made = [
        TrainingBatches(
            [FakeTile(i) for i in range(7)],  # type: ignore[misc]
            TileReader(4),
            shard=shard,
            seed=0,
            augmentation=Augmentation(),
        )
        for shard in shards
    ]
    count = steps * shards[0].accumulate
    return [name for number in range(count) for one in made for name in one.batch(number).names]


def test_processes_and_parts_of_a_step_share_the_samples_of_one_larger_batch() -> None:
    whole = rebuilt([Shard(12)], 2)
    assert rebuilt([Shard(6, devices=2, rank=rank) for rank in range(2)], 2) == whole
    assert rebuilt([Shard(4, accumulate=3)], 2) == whole
    assert rebuilt([Shard(2, accumulate=3, devices=2, rank=rank) for rank in range(2)], 2) == whole


def test_epochs_count_the_samples_of_all_processes_and_parts() -> None:
    batches = make(24)
    batches.shard = Shard(2, accumulate=3, devices=2)
    assert (batches.shard.step_size, batches.epochs(1)) == (12, 0.5)
    assert [step for step in range(5) if batches.epoch_ended(step)] == [2, 4]


def test_cutmix_takes_a_rectangle_of_another_tile_with_its_labels() -> None:
    tiles = [FakeTile(i, shape=(8, 8)) for i in range(5)]
    augmentation = Augmentation(symmetries=False, cutmix=1.0)
    batches = TrainingBatches(tiles, TileReader(8), shard=Shard(40), seed=0, augmentation=augmentation)  # type: ignore[arg-type]
    batch = batches.batch(0)
    mixed = 0
    for name, bands, labels in zip(batch.names, batch.bands, batch.labels, strict=True):
        first, other = (FakeTile(int(part[5:]), shape=(8, 8)).read() for part in name.split(" with "))
        from_other = bands[0] != first[0][0]
        assert np.array_equal(bands, np.where(from_other, other[0], first[0]))
        assert np.array_equal(labels, np.where(from_other, other[1], first[1]))
        rows, cols = from_other.any(axis=1), from_other.any(axis=0)
        assert from_other.sum() == rows.sum() * cols.sum()
        mixed += bool(from_other.any())
    assert mixed > 20
    assert np.array_equal(tiles[0].read()[0], FakeTile(0, shape=(8, 8)).read()[0])


def test_balanced_weights_draw_every_class_alike() -> None:
    weights = np.array([1.0, 1.0, 2.0, 1.0])
    pixels = np.array([[100, 0, 0], [90, 10, 0], [95, 5, 0], [0, 0, 0]])
    drawn = weights * balanced_weights(weights, pixels.tolist())
    chance = drawn / drawn.sum()
    # Drawing a class first - the third has no pixel - and then one of its pixels by the weight of its tile:
    assert chance == pytest.approx([0.5 * 100 / 380, 0.5 * (90 / 380 + 10 / 20), 0.5 * (190 / 380 + 10 / 20), 0])
    assert drawn.sum() == pytest.approx(weights.sum())


def test_without_any_labelled_pixel_tiles_keep_their_weights() -> None:
    assert balanced_weights(np.array([1.0, 2.0]), [[0, 0], [0, 0]]).tolist() == [1, 1]


def test_labels_of_a_class_that_there_is_not_name_their_file() -> None:
    tiles = [FakeTile(0, pixels=(8, 8), labels=Path("labels/tile-0.tif"))]
    batches = TrainingBatches(tiles, TileReader(4), shard=Shard(1), seed=0, augmentation=Augmentation())  # type: ignore[arg-type]
    with pytest.raises(TileError, match=r"labels/tile-0\.tif contain class id 2, but the tile set has only 2 classes"):
        batches.batch(0)
