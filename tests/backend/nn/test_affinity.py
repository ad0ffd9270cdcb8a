from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from satseg.backend.nn.affinity import affinity_loss


def pair_by_pair(logits: Tensor, labels: Tensor) -> float:
    """Equations 2 to 6 of the paper, as loops over pairs of pixels."""
    entropies: list[float] = []
    recalls: list[float] = []
    precisions: list[float] = []
    specificities: list[float] = []
    for tile, classes in zip(logits.sigmoid().tolist(), labels.tolist(), strict=True):
        pixels = [i for i, label in enumerate(classes) if label != 255]
        for i in pixels:
            alike = [j for j in pixels if classes[j] == classes[i]]
            others = [j for j in pixels if classes[j] != classes[i]]
            entropies += [-math.log(tile[i][j]) for j in alike] + [-math.log(1 - tile[i][j]) for j in others]
            hits = sum(tile[i][j] for j in alike if j != i)
            if len(alike) > 1:
                recalls.append(-math.log(hits / (len(alike) - 1)))
                precisions.append(-math.log(hits / sum(tile[i][j] for j in pixels if j != i)))
            if others:
                specificities.append(-math.log(sum(1 - tile[i][j] for j in others) / len(others)))
    return sum(sum(part) / len(part) for part in (entropies, recalls, precisions, specificities) if part)


@pytest.mark.parametrize(
    "labels",
    [
        [[0, 0, 1, 1, 2, 2, 0, 1]],
        [[0, 0, 1, 255, 255, 2, 0, 1]],  # the only pixel of class 2 has neither recall nor precision
        [[3, 3, 3, 3, 3, 3, 3, 3]],  # no specificity
        [[0, 1, 0, 1, 0, 1, 0, 1], [0, 0, 0, 255, 0, 0, 4, 4]],
    ],
)
def test_it_is_that_of_the_paper_for_each_pair_of_pixels(labels: list[list[int]]) -> None:
    torch.manual_seed(1)
    given = torch.tensor(labels)
    logits = 2 * torch.randn(len(given), 8, 8)
    assert affinity_loss(logits, given).item() == pytest.approx(pair_by_pair(logits.double(), given), rel=1e-5)


def test_a_perfect_prior_costs_nothing_and_its_inverse_very_much() -> None:
    labels = torch.tensor([[0, 0, 1, 1, 2, 2, 255, 1]])
    perfect = torch.where(labels[:, :, None] == labels[:, None], 30.0, -30.0)
    assert affinity_loss(perfect, labels).item() == pytest.approx(0, abs=1e-6)
    assert affinity_loss(-perfect, labels).item() > 50


def test_ignored_pixels_change_neither_loss_nor_gradient() -> None:
    torch.manual_seed(1)
    logits = torch.randn(1, 6, 6, requires_grad=True)
    loss = affinity_loss(logits, torch.tensor([[0, 255, 1, 1, 0, 255]]))
    kept = [0, 2, 3, 4]
    alone = affinity_loss(logits[:, kept][:, :, kept], torch.tensor([[0, 1, 1, 0]]))
    torch.testing.assert_close(loss, alone)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[:, [1, 5]].any()
    assert not gradient[..., [1, 5]].any()


def test_it_is_zero_where_all_pixels_are_ignored() -> None:
    logits = torch.randn(2, 4, 4, requires_grad=True)
    loss = affinity_loss(logits, torch.full((2, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
