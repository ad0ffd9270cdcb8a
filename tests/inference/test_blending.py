from __future__ import annotations

import numpy as np
import pytest
import torch

from satseg.inference.blending import Register, window_positions
from satseg.inference.plan import make_plan
from satseg.records import Plan


def run_register(plan: Plan, field: torch.Tensor, valid: np.ndarray | None = None) -> np.ndarray:
    """Feed windows of a (K, H, W) field of probabilities; return the classes."""
    register = Register(plan, len(field), torch.device("cpu"))
    rows, columns = plan.window
    padded = torch.zeros(len(field), plan.height + rows, plan.width + columns)
    padded[:, : plan.height, : plan.width] = field
    mask = np.zeros(padded.shape[1:], dtype=bool)
    mask[: plan.height, : plan.width] = True if valid is None else valid
    strips = []
    for row, column in window_positions(plan):
        part = np.s_[
            plan.row_starts[row] : plan.row_starts[row] + rows,
            plan.column_starts[column] : plan.column_starts[column] + columns,
        ]
        done = register.add(padded[(slice(None), *part)].clone(), mask[part])
        if done is not None:
            assert done.offset == sum(map(len, strips))
            strips.append(done.classes)
    return np.concatenate(strips)


@pytest.mark.parametrize("overlap", [0, 1, 7, 16])
@pytest.mark.parametrize("height", [1, 31, 32, 33, 47, 63, 64, 65, 96])
@pytest.mark.parametrize("width", [5, 32, 49, 80, 96])
def test_one_hot_windows_give_the_class_scene_back(height: int, width: int, overlap: int) -> None:
    scene = torch.from_numpy(np.random.default_rng(height * width).integers(0, 5, (height, width)))
    plan = make_plan(height, width, window=32, overlap=overlap)
    field = torch.nn.functional.one_hot(scene, 5).permute(2, 0, 1).float()
    assert (run_register(plan, field) == scene.numpy()).all()


def test_blended_probabilities_are_a_weighted_mean() -> None:
    """Windows that agree on every pixel are blended to just that, to rounding."""
    field = torch.rand(3, 100, 90).softmax(0)
    plan = make_plan(100, 90, window=32, overlap=9)
    register = Register(plan, 3, torch.device("cpu"), with_confidence=True)
    confidence = []
    for row, column in window_positions(plan):
        top, left = plan.row_starts[row], plan.column_starts[column]
        part = field[:, top : top + 32, left : left + 32].clone()
        done = register.add(part, np.ones(part.shape[1:], dtype=bool))
        if done is not None and done.confidence is not None:
            confidence.append(done.confidence)
    expected = (field.amax(0) * 255).round().numpy()
    assert np.abs(np.concatenate(confidence) - expected).max() <= 1


def test_disagreeing_windows_hand_over_in_the_middle_of_the_overlap() -> None:
    plan = make_plan(32, 56, window=32, overlap=8)
    register = Register(plan, 2, torch.device("cpu"))
    left, right = torch.zeros(2, 32, 32), torch.zeros(2, 32, 32)
    left[0], right[1] = 1, 1
    valid = np.ones((32, 32), dtype=bool)
    assert register.add(left, valid) is None
    rows = register.add(right, valid)
    assert rows is not None
    assert (rows.classes == (np.arange(56) >= 28)).all()


def test_invalid_pixels_become_nodata() -> None:
    valid = np.random.default_rng(0).random((70, 50)) > 0.5
    plan = make_plan(70, 50, window=32, overlap=8)
    classes = run_register(plan, torch.ones(1, 70, 50), valid)
    assert (classes == np.where(valid, 0, 255)).all()


def test_register_state_is_the_overlap_only() -> None:
    plan = make_plan(10_000, 1_000, window=512, overlap=64)
    register = Register(plan, 2, torch.device("cpu"))
    held = sum(t.nbytes for t in vars(register).values() if isinstance(t, torch.Tensor))
    assert held < 1_000 * 64 * 2 * 4 + 10_000
