from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from satseg.training.losses import CrossEntropyDice, cross_entropy, dice_loss


def random_case(classes: int = 3, ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(2, classes, 5, 7))
    targets = rng.integers(classes, size=(2, 5, 7))
    targets[rng.random(targets.shape) < ignored] = 255
    return torch.from_numpy(logits), torch.from_numpy(targets)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_cross_entropy_of_equal_logits_is_the_logarithm_of_the_number_of_classes() -> None:
    loss = cross_entropy(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))
    assert loss.item() == pytest.approx(math.log(4), rel=1e-6)


def test_cross_entropy_averages_over_pixels_that_are_not_ignored() -> None:
    logits, targets = random_case()
    probs = softmax(logits.numpy())
    rows = [
        -math.log(probs[n, targets[n, i, j], i, j]) for n, i, j in np.ndindex(*targets.shape) if targets[n, i, j] != 255
    ]
    assert cross_entropy(logits, targets).item() == pytest.approx(np.mean(rows), rel=1e-5)


def test_cross_entropy_with_weights_is_a_weighted_mean() -> None:
    logits, targets = random_case()
    weight = np.array([0.5, 2.0, 4.0])
    probs = softmax(logits.numpy())
    counted = [(n, i, j) for n, i, j in np.ndindex(*targets.shape) if targets[n, i, j] != 255]
    losses = np.array([-math.log(probs[n, targets[n, i, j], i, j]) for n, i, j in counted])
    weights = np.array([weight[targets[n, i, j]] for n, i, j in counted])
    expected = (losses * weights).sum() / weights.sum()
    loss = cross_entropy(logits, targets, torch.tensor(weight, dtype=torch.float32))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_dice_loss_by_hand() -> None:
    # Two pixels of class 0 and 1; probability of class 0 is 0.8 on the first and 0.4 on the second.
    logits = torch.tensor([[[[0.8, 0.4]], [[0.2, 0.6]]]]).log()
    targets = torch.tensor([[[0, 1]]])
    dice_0 = 2 * 0.8 / (0.8 + 0.4 + 1)
    dice_1 = 2 * 0.6 / (0.2 + 0.6 + 1)
    assert dice_loss(logits, targets).item() == pytest.approx(1 - (dice_0 + dice_1) / 2, rel=1e-6)


def test_dice_loss_equals_its_numpy_twin() -> None:
    logits, targets = random_case(classes=4)
    probs, truth = softmax(logits.numpy()), targets.numpy()
    counted = truth != 255
    dices = []
    for k in range(4):
        p, t = probs[:, k][counted], (truth == k)[counted]
        dices.append(2 * (p * t).sum() / (p.sum() + t.sum()))
    assert dice_loss(logits, targets).item() == pytest.approx(1 - np.mean(dices), rel=1e-5)


def test_dice_loss_leaves_out_classes_that_no_label_has() -> None:
    logits = torch.tensor([[[[0.7]], [[0.2]], [[0.1]]]]).log()
    assert dice_loss(logits, torch.tensor([[[0]]])).item() == pytest.approx(1 - 1.4 / 1.7, rel=1e-6)


def test_a_perfect_prediction_costs_nothing() -> None:
    targets = torch.tensor([[[0, 1], [2, 255]]])
    logits = 100.0 * torch.nn.functional.one_hot(targets.clamp(max=2), 3).permute(0, 3, 1, 2)
    assert CrossEntropyDice()(logits, targets).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 3.0])])
def test_a_batch_that_is_wholly_ignored_costs_nothing_and_teaches_nothing(weights: Tensor | None) -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = CrossEntropyDice(weights)(logits, torch.full((2, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_classes_of_weight_zero_alone_cost_no_cross_entropy() -> None:
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.zeros(1, 3, 3, dtype=torch.int64), torch.tensor([0.0, 1.0]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_ignored_pixels_get_no_gradient() -> None:
    logits, targets = random_case()
    logits.requires_grad_()
    CrossEntropyDice(torch.tensor([1.0, 2.0, 3.0]))(logits, targets).backward()
    assert logits.grad is not None
    ignored = (targets == 255)[:, None].expand_as(logits)
    assert torch.equal(logits.grad[ignored], torch.zeros_like(logits.grad[ignored]))
    assert (logits.grad[~ignored] != 0).all()


def test_bfloat16_logits_are_judged_in_float32() -> None:
    logits, targets = random_case()
    rounded = logits.to(torch.bfloat16)
    assert CrossEntropyDice()(rounded, targets).item() == CrossEntropyDice()(rounded.float(), targets).item()


def test_the_sum_is_cross_entropy_plus_weighted_dice() -> None:
    logits, targets = random_case()
    expected = cross_entropy(logits, targets) + 0.25 * dice_loss(logits, targets)
    assert torch.equal(CrossEntropyDice(dice_weight=0.25)(logits, targets), expected)
