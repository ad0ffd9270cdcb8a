from __future__ import annotations

from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

from satseg.errors import UsageError
from satseg.tiling.layout import balance_splits, blocks, choose_block, place_at_random, place_tiles

sizes = st.integers(1, 900)


@given(sizes, sizes, st.integers(32, 128), st.integers(1, 4))
def test_blocks_part_the_scene(height: int, width: int, size: int, factor: int) -> None:
    covered = np.zeros((height, width), dtype=int)
    for window in blocks(height, width, block=factor * size, size=size):
        covered[window.toslices()] += 1
        assert window.height >= min(size, height)
        assert window.width >= min(size, width)
    assert (covered == 1).all()


@settings(deadline=None)
@given(sizes, sizes, st.integers(32, 128), st.data())
def test_tiles_cover_their_block_and_stay_inside(height: int, width: int, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 8))
    (block,) = blocks(height, width, block=10_000, size=size)
    covered = np.zeros((height, width), dtype=int)
    for placement in place_tiles(block, size=size, overlap=overlap):
        window = placement.window
        assert (window.height, window.width) == (min(size, height), min(size, width))
        covered[window.toslices()] += 1
    assert (covered >= 1).all()


@given(sizes, sizes, st.integers(32, 128))
def test_what_was_counted_before_leaves_every_pixel_counted_once(height: int, width: int, size: int) -> None:
    (block,) = blocks(height, width, block=10_000, size=size)
    counted = np.zeros((height, width), dtype=int)
    for placement in place_tiles(block, size=size, overlap=0):
        rows, columns = placement.window.toslices()
        above, left = placement.counted_before
        counted[rows.start + above : rows.stop, columns.start + left : columns.stop] += 1
    assert (counted == 1).all()


def test_a_block_is_never_a_single_tile() -> None:
    assert choose_block([(300, 300)], 256) == 512


def test_blocks_grow_with_the_scenes_but_stay_two_dozen() -> None:
    assert choose_block([(4096, 2048)], 256) == 512
    side = choose_block([(20_000, 20_000)], 256)
    assert len(blocks(20_000, 20_000, block=side, size=256)) >= 24
    assert len(blocks(20_000, 20_000, block=2 * side, size=256)) < 24


@settings(deadline=None)
@given(st.lists(st.tuples(sizes, sizes), min_size=1, max_size=60), st.sampled_from([32, 64, 256]))
def test_blocks_are_chosen_for_any_scenes(shapes: list[tuple[int, int]], size: int) -> None:
    side = choose_block(shapes, size)
    assert side >= 2 * size
    assert side < 2 * max(2 * size, max(map(max, shapes)))  # no larger than it takes to hold any scene


def test_many_small_scenes_are_blocks_each() -> None:
    assert choose_block([(64, 64)] * 1000, 32) == 64
    assert choose_block([(452, 413)] * 24, 64) == 512


def test_many_small_scenes_leave_a_large_one_in_parts() -> None:
    side = choose_block([(64, 64)] * 1000 + [(20_000, 20_000)], 64)
    assert len(blocks(20_000, 20_000, block=side, size=64)) >= 24


@given(st.lists(st.integers(1, 1000), min_size=40, max_size=80), st.integers(0, 99))
def test_shares_are_met_in_area(areas: list[int], seed: int) -> None:
    splits = balance_splits(areas, (0.7, 0.15, 0.15), seed)
    for name, share in zip(("train", "val", "test"), (0.7, 0.15, 0.15), strict=True):
        got = sum(area for area, split in zip(areas, splits, strict=True) if split == name)
        assert abs(got - share * sum(areas)) <= max(areas)


def held(pixels: np.ndarray, splits: list[str]) -> dict[str, np.ndarray]:
    """Return for each split how many of its blocks hold each class."""
    return {name: (pixels[np.array(splits) == name] > 0).sum(axis=0) for name in ("train", "val", "test")}


blocks_of_classes = st.integers(1, 4).flatmap(
    lambda kinds: st.lists(
        st.lists(st.integers(0, 3).map(lambda n: max(0, n - 1) * 50), min_size=kinds, max_size=kinds),
        min_size=40,
        max_size=70,
    )
)


@settings(deadline=None)
@given(blocks_of_classes, st.integers(0, 9))
def test_every_split_gets_every_class_that_enough_blocks_hold(counts: list[list[int]], seed: int) -> None:
    pixels = np.array([[*row, 400 - sum(row)] for row in counts])  # blocks of one area, the rest of it background
    splits = balance_splits(pixels.sum(axis=1).tolist(), (0.7, 0.15, 0.15), seed, pixels=pixels)
    blocks_with = (pixels > 0).sum(axis=0)
    found = held(pixels, splits)
    for number, split in enumerate(("train", "val", "test")):
        assert (found[split][blocks_with >= 9] > 0).all()
        assert splits.count(split) == pytest.approx((0.7, 0.15, 0.15)[number] * len(splits), abs=1)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 90), min_size=3, max_size=3).filter(any), min_size=40, max_size=80))
def test_shares_are_met_whatever_classes_blocks_hold(counts: list[list[int]]) -> None:
    pixels = np.array(counts)
    areas = pixels.sum(axis=1)
    splits = np.array(balance_splits(areas.tolist(), (0.7, 0.15, 0.15), 1, pixels=pixels))
    for name, share in zip(("train", "val", "test"), (0.7, 0.15, 0.15), strict=True):
        assert abs(areas[splits == name].sum() - share * areas.sum()) <= areas.max()


def test_a_rare_class_goes_to_each_split_once_where_three_blocks_hold_it() -> None:
    pixels = np.full((40, 3), 100)
    pixels[:, 1:] = 0
    pixels[[3, 17, 30], 1] = 1
    pixels[[4, 17], 2] = 1
    for seed in range(20):
        found = held(pixels, balance_splits([100] * 40, (0.7, 0.15, 0.15), seed, pixels=pixels))
        assert [found[split][1] for split in ("train", "val", "test")] == [1, 1, 1]
        assert [found[split][2] for split in ("train", "val", "test")] == [1, 1, 0]


def test_no_split_is_left_empty_for_the_sake_of_classes() -> None:
    pixels = np.eye(3, dtype=int) * 10
    assert sorted(balance_splits([10] * 3, (0.7, 0.15, 0.15), 0, pixels=pixels)) == ["test", "train", "val"]
    assert sorted(balance_splits([10] * 2, (0.7, 0.15, 0.15), 0, pixels=pixels[:2])) == ["train", "val"]


def test_thousands_of_blocks_of_many_classes_are_dealt_at_once() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 50, (5000, 40)) * (rng.random((5000, 40)) < 0.1)
    start = perf_counter()
    balance_splits((pixels.sum(axis=1) + 1).tolist(), (0.7, 0.15, 0.15), 0, pixels=pixels)
    assert perf_counter() - start < 5


def test_the_seed_decides() -> None:
    areas = [1] * 30
    assert balance_splits(areas, (7, 2, 1), 3) == balance_splits(areas, (0.7, 0.2, 0.1), 3)
    assert balance_splits(areas, (7, 2, 1), 3) != balance_splits(areas, (7, 2, 1), 4)


def test_val_comes_before_test_where_blocks_are_few() -> None:
    assert sorted(balance_splits([5, 5], (0.7, 0.15, 0.15), 0)) == ["train", "val"]
    assert sorted(balance_splits([5, 5, 5], (0.7, 0.15, 0.15), 0)) == ["test", "train", "val"]
    assert "test" not in balance_splits([5] * 10, (0.8, 0.2, 0), 0)


@pytest.mark.parametrize(
    "shares", [(0, 1, 1), (1, -1, 0), (1, 1), (float("nan"), 0.2, 0.1), (0.7, float("nan"), 0.1), (float("inf"), 1, 1)]
)
def test_shares_that_make_no_sense_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="shares of train, val and test"):
        balance_splits([1], shares, 0)


def test_random_tiles_lie_in_their_block_and_depend_on_the_seed() -> None:
    block = Window(100, 200, 300, 150)
    placed = [place_at_random(block, size=64, overlap=32, rng=np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert placed[0] == placed[1] != placed[2]
    for placement in placed[0]:
        window = placement.window
        assert (window.width, window.height) == (64, 64)
        assert 100 <= window.col_off <= 336
        assert 200 <= window.row_off <= 286
    (small,) = place_at_random(Window(5, 6, 40, 200), size=256, overlap=128, rng=np.random.default_rng(0))
    assert small.window == Window(5, 6, 40, 200)


@pytest.mark.parametrize("seed", range(12))
def test_small_shares_do_not_take_the_large_blocks(seed: int) -> None:
    areas = [65, 50, 40, 31]
    splits = balance_splits(areas, (0.7, 0.15, 0.15), seed, pixels=np.array([[area, area] for area in areas]))
    assert sorted(splits) == ["test", "train", "train", "val"]
    assert splits[0] == "train"


def test_a_split_that_no_block_fits_takes_the_smallest() -> None:
    for seed in range(6):
        splits = balance_splits([900, 100, 90], (0.9, 0.05, 0.05), seed)
        assert splits[0] == "train"
