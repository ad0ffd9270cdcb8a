from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from satseg.files.spill import SpillStore
from satseg.inference.blending import Blended, WindowBlender
from satseg.inference.pipeline import rows_to_repeat
from satseg.inference.plan import make_plan, window_positions
from satseg.records import Plan

CPU = torch.device("cpu")


@pytest.fixture
def halos(tmp_path: Path) -> Iterator[SpillStore]:
    with SpillStore(10_000, tmp_path) as store:
        yield store


def windows(plan: Plan, field: torch.Tensor, first_row: int = 0) -> Iterator[torch.Tensor]:
    """Cut the windows of a (K, H, W) field, zero beyond its edges."""
    rows, columns = plan.window
    padded = torch.zeros(len(field), plan.height + rows, plan.width + columns)
    padded[:, : plan.height, : plan.width] = field
    for row, column in window_positions(plan, first_row=first_row):
        top, left = plan.row_starts[row], plan.column_starts[column]
        yield padded[:, top : top + rows, left : left + columns].clone()


def blend(plan: Plan, field: torch.Tensor, halos: SpillStore, **options: int) -> Iterator[Blended]:
    blender = WindowBlender(plan, CPU, halos, **options)  # type: ignore[arg-type]
    valid = np.ones(plan.window, dtype=bool)
    for window in windows(plan, field, options.get("first_row", 0)):
        yield blender.add(window, valid)


def whole(plan: Plan, cells: Iterator[Blended]) -> torch.Tensor:
    """Put cells together as (K, H, W); NaN where no cell was."""
    field: torch.Tensor | None = None
    for cell in cells:
        classes, height, width = cell.probabilities.shape
        field = torch.full((classes, plan.height, plan.width), torch.nan) if field is None else field
        field[:, cell.top : cell.top + height, cell.left : cell.left + width] = cell.probabilities
    assert field is not None
    return field


@pytest.mark.parametrize("overlap", [0, 1, 7, 16])
@pytest.mark.parametrize("height", [1, 31, 32, 33, 47, 63, 64, 65, 96])
@pytest.mark.parametrize("width", [5, 32, 49, 80, 96])
def test_one_hot_windows_give_the_class_scene_back(height: int, width: int, overlap: int, halos: SpillStore) -> None:
    scene = torch.from_numpy(np.random.default_rng(height * width).integers(0, 5, (height, width)))
    plan = make_plan(height, width, window=32, overlap=overlap)
    field = torch.nn.functional.one_hot(scene, 5).permute(2, 0, 1).float()
    assert (whole(plan, blend(plan, field, halos)).argmax(0) == scene).all()


def test_blended_probabilities_are_a_weighted_mean(halos: SpillStore) -> None:
    """Windows that agree on every pixel are blended to just that, to rounding."""
    field = torch.rand(3, 100, 90).softmax(0)
    plan = make_plan(100, 90, window=32, overlap=9)
    torch.testing.assert_close(whole(plan, blend(plan, field, halos)), field)


def test_disagreeing_windows_hand_over_in_the_middle_of_the_overlap(halos: SpillStore) -> None:
    plan = make_plan(32, 56, window=32, overlap=8)
    blender = WindowBlender(plan, CPU, halos, with_disagreement=True)
    left, right = torch.zeros(2, 32, 32), torch.zeros(2, 32, 32)
    left[0], right[1] = 1, 1
    valid = np.ones((32, 32), dtype=bool)
    first, second = blender.add(left, valid), blender.add(right, valid)
    assert (first.left, second.left, first.ends_row, second.ends_row) == (0, 24, False, True)
    joined = torch.cat([first.probabilities, second.probabilities], dim=2)
    assert (joined.argmax(0) == (torch.arange(56) >= 28)).all()
    assert first.disagreement is not None
    assert second.disagreement is not None
    apart = torch.cat([first.disagreement, second.disagreement], dim=1)
    assert (apart == ((torch.arange(56) >= 24) & (torch.arange(56) < 32)).float()).all()


@pytest.mark.parametrize("height", [200, 193, 161, 165, 177])
@pytest.mark.parametrize("overlap", [0, 5, 16])
def test_going_on_in_the_middle_gives_the_same_bytes(height: int, overlap: int, halos: SpillStore) -> None:
    """Windows that disagree everywhere; the last row of some plans begins within the overlap of the one before."""
    plan = make_plan(height, 70, window=32, overlap=overlap)
    noise = torch.rand(3, height, 70).softmax(0)
    unbroken = whole(plan, _disagreeing(plan, noise, halos, first_row=0))
    for row in range(1, len(plan.row_starts)):
        begin = row - rows_to_repeat(plan, row)
        again = whole(plan, _disagreeing(plan, noise, halos, first_row=begin))
        done = plan.row_starts[row]
        assert torch.equal(again[:, done:], unbroken[:, done:])


def _disagreeing(plan: Plan, field: torch.Tensor, halos: SpillStore, *, first_row: int) -> Iterator[Blended]:
    blender = WindowBlender(plan, CPU, halos, first_row=first_row)
    valid = np.ones(plan.window, dtype=bool)
    for (row, column), window in zip(
        window_positions(plan, first_row=first_row), windows(plan, field, first_row), strict=True
    ):
        yield blender.add(window.roll(row * 7 + column, dims=0) * (0.5 + 0.01 * row), valid)


def test_state_is_the_overlap_only(tmp_path: Path, held_bytes: Callable[[], int]) -> None:
    plan = make_plan(10_000, 1_000, window=512, overlap=64)
    with SpillStore(2**30, tmp_path) as halos:
        blender = WindowBlender(plan, CPU, halos)
        for _ in plan.column_starts:
            blender.add(torch.zeros(2, 512, 512), np.ones((512, 512), dtype=bool))
        assert held_bytes() == 1_000 * 64 * 2 * 4


@pytest.mark.parametrize("overlap", [7, 8])
def test_offsets_come_from_the_window_whose_centre_is_nearest_and_are_never_averaged(
    halos: SpillStore, overlap: int
) -> None:
    plan = make_plan(80, 80, window=32, overlap=overlap, batch_size=1)
    starts = plan.row_starts
    assert all(after - before == 32 - overlap for before, after in pairwise(starts[:-1]))
    blender = WindowBlender(plan, CPU, halos, classes=1, shares=2)
    valid = np.ones(plan.window, dtype=bool)
    cells = []
    for number, (row, column) in enumerate(window_positions(plan)):
        said = torch.ones(4, 32, 32)
        said[1:] = float(number)  # heat, and offsets in place of which each window says its number
        assert number == row * len(starts) + column
        cells.append(blender.add(said, valid))
    found = whole(plan, iter(cells))
    middles = np.array(starts[:-1]) + 15.5  # the last window snaps to the edge
    regular = slice(0, int(starts[-1]))
    nearest = np.abs(np.arange(80)[:, None] - middles + 1e-6).argmin(axis=1)[regular]  # of two as near, the later one
    expected = nearest[:, None] * len(starts) + nearest
    assert found[2, regular, regular].tolist() == expected.tolist()
    assert torch.equal(found[2], found[3])
    assert set(found[2].unique().tolist()) <= set(map(float, range(len(starts) ** 2)))
    assert len(found[1].unique()) > len(starts) ** 2  # heat is cross-faded
