from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

from satseg.errors import UsageError
from satseg.tiles.layout import assign_splits, blocks, choose_block, place_at_random, place_tiles

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
    splits = assign_splits(areas, (0.7, 0.15, 0.15), seed)
    for name, share in zip(("train", "val", "test"), (0.7, 0.15, 0.15), strict=True):
        got = sum(area for area, split in zip(areas, splits, strict=True) if split == name)
        assert abs(got - share * sum(areas)) <= max(areas)


def test_the_seed_decides() -> None:
    areas = [1] * 30
    assert assign_splits(areas, (7, 2, 1), 3) == assign_splits(areas, (0.7, 0.2, 0.1), 3)
    assert assign_splits(areas, (7, 2, 1), 3) != assign_splits(areas, (7, 2, 1), 4)


def test_val_comes_before_test_where_blocks_are_few() -> None:
    assert sorted(assign_splits([5, 5], (0.7, 0.15, 0.15), 0)) == ["train", "val"]
    assert sorted(assign_splits([5, 5, 5], (0.7, 0.15, 0.15), 0)) == ["test", "train", "val"]
    assert "test" not in assign_splits([5] * 10, (0.8, 0.2, 0), 0)


@pytest.mark.parametrize("shares", [(0, 1, 1), (1, -1, 0), (1, 1)])
def test_shares_that_make_no_sense_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="Shares of train, val and test"):
        assign_splits([1], shares, 0)


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
