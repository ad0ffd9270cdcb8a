from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from satseg.training.mutual_information import region_mutual_information as rmi


def blocks(classes: int = 3, side: int = 40) -> tuple[Tensor, Tensor]:
    """Return logits (2, classes, side, side) and labels of 5 x 5 px, some rows of which are ignored."""
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, classes, side, side, generator=generator) * 2
    labels = torch.randint(classes, (2, side // 5, side // 5), generator=generator)
    targets = labels.repeat_interleave(5, dim=1).repeat_interleave(5, dim=2)
    targets[:, 3:7, 2:30] = 255
    return logits, targets


def means(plane: np.ndarray) -> np.ndarray:
    """Return means over 4 x 4 px of a plane with two rows and columns of zeros around it."""
    around = np.pad(plane, 2)
    rows, columns = (side // 4 for side in around.shape)
    return around[: rows * 4, : columns * 4].reshape(rows, 4, columns, 4).mean(axis=(1, 3))


def squares(plane: np.ndarray) -> np.ndarray:
    """Return all 3 x 3 squares as rows of nine, (places, 9), less their mean."""
    rows, columns = plane.shape
    found = np.array([plane[i : i + 3, j : j + 3].ravel() for i in range(rows - 2) for j in range(columns - 2)])
    return found - found.mean(axis=0)


def by_formula(logits: Tensor, targets: Tensor, share: float) -> float:
    """Return the loss class by class in numpy, by the inverse and the product of eigenvalues."""
    probs, truth = 1 / (1 + np.exp(-logits.double().numpy())), targets.numpy()
    counted = truth < 255
    cost = entropy = 0.0
    for k in range(logits.shape[1]):
        p, t = probs[:, k], truth == k
        cost -= (np.log(np.where(t, p, 1 - p)) * counted).sum() / counted.sum()
        for n in range(len(logits)):
            y, x = squares(means(t[n].astype(float))), squares(means(p[n] * counted[n] + 1e-6))
            floor = 5e-4 * np.eye(9)
            remaining = y.T @ y - (y.T @ x) @ np.linalg.inv(x.T @ x + floor) @ (x.T @ y)
            entropy += 0.5 * np.log(np.linalg.eigvalsh(remaining + floor) / 5e-4).sum() / 9 / len(logits)
    return share * cost + (1 - share) * entropy


@pytest.mark.parametrize(("classes", "side"), [(2, 40), (3, 35)])
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_it_is_the_formula_written_out(classes: int, side: int, share: float) -> None:
    logits, targets = blocks(classes, side)
    assert rmi(logits, targets, share=share).item() == pytest.approx(by_formula(logits, targets, share), rel=1e-4)


def test_labels_are_explained_but_for_the_floor_by_probabilities_that_are_right() -> None:
    """By hand: of a variance C and a floor f, right probabilities leave C f / (C + f), so that no factor is above 2."""
    _, targets = blocks(2)
    right = torch.stack([targets == 0, targets == 1], dim=1).float() * 100 - 50
    assert 0 < rmi(right, targets, share=0.0).item() <= 2 * 0.5 * math.log(2)


def test_labels_that_do_not_vary_cost_what_the_edge_of_zeros_does() -> None:
    targets = torch.zeros(1, 64, 64, dtype=torch.int64)
    logits = torch.tensor([-4.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 64, 64)
    of_both = rmi(logits, targets, share=0.0)
    of_absent = rmi(logits[:, :1], torch.full_like(targets, 255), share=0.0)
    assert of_absent.item() == 0
    assert of_both.item() > 0


def test_maps_too_small_for_squares_have_cross_entropy_alone() -> None:
    targets = torch.tensor([[[0, 1], [1, 255]]])
    logits = torch.zeros(1, 2, 2, 2)
    assert rmi(logits, targets).item() == pytest.approx(0.5 * 2 * math.log(2), rel=1e-6)


def test_right_regions_cost_less_than_wrong_ones() -> None:
    _, targets = blocks(2)
    right = torch.stack([targets == 0, targets == 1], dim=1).float() * 8 - 4
    assert rmi(right, targets, share=0.0) < rmi(torch.zeros_like(right), targets, share=0.0)


def test_ignored_pixels_neither_count_nor_get_gradients() -> None:
    logits, targets = blocks()
    logits.requires_grad_()
    loss = rmi(logits, targets)
    (gradient,) = torch.autograd.grad(loss, logits)
    ignored = (targets == 255)[:, None].expand_as(gradient)
    assert not gradient[ignored].any()
    assert gradient[~ignored].any()
    changed = torch.where(ignored, torch.randn_like(logits), logits)
    assert rmi(changed, targets).item() == pytest.approx(loss.item(), rel=1e-6)


def test_tiles_without_labels_have_zero_gradients() -> None:
    logits = torch.randn(1, 2, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(rmi(logits, torch.full((1, 32, 32), 255)), logits)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_a_part_of_a_batch_on_each_device_sums_to_the_loss_of_the_batch() -> None:
    logits, targets = blocks()
    sums = []
    for half in (slice(0, 1), slice(1, 2)):
        rmi(logits[half], targets[half], total=lambda part: sums.append(part) or part)
    both = [a + b for a, b in zip(sums[: len(sums) // 2], sums[len(sums) // 2 :], strict=True)]
    assert rmi(logits, targets, total=lambda _: both.pop(0)).item() == pytest.approx(
        rmi(logits, targets).item(), rel=1e-5
    )
