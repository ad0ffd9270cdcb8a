"""Cleaning: small regions dissolve as a plain, slow, whole-map twin says, and holes are filled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planar_checks import maps
from scipy.ndimage import label

from satseg.vectorization import sieve as sieving
from satseg.vectorization.sieve import Sieve


def cleaned(
    values: np.ndarray, *, smallest: float = 0, hole: float = 0, strip: int = 1000, diagonal: bool = False
) -> np.ndarray:
    sieve = Sieve(values.shape[1], min_pixels=smallest, max_hole=hole, diagonal=diagonal)
    parts = [sieve.push(values[top : top + strip].astype(np.int32)) for top in range(0, len(values), strip)]
    return np.concatenate([*parts, sieve.finish()])


def components(values: np.ndarray, diagonal: bool = False) -> np.ndarray:
    found, count = np.full(values.shape, -1), 0
    for value in np.unique(values[values >= 0]):
        numbered, number = label(values == value, np.ones((3, 3)) if diagonal else None)
        found[numbered > 0] = numbered[numbered > 0] - 1 + count
        count += number
    return found


def twin(values: np.ndarray, smallest: float, diagonal: bool) -> np.ndarray:
    """Dissolve the smallest region of the whole map again and again."""
    regions = components(values, diagonal)
    numbers = [n for n in np.unique(regions) if n >= 0]
    value = {n: values[regions == n][0] for n in numbers}
    first = {n: np.flatnonzero(regions == n)[0] for n in numbers}
    while True:
        sizes = {n: int((regions == n).sum()) for n in value}
        small = sorted((sizes[n], value[n], first[n], n) for n in value if sizes[n] < smallest)
        if not small:
            break
        chosen = small[0][3]
        padded, shared = np.pad(regions, 1, constant_values=-1), {}
        for row, column in np.argwhere(padded == chosen):
            for other in (
                padded[row - 1, column],
                padded[row + 1, column],
                padded[row, column - 1],
                padded[row, column + 1],
            ):
                if other not in (-1, chosen):
                    shared[other] = shared.get(other, 0) + 1
        if shared:
            target = min(shared, key=lambda n: (-shared[n], value[n], first[n]))
            regions[regions == chosen] = target
        else:
            regions[regions == chosen] = -1
        del value[chosen], first[chosen]
    return np.array([[value.get(n, -1) for n in row] for row in regions])


@settings(max_examples=200, deadline=None)
@given(maps(side=16), st.sampled_from([2, 4, 9, 30]), st.booleans())
def test_small_regions_dissolve_as_in_the_twin(values: np.ndarray, smallest: int, diagonal: bool) -> None:
    found = cleaned(values, smallest=smallest, diagonal=diagonal)
    np.testing.assert_array_equal(found, twin(values, smallest, diagonal))


def test_what_dissolves_and_what_is_filled_is_counted() -> None:
    values = np.full((9, 12), -1)
    values[1:8, 1:8] = 1
    values[3, 3], values[5, 5:7], values[0, 10], values[6:8, 10:12] = 0, -1, 2, 2
    sieve = Sieve(12, min_pixels=3, max_hole=2)
    found = [sieve.push(values[:4].astype(np.int32)), sieve.push(values[4:].astype(np.int32)), sieve.finish()]
    assert (sieve.dissolved, sieve.filled) == (2, 1)
    assert np.unique(np.concatenate(found), return_counts=True)[1].tolist() == [55, 49, 4]


@settings(max_examples=100, deadline=None)
@given(maps(side=16), st.sampled_from([2, 4, 9]))
def test_so_many_dissolve_as_are_too_few_pixels_in_the_twin(values: np.ndarray, smallest: int) -> None:
    sieve = Sieve(values.shape[1], min_pixels=smallest, max_hole=0)
    before = components(values)
    sieve.push(values.astype(np.int32))
    sieve.finish()
    sizes = np.bincount(before[before >= 0], minlength=1)
    assert sieve.dissolved <= (sizes < smallest).sum()  # one that took another one in may be large enough
    assert (sieve.dissolved > 0) == ((sizes < smallest) & (sizes > 0)).any()


@settings(max_examples=100, deadline=None)
@given(maps(), st.sampled_from([2, 5, 20]), st.integers(1, 9), st.integers(2, 11))
def test_strips_of_any_height_give_the_same_map(values: np.ndarray, smallest: int, strip: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sieving, "BLOCK", block)
        found = cleaned(values, smallest=smallest, hole=3, strip=strip)
        np.testing.assert_array_equal(found, cleaned(values, smallest=smallest, hole=3))
    assert found.shape == values.shape


@settings(max_examples=100, deadline=None)
@given(maps(), st.sampled_from([2, 5, 20]), st.integers(2, 11))
def test_no_region_is_smaller_than_asked_for(values: np.ndarray, smallest: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sieving, "BLOCK", block)
        found = cleaned(values, smallest=smallest)
    left = components(found)
    assert (np.bincount(left[left >= 0], minlength=1)[np.unique(left[left >= 0])] >= smallest).all()
    assert (found[values < 0] == -1).all()


def test_rows_do_not_wait_for_large_regions() -> None:
    values = np.zeros((1000, 30), dtype=np.int32)
    values[::50, 4] = 1
    sieve = Sieve(30, min_pixels=5, max_hole=0)
    waiting = 0
    for top in range(0, 1000, 10):
        waiting += 10 - len(sieve.push(values[top : top + 10]))
        assert waiting <= 3 * sieving.BLOCK


def test_nodata_takes_nobody_in_but_drops_what_has_no_other_neighbour() -> None:
    values = np.full((6, 9), -1)
    values[1, 1], values[3:5, 3:8], values[4, 8] = 0, 1, 2
    expected = values.copy()
    expected[1, 1], expected[4, 8] = -1, 1
    np.testing.assert_array_equal(cleaned(values, smallest=3), expected)


def test_only_holes_inside_one_region_are_filled() -> None:
    values = np.zeros((9, 12), dtype=int)
    values[:, 6:] = 1
    values[2, 2] = -1  # a hole
    values[4, 5:7] = -1  # between two regions
    values[0, 9] = -1  # on the border
    values[6:8, 8:11] = -1  # a hole too large
    expected = values.copy()
    expected[2, 2] = 0
    np.testing.assert_array_equal(cleaned(values, hole=4), expected)
