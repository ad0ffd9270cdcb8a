from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from loss_cases import random_case, softmax
from torch import Tensor

from satseg.training.region_losses import dice, jaccard, lovasz, tversky


def regions(logits: Tensor, targets: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probability and truth of class k over the pixels that count."""
    counted = targets.numpy() != 255
    return softmax(logits)[:, k][counted], (targets.numpy() == k)[counted]


def test_dice_by_hand() -> None:
    # Two pixels of class 0 and 1; probability of class 0 is 0.8 on the first and 0.4 on the second.
    logits = torch.tensor([[[[0.8, 0.4]], [[0.2, 0.6]]]]).log()
    dice_0 = 2 * 0.8 / (0.8 + 0.4 + 1)
    dice_1 = 2 * 0.6 / (0.2 + 0.6 + 1)
    assert dice(logits, torch.tensor([[[0, 1]]])).item() == pytest.approx(1 - (dice_0 + dice_1) / 2, rel=1e-6)


def test_dice_equals_its_numpy_twin() -> None:
    logits, targets = random_case(classes=4)
    pairs = [regions(logits, targets, k) for k in range(4)]
    expected = 1 - np.mean([2 * (p * t).sum() / (p.sum() + t.sum()) for p, t in pairs])
    assert dice(logits, targets).item() == pytest.approx(expected, rel=1e-5)


def test_jaccard_equals_its_numpy_twin() -> None:
    logits, targets = random_case(classes=4)
    pairs = [regions(logits, targets, k) for k in range(4)]
    expected = 1 - np.mean([(p * t).sum() / (p + t - p * t).sum() for p, t in pairs])
    assert jaccard(logits, targets).item() == pytest.approx(expected, rel=1e-5)


def test_tversky_weighs_what_is_claimed_wrongly_and_what_is_missed() -> None:
    logits, targets = random_case(classes=4)
    indices = []
    for k in range(4):
        p, t = regions(logits, targets, k)
        indices.append((p * t).sum() / ((p * t).sum() + 0.2 * (p * ~t).sum() + 0.9 * ((1 - p) * t).sum()))
    assert tversky(logits, targets, alpha=0.2, beta=0.9).item() == pytest.approx(1 - np.mean(indices), rel=1e-5)


def test_classes_that_no_label_has_are_left_out() -> None:
    logits = torch.tensor([[[[0.7]], [[0.2]], [[0.1]]]]).log()
    targets = torch.tensor([[[0]]])
    assert dice(logits, targets).item() == pytest.approx(1 - 1.4 / 1.7, rel=1e-6)
    assert lovasz(logits, targets).item() == pytest.approx(0.3, rel=1e-6)


def lovasz_extension(errors: np.ndarray, truth: np.ndarray) -> float:
    """Return the Lovász extension of 1 - IoU as an integral over thresholds, its other definition."""
    cuts = np.unique(np.concatenate([[0.0], errors]))
    total = 0.0
    for low, high in pairwise(cuts):
        wrong = errors >= high
        total += (high - low) * wrong.sum() / (truth | wrong).sum()
    return total


def test_lovasz_is_the_integral_of_the_iou_loss_over_thresholds() -> None:
    logits, targets = random_case(classes=3)
    found = []
    for n in range(2):
        for k in range(3):
            p, t = regions(logits[n : n + 1], targets[n : n + 1], k)
            found.append(lovasz_extension(np.abs(t - p), t))
    assert lovasz(logits, targets).item() == pytest.approx(np.mean(found), rel=1e-5)


def test_lovasz_of_decisions_is_one_minus_their_iou() -> None:
    truth = torch.tensor([[[0, 0, 1, 1, 1, 255]]])
    claimed = torch.tensor([[[0, 1, 1, 1, 0, 1]]])
    logits = 200.0 * torch.nn.functional.one_hot(claimed, 2).permute(0, 3, 1, 2)
    assert lovasz(logits, truth).item() == pytest.approx(1 - (1 / 3 + 2 / 4) / 2, rel=1e-6)
