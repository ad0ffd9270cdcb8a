"""Losses of objects against sums over pixels, one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from satseg.training.devices import single_device
from satseg.training.object_losses import boundary, distance

SHAPE = (2, 5, 7)
LOSSES = {"boundary": boundary, "distance": distance}


def random_case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (N, H, W), planes (N, 3, H, W) and counted (N, H, W)."""
    rng = np.random.default_rng(seed)
    planes = rng.integers(0, 255, (SHAPE[0], 3, *SHAPE[1:])).astype(np.uint8)
    planes[:, 0] = 254 * (planes[:, 0] > 150)
    planes[:, 1][rng.random(SHAPE) < 0.2] = 255
    return torch.from_numpy(rng.normal(size=SHAPE)), torch.from_numpy(planes), torch.from_numpy(rng.random(SHAPE) < 0.8)


def pixels(logits: Tensor, planes: Tensor, counted: Tensor) -> list[tuple[float, float, float, float]]:
    """Return the probability, boundary, distance (1 is 254) and weight of every pixel that counts."""
    p = 1 / (1 + np.exp(-logits.numpy()))
    rows = np.moveaxis(planes.numpy().astype(float), 1, -1)[counted.numpy()]
    return [
        (share, b / 254, d / 254, 1 + 10 * w / 254) for share, (b, d, w) in zip(p[counted.numpy()], rows, strict=True)
    ]


def test_boundaries_cost_weighted_cross_entropy_and_dice() -> None:
    case = random_case()
    found = pixels(*case)
    entropy = sum(-w * np.log(p if b else 1 - p) for p, b, _, w in found) / sum(w for *_, w in found)
    overlap = 2 * sum(p * b for p, b, *_ in found) / sum(p + b for p, b, *_ in found)
    assert boundary(*case, single_device).item() == pytest.approx(entropy + 1 - overlap, rel=1e-5)


def test_distances_cost_what_the_tanimoto_index_and_its_complement_lack_where_they_are_known() -> None:
    case = random_case()
    found = [(p, d) for p, _, d, _ in pixels(*case) if d <= 1]
    assert len(found) < case[2].sum()

    def index(pairs: list[tuple[float, float]]) -> float:
        return sum(p * d for p, d in pairs) / sum(p * p + d * d - p * d for p, d in pairs)

    expected = 1 - (index(found) + index([(1 - p, 1 - d) for p, d in found])) / 2
    assert distance(*case, single_device).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
class TestBoth:
    def test_what_does_not_count_changes_nothing_and_gets_no_gradient(self, loss: Callable[..., Tensor]) -> None:
        logits, planes, counted = random_case()
        other = torch.where(counted, logits, torch.randn(SHAPE, dtype=logits.dtype)).requires_grad_()
        found = loss(other, planes, counted, single_device)
        assert found.item() == loss(logits, planes, counted, single_device).item()
        found.backward()
        assert other.grad is not None
        assert (other.grad[~counted] == 0).all()
        assert torch.isfinite(other.grad).all()

    def test_where_nothing_counts_it_is_zero_without_gradients(self, loss: Callable[..., Tensor]) -> None:
        logits, planes, counted = random_case()
        logits.requires_grad_()
        found = loss(logits, planes, torch.zeros_like(counted), single_device)
        found.backward()
        assert found.item() == 0
        assert logits.grad is not None
        assert (logits.grad == 0).all()

    def test_a_step_down_the_gradient_lowers_it(self, loss: Callable[..., Tensor]) -> None:
        logits, planes, counted = random_case()
        logits.requires_grad_()
        before = loss(logits, planes, counted, single_device)
        before.backward()
        assert logits.grad is not None
        assert loss(logits - logits.grad, planes, counted, single_device) < before

    def test_the_truth_costs_nothing(self, loss: Callable[..., Tensor]) -> None:
        _, planes, counted = random_case()
        plane = planes[:, 0 if loss is boundary else 1].double() / 254
        perfect = torch.logit(plane.clamp(max=1), eps=1e-9)
        assert loss(perfect, planes, counted, single_device).item() == pytest.approx(0, abs=1e-5)
