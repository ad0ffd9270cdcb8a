from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_cases import likelihoods, random_case, softmax

from satseg.training.pixel_losses import cross_entropy, focal, ohem, relaxed

WEIGHT = np.array([0.5, 2.0, 4.0])


def as_tensor(weight: np.ndarray) -> torch.Tensor:
    return torch.tensor(weight, dtype=torch.float32)


def test_cross_entropy_of_equal_logits_is_the_logarithm_of_the_number_of_classes() -> None:
    loss = cross_entropy(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))
    assert loss.item() == pytest.approx(math.log(4), rel=1e-6)


def test_cross_entropy_averages_over_pixels_that_are_not_ignored() -> None:
    logits, targets = random_case()
    expected = np.mean([-math.log(p) for p, _ in likelihoods(logits, targets)])
    assert cross_entropy(logits, targets).item() == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_with_weights_is_a_weighted_mean() -> None:
    logits, targets = random_case()
    pairs = likelihoods(logits, targets)
    expected = sum(-math.log(p) * WEIGHT[k] for p, k in pairs) / sum(WEIGHT[k] for _, k in pairs)
    assert cross_entropy(logits, targets, as_tensor(WEIGHT)).item() == pytest.approx(expected, rel=1e-5)


def test_classes_of_weight_zero_alone_cost_no_cross_entropy() -> None:
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.zeros(1, 3, 3, dtype=torch.int64), torch.tensor([0.0, 1.0]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_smoothed_labels_are_mixed_with_all_classes(weight: np.ndarray | None) -> None:
    logits, targets = random_case()
    kept, share = targets.numpy() < 255, weight if weight is not None else np.ones(3)
    mixed = np.eye(3)[np.where(kept, targets, 0)] * 0.9 + 0.1 / 3  # (N, H, W, K)
    costs = -(mixed * np.log(softmax(logits)).transpose(0, 2, 3, 1)).sum(axis=-1)
    expected = np.average(costs[kept], weights=share[targets.numpy()[kept]])
    weights = None if weight is None else as_tensor(weight)
    assert cross_entropy(logits, targets, weights, smoothing=0.1).item() == pytest.approx(expected, rel=1e-5)


def test_smoothing_is_that_of_torch() -> None:
    logits, targets = random_case()
    theirs = torch.nn.functional.cross_entropy(logits.float(), targets, ignore_index=255, label_smoothing=0.2)
    assert cross_entropy(logits, targets, smoothing=0.2).item() == pytest.approx(theirs.item(), rel=1e-5)


def test_focal_by_formula() -> None:
    logits, targets = random_case()
    pairs = likelihoods(logits, targets)
    expected = np.mean([(1 - p) ** 1.5 * -math.log(p) for p, _ in pairs])
    assert focal(logits, targets, gamma=1.5).item() == pytest.approx(expected, rel=1e-5)
    weighted = sum(WEIGHT[k] * (1 - p) ** 2 * -math.log(p) for p, k in pairs) / sum(WEIGHT[k] for _, k in pairs)
    assert focal(logits, targets, as_tensor(WEIGHT)).item() == pytest.approx(weighted, rel=1e-5)


def test_focal_without_focus_is_cross_entropy() -> None:
    logits, targets = random_case()
    assert focal(logits, targets, gamma=0).item() == pytest.approx(cross_entropy(logits, targets).item(), rel=1e-6)


def test_ohem_takes_pixels_under_the_threshold() -> None:
    logits, targets = random_case()
    hard = [-math.log(p) for p, _ in likelihoods(logits, targets) if p < 0.3]
    assert 0 < len(hard) < len(likelihoods(logits, targets))
    assert ohem(logits, targets, threshold=0.3, keep=0).item() == pytest.approx(np.mean(hard), rel=1e-5)


def test_ohem_takes_the_hardest_share_of_each_tile_however_easy() -> None:
    logits, targets = random_case()
    hardest: list[float] = []
    for n in range(2):
        losses = sorted((-math.log(p) for p, _ in likelihoods(logits[n : n + 1], targets[n : n + 1])), reverse=True)
        hardest += losses[: math.ceil(0.25 * len(losses))]
    assert ohem(logits, targets, threshold=0, keep=0.25).item() == pytest.approx(np.mean(hardest), rel=1e-5)


def test_ohem_that_keeps_all_is_cross_entropy() -> None:
    logits, targets = random_case()
    assert ohem(logits, targets, keep=1).item() == pytest.approx(cross_entropy(logits, targets).item(), rel=1e-6)


def test_relaxed_within_one_class_is_cross_entropy() -> None:
    logits, _ = random_case()
    targets = torch.ones(2, 5, 7, dtype=torch.int64)
    assert relaxed(logits, targets).item() == pytest.approx(cross_entropy(logits, targets).item(), rel=1e-6)


def test_relaxed_accepts_every_class_within_the_border() -> None:
    logits, _ = random_case()
    targets = torch.zeros(2, 5, 7, dtype=torch.int64)
    targets[:, :, 4:] = 1
    probs = softmax(logits)
    losses = -np.log(probs[:, 0])
    losses[:, :, 4:] = -np.log(probs[:, 1])[:, :, 4:]
    losses[:, :, 3:5] = -np.log(probs[:, 0] + probs[:, 1])[:, :, 3:5]
    assert relaxed(logits, targets).item() == pytest.approx(losses.mean(), rel=1e-5)
    losses[:, :, 2:6] = -np.log(probs[:, 0] + probs[:, 1])[:, :, 2:6]
    assert relaxed(logits, targets, border=2).item() == pytest.approx(losses.mean(), rel=1e-5)


def test_relaxed_takes_nothing_from_ignored_neighbours() -> None:
    logits, targets = random_case(ignored=0)
    targets[:] = 1
    targets[:, 2, 3] = 255
    assert relaxed(logits, targets).item() == pytest.approx(cross_entropy(logits, targets).item(), rel=1e-6)


@pytest.mark.parametrize("border", [1, 2])
def test_relaxed_is_the_mean_of_the_logarithm_over_the_classes_around_each_pixel(border: int) -> None:
    logits, targets = random_case(classes=4)
    probs, truth, losses = softmax(logits), targets.numpy(), []
    for n, i, j in np.ndindex(*truth.shape):
        if truth[n, i, j] == 255:
            continue
        rows, columns = slice(max(i - border, 0), i + border + 1), slice(max(j - border, 0), j + border + 1)
        near = set(truth[n, rows, columns].flat) - {255}
        losses.append(sum(-math.log(sum(probs[n, k, i, j] for k in near)) for _ in near) / len(near))
    assert relaxed(logits, targets, border=border).item() == pytest.approx(np.mean(losses), rel=1e-5)
