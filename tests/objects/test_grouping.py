"""Pixels grouped by the centres that they point to, against a plain twin and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from centring import Maps, mosaic, slow_centres, slow_groups, true_centres

from satseg.objects import division
from satseg.objects.division import Division
from satseg.objects.grouping import OFFSET_STEPS, find_centres, grouped
from satseg.objects.numbering import Numbering
from satseg.objects.watershed import NO_MARKER


def same_objects(found: np.ndarray, ids: np.ndarray) -> bool:
    """Tell whether two maps of numbers show the same objects."""
    pairs = np.unique(np.stack([found.ravel(), ids.ravel()]), axis=1)
    return all(len(np.unique(side)) == pairs.shape[1] for side in pairs) and bool(((found > 0) == (ids > 0)).all())


def pointing(ends: np.ndarray, groups: np.ndarray, centres: list[tuple[int, int]]) -> Maps:
    """Return maps whose pixels point to ``ends``, (2, row, col), with single pixels of heat."""
    heat = np.zeros(groups.shape, dtype=np.uint8)
    for place in centres:
        heat[place] = 200
    offsets = (ends - np.indices(groups.shape)) * OFFSET_STEPS
    return groups.astype(np.uint8), heat, offsets.astype(np.int16)


def random_maps(seed: int) -> Maps:
    """Return a mosaic of two classes whose heat and offsets are disturbed."""
    rng = np.random.default_rng(seed)
    groups, heat, offsets = true_centres(mosaic(seed, 70, 90))
    groups[:, 40:] *= 2
    groups[rng.random(groups.shape) < 0.02] = 0
    heat = np.clip(heat.astype(int) + rng.integers(-20, 20, heat.shape), 0, 254).astype(np.uint8)
    heat[rng.random(heat.shape) < 0.01] = 255
    return groups, heat, (offsets + rng.normal(0, 60, offsets.shape)).astype(np.int16)


@pytest.mark.parametrize("seed", range(3))
def test_perfect_maps_give_back_every_rectangle_of_a_mosaic(seed: int) -> None:
    ids = mosaic(seed, 240, 260)
    labels, markers = grouped(*true_centres(ids))
    assert ids.max() > 80
    assert labels.dtype == np.int32
    assert same_objects(labels, ids)
    assert markers[0] == NO_MARKER
    assert (np.diff(markers) > 0).all()
    assert labels.ravel()[markers[1:]].tolist() == list(range(1, ids.max() + 1))


@pytest.mark.parametrize("seed", range(4))
def test_disturbed_maps_are_grouped_as_by_the_plain_twin(seed: int) -> None:
    maps = random_maps(seed)
    centres = slow_centres(maps[1])
    assert [tuple(np.unravel_index(at, maps[1].shape)) for at in find_centres(maps[1])] == centres
    labels, _ = grouped(*maps)
    assert labels.tolist() == slow_groups(maps).tolist()


def test_an_object_may_have_its_centre_outside_of_itself() -> None:
    ids = np.zeros((60, 60), dtype=np.int32)
    ids[5:55, 5:12] = ids[48:55, 5:50] = 1  # an L,
    ids[20:34, 14:40] = 2  # and what lies in its arm
    maps = true_centres(ids)
    assert ids.ravel()[find_centres(maps[1])].tolist() != [1, 2]
    assert same_objects(grouped(*maps)[0], ids)


def test_equally_high_pixels_that_are_close_have_one_centre_in_their_middle() -> None:
    heat = np.zeros((20, 40), dtype=np.uint8)
    heat[5:9, 5:12] = 100  # a flat top,
    heat[9, 1:22] = 100  # whose lower edge reaches far beyond a window of the rest
    heat[5, 30] = heat[9, 30] = 100  # just beyond each other's window
    heat[15, 5] = 25  # a tenth is not reached
    heat[15, 30] = 255  # nothing is known
    assert [divmod(int(at), 40) for at in find_centres(heat)] == [(5, 30), (8, 9), (9, 30)]


def test_offsets_of_sixteenths_decide_between_two_centres_and_the_earlier_one_wins_a_tie() -> None:
    groups, ends = np.ones((3, 30)), np.zeros((2, 3, 30))
    ends[0], ends[1] = 1, 15.0
    centres = [(1, 10), (1, 20)]
    labels, _ = grouped(*pointing(ends, groups, centres))
    assert (labels == 1).all()
    ends[1, :, 15:] += 1 / OFFSET_STEPS
    labels, _ = grouped(*pointing(ends, groups, centres))
    assert (labels[:, :15] == 1).all()
    assert (labels[:, 15:] == 2).all()


def test_connected_pixels_of_one_class_alone_make_an_object() -> None:
    groups = np.zeros((20, 40), dtype=np.uint8)
    groups[2:18, 2:12], groups[2:18, 12:22], groups[2:18, 25:35] = 1, 2, 1  # two classes, and one part apart
    ends = np.stack([np.full(groups.shape, 10), np.full(groups.shape, 18)])
    labels, _ = grouped(*pointing(ends, groups, [(10, 18)]))
    assert [np.unique(labels[groups == group]).tolist() for group in (1, 2)] == [[1, 3], [2]]
    assert np.unique(labels[:, 25:35]).tolist() == [0, 3]


def test_splinters_go_to_the_nearest_object_and_no_rim_is_left() -> None:
    groups = np.ones((20, 40))
    ends = np.stack([np.full((20, 40), 10), np.where(np.arange(40) < 20, 10, 30)[None].repeat(20, 0)])
    ends[1, 5:8, 3:6] = 30  # a splinter that points to the other object
    ends[1, 12:15, 35:40] = 10
    ends[0, :, 18:22] = 500  # pixels that point to nothing
    labels, _ = grouped(*pointing(ends, groups, [(10, 10), (10, 30)]))
    assert (labels[:, :20] == 1).all()
    assert (labels[:, 20:] == 2).all()


def test_parts_without_a_centre_are_one_object_each() -> None:
    ids = np.zeros((30, 80), dtype=np.int32)
    ids[5:20, 5:20], ids[5:20, 40:60] = 1, 2
    groups, heat, offsets = true_centres(ids)
    assert same_objects(grouped(groups, heat * np.uint8(0), offsets)[0], ids)


def test_without_any_object_there_is_none() -> None:
    labels, markers = grouped(*true_centres(np.zeros((9, 12), dtype=np.int32)))
    assert not labels.any()
    assert markers.tolist() == [NO_MARKER]


@pytest.mark.parametrize("arrivals", [[230], list(range(231)), [3, 3, 90, 199, 230]])
@pytest.mark.parametrize("block", [40, 1024])
def test_objects_are_those_of_the_whole_map_whatever_the_blocks_and_however_rows_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrivals: list[int], block: int
) -> None:
    monkeypatch.setattr(division, "BLOCK", block)
    ids = mosaic(7, 230, 210)
    ids[::27] = 0  # so that connected parts are small
    ids[:, ::45] = 0
    rng = np.random.default_rng(0)
    groups, heat, offsets = true_centres(ids)
    maps = groups, heat, (offsets + rng.normal(0, 40, offsets.shape)).astype(np.int16)
    finished = 0

    def divide(part: division.Block) -> tuple[np.ndarray, np.ndarray]:
        assert part.window[0].stop <= finished
        return grouped(*(layer[..., *part.window] for layer in maps), part.inner)

    rows = []
    with Division(divide, *ids.shape, margin=150, strip=7, scratch=tmp_path) as parts:
        for finished in arrivals:
            rows += parts.push(finished)
    labels, markers = grouped(*maps)
    assert labels.max() > 80
    assert np.concatenate(rows).tolist() == Numbering(ids.shape[1], len(ids))(markers[labels]).tolist()
