"""Objects of a map whose rows arrive in strips of any height."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flooding import Maps, in_one_piece, largest_part, smooth_maps, true_maps

from satseg.objects import division
from satseg.objects.division import Division
from satseg.objects.watershed import objects_of

MARGIN = 45


@pytest.fixture(scope="module")
def maps() -> Maps:
    made = smooth_maps(3, (150, 170), 4)
    made[0][::30] = made[0][:, ::40] = 0  # parts of the size of objects
    assert largest_part(made[0]) <= MARGIN
    return made


def divided(
    maps: Maps,
    folder: Path,
    arrivals: list[int],
    *,
    margin: int = MARGIN,
    strip: int = 7,
    depth: float = 0.1,
    smallest: float = 0,
    left_out: int = 0,
) -> np.ndarray:
    """Return the ids of a map, given how many rows are finished each time; none is read before it is."""
    finished = 0

    def divide(block: division.Block) -> tuple[np.ndarray, np.ndarray]:
        assert block.window[0].stop <= finished
        return objects_of(*(part[block.window] for part in maps), depth, block.inner)

    rows = []
    options = {"smallest": smallest, "margin": margin, "strip": strip, "scratch": folder}
    with Division(divide, *maps[0].shape, **options) as parts:  # type: ignore[arg-type]
        for finished in arrivals:
            for ids in parts.push(finished):
                assert len(ids) <= strip
                rows.append(ids)
        assert parts.left_out == left_out
    return np.concatenate(rows)


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(division, "BLOCK", 40)
    monkeypatch.setattr(division, "HELD", 20_000)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("arrivals", [[150], list(range(151)), [3, 3, 90, 149, 150]])
def test_objects_are_those_of_the_whole_map_however_its_rows_arrive(
    maps: Maps, tmp_path: Path, arrivals: list[int]
) -> None:
    found = divided(maps, tmp_path, arrivals)
    assert found.dtype == np.int32
    assert found.max() > 50
    assert found.tolist() == in_one_piece(maps, 0.1).tolist()
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("arrivals", [[150], list(range(151))])
def test_small_objects_are_left_out_and_the_others_numbered_without_gaps(
    maps: Maps, tmp_path: Path, arrivals: list[int]
) -> None:
    whole = in_one_piece(maps, 0.1)
    sizes = np.bincount(whole.ravel())
    large = sizes >= 60
    large[0] = False
    assert 20 < large.sum() < len(sizes) - 20
    numbers = np.where(large, np.cumsum(large), 0)
    found = divided(maps, tmp_path, arrivals, smallest=60, left_out=len(sizes) - 1 - large.sum())
    assert found.tolist() == numbers[whole].tolist()


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(("first", "last"), [(5, 140), (35, 55), (38, 48)])
def test_an_object_longer_than_the_margin_is_not_small(tmp_path: Path, first: int, last: int) -> None:
    """The block at rows 0 to 39 sees the first rows of the second object, that at rows 40 to 79 the whole of it."""
    ids = np.zeros((150, 100), dtype=np.int32)
    ids[first:last, 50:53] = 1
    long = last - first > 10
    found = divided(true_maps(ids, 2), tmp_path, [150], margin=10, depth=0.9, smallest=500, left_out=int(not long))
    assert (found > 0).tolist() == (ids * long > 0).tolist()


@pytest.mark.usefixtures("_small")
def test_objects_larger_than_the_margin_are_the_same_in_strips_of_any_height(tmp_path: Path) -> None:
    maps = smooth_maps(6, (150, 170), 4)
    assert largest_part(maps[0]) > 100
    first, *others = (divided(maps, tmp_path, [60, 150], margin=20, strip=strip) for strip in (1, 7, 64))
    assert all(found.tolist() == first.tolist() for found in others)
    assert ((first > 0) == (maps[0] > 0)).all()
    assert all(len(np.unique(maps[0][first == number])) == 1 for number in range(1, first.max() + 1))


@pytest.mark.usefixtures("_small")
def test_an_object_far_larger_than_the_margin_stays_one_beside_small_ones(tmp_path: Path) -> None:
    ids = np.zeros((150, 170), dtype=np.int32)
    ids[3:147, 5:60] = 1  # a hall over four rows of blocks
    ids[20:70, 60:165] = 2  # another one that touches it, over three columns
    for number, (row, column) in enumerate(np.ndindex(3, 5), start=3):
        ids[75 + 22 * row : 97 + 22 * row, 62 + 20 * column : 82 + 20 * column] = number
    expected = in_one_piece(true_maps(ids, 2), 0.3)
    assert expected.max() == 17
    for arrivals in ([150], list(range(151))):
        assert divided(true_maps(ids, 2), tmp_path, arrivals, margin=20, depth=0.3).tolist() == expected.tolist()


@pytest.mark.usefixtures("_small")
def test_arms_that_meet_further_down_stay_apart_where_they_are_handed_out_already(tmp_path: Path) -> None:
    ids = np.zeros((150, 100), dtype=np.int32)
    ids[5:140, 10:30] = ids[5:140, 70:90] = ids[120:140, 10:90] = 1
    found = divided(true_maps(ids, 2), tmp_path, [150], margin=10, depth=0.9)
    assert ((found > 0) == (ids > 0)).all()
    assert np.unique(found[5:80, 10:30]).tolist() == [1]
    assert np.unique(found[5:80, 70:90]).tolist() == [2]
    assert found.max() == 2


@pytest.mark.usefixtures("_small")
def test_rows_come_as_soon_as_the_ones_around_them_are_there(maps: Maps, tmp_path: Path) -> None:
    def divide(block: division.Block) -> tuple[np.ndarray, np.ndarray]:
        return objects_of(*(part[block.window] for part in maps), 0.1, block.inner)

    with Division(divide, *maps[0].shape, margin=MARGIN, strip=64, scratch=tmp_path) as parts:
        assert not list(parts.push(40 + MARGIN - 1))
        assert [len(ids) for ids in parts.push(40 + MARGIN)] == [40]
        assert not list(parts.push(80 + MARGIN - 1))
        assert [len(ids) for ids in parts.push(150)] == [40, 40, 30]
