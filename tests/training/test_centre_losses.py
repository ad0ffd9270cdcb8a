"""Centres and offsets against what one finds by hand, and their losses against sums over pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from satseg.training.augment import SYMMETRIES, apply_symmetry
from satseg.training.centre_losses import SIGMA, Centres, centre, offset
from satseg.training.devices import single_device
from satseg.training.warp import warp

ALONE = single_device


def batch(*tiles: list[list[int]] | np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(tile, dtype=np.int32) for tile in tiles]))


def l_shape() -> np.ndarray:
    ids = np.zeros((40, 50), dtype=np.int32)
    ids[10:30, 10:14] = ids[26:30, 10:40] = 7
    return ids


def test_offsets_lead_to_the_centre_of_mass_even_outside_of_the_object() -> None:
    ids = np.zeros((50, 50), dtype=np.int32)
    ids[:40] = l_shape()
    centres = Centres.of(batch(ids))
    rows, columns = np.nonzero(ids)
    expected = torch.tensor([rows.mean(), columns.mean()], dtype=torch.float32)
    assert ids[rows.mean().round().astype(int), columns.mean().round().astype(int)] == 0
    offsets = centres.offsets()[0]
    for row, column in ((10, 10), (29, 39), (28, 20)):
        assert torch.allclose(offsets[:, row, column] + torch.tensor([row, column]), expected)


def test_heat_falls_off_around_the_pixel_nearest_to_a_centre_and_the_largest_counts() -> None:
    ids = np.zeros((60, 60), dtype=np.int32)
    ids[10:15, 10:15], ids[10:15, 15:24] = 1, 2  # centres (12, 12) and (12, 19)
    heat = Centres.of(batch(ids)).heat()[0]
    assert heat[12, 12] == heat[12, 19] == 1
    assert heat[20, 12] == pytest.approx(math.exp(-64 / (2 * SIGMA**2)))
    assert heat[12, 14] == pytest.approx(math.exp(-4 / (2 * SIGMA**2)))  # of the left one, which is nearer
    assert heat[12, 17] == pytest.approx(math.exp(-4 / (2 * SIGMA**2)))
    assert heat[40, 12] == heat[50, 50] == 0


def test_centres_of_objects_that_are_cut_or_touch_the_edge_are_not_known() -> None:
    ids = np.zeros((30, 30), dtype=np.int32)
    ids[2:6, 2:6], ids[10:14, 2:6], ids[20:24, 26:30] = 1, 2, 3
    ids[10, 2] = -2  # one pixel is enough
    centres = Centres.of(batch(ids))
    known = centres.known[centres.at[0]]
    assert known[3, 3]
    assert not known[11, 4]
    assert not known[21, 27]
    assert not known[0, 15]
    assert centres.heat()[0].max() == 1
    assert centres.heat()[0, 12, 4] < 0.62  # what is left of that of the first one


def test_samples_keep_to_themselves_also_where_their_ids_are_the_same() -> None:
    one, other = np.zeros((2, 20, 20), dtype=np.int32)
    one[3:6, 3:6], other[12:15, 10:13] = 1, 1
    both, alone = Centres.of(batch(one, other)), Centres.of(batch(other))
    assert torch.equal(both.heat()[1], alone.heat()[0])
    assert both.offsets()[1, :, 13, 11].tolist() == [0, 0]


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_offsets_of_turned_samples_are_turned(symmetry: int) -> None:
    ids = np.zeros((50, 50), dtype=np.int32)
    ids[:40] = l_shape()
    straight = Centres.of(batch(ids)).offsets()[0].numpy()
    places = np.stack(np.indices(ids.shape))
    turned, (rows, columns) = apply_symmetry(ids, symmetry).copy(), apply_symmetry(places, symmetry)
    offsets = Centres.of(batch(turned)).offsets()[0].numpy()
    mine = turned > 0
    ends = (places + offsets)[:, mine]
    assert np.allclose(ends, np.argwhere(mine).mean(axis=0)[:, None])
    lengths = np.hypot(*straight)[rows, columns]  # each pixel is as far from its centre as before
    assert np.allclose(np.hypot(*offsets)[mine], lengths[mine], atol=1e-4)


def test_offsets_grow_with_the_zoom_and_turn_with_the_angle() -> None:
    ids = np.zeros((1, 101, 101), dtype=np.int32)
    ids[0, 40:61, 30:71] = 300  # too many for 8 bits
    nothing = torch.zeros(1, 101, 101, dtype=torch.uint8)
    images = torch.zeros(1, 1, 101, 101)
    moved = warp(
        images, nothing, nothing.bool(), torch.from_numpy(ids)[None],
        torch.tensor([90.0]), torch.tensor([1.5]), torch.zeros(1, 2),
    )[3]  # fmt: skip
    assert moved.dtype == torch.int32
    assert moved.unique().tolist() == [0, 300]
    offsets = Centres.of(moved[:, 0]).offsets()[0]
    assert offsets[:, 50, 50].abs().max() < 0.5
    assert offsets[:, 50 - 28, 50].tolist() == pytest.approx([28, 0], abs=1)  # 1.5 times 20 px long, now upright
    assert moved[0, 0, 50, 50 + 18] == 0


def test_the_loss_of_centres_is_the_squared_error_where_they_are_known() -> None:
    ids = np.zeros((30, 30), dtype=np.int32)
    ids[2:6, 2:6], ids[10:14, 2:6] = 1, -2
    heat = Centres.of(batch(ids)).heat()
    counted = torch.ones(1, 30, 30, dtype=torch.bool)
    counted[:, 20:] = False
    logits = torch.from_numpy(np.random.default_rng(0).random((1, 30, 30)))
    used = counted[0] & torch.from_numpy(ids >= 0)
    expected = ((logits[0] - heat[0]) ** 2)[used].mean()
    assert centre(logits, batch(ids)[:, None], counted, ALONE).item() == pytest.approx(expected.item())


def test_the_loss_of_offsets_adds_rows_and_columns_within_objects() -> None:
    ids = np.zeros((30, 30), dtype=np.int32)
    ids[2:7, 2:7], ids[10:14, 2:6] = 1, -2
    counted = torch.ones(1, 30, 30, dtype=torch.bool)
    counted[:, 2] = False
    rows, columns = np.mgrid[3:7, 2:7]
    expected = (abs(4 - rows) + abs(4 - columns)).mean()  # nothing is learnt of the object that is cut
    found = offset(torch.zeros(1, 2, 30, 30), batch(ids)[:, None], counted, ALONE)
    assert found.item() == pytest.approx(expected)


def test_perfect_outputs_cost_nothing() -> None:
    ids = batch(np.pad(np.repeat(np.repeat(np.arange(1, 10).reshape(3, 3), 6, 0), 6, 1), 2))
    centres = Centres.of(ids)
    counted = torch.ones(ids.shape, dtype=torch.bool)
    assert centre(centres.heat(), ids[:, None], counted, ALONE).item() == 0
    assert offset(centres.offsets(), ids[:, None], counted, ALONE).item() == 0


@pytest.mark.parametrize("loss", [centre, offset])
def test_without_a_pixel_that_counts_losses_are_zero_with_zero_gradients(loss: object) -> None:
    logits = torch.randn(1, 12, 12, requires_grad=True)
    given = logits if loss is centre else torch.stack([logits, logits], dim=1)
    found = loss(given, torch.zeros(1, 1, 12, 12, dtype=torch.int32), torch.zeros(1, 12, 12, dtype=torch.bool), ALONE)  # type: ignore[operator]
    found.backward()
    assert found.item() == 0
    assert not logits.grad.any()
