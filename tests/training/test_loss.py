from __future__ import annotations

import re

import pytest
import torch
from loss_cases import random_case
from torch import Tensor

from satseg.errors import UsageError
from satseg.objects import ObjectOutputs
from satseg.training.centre_losses import centre, offset
from satseg.training.devices import single_device
from satseg.training.loss import LOSSES, Loss, Term, parse_loss
from satseg.training.object_losses import boundary, distance
from satseg.training.pixel_losses import cross_entropy, relaxed
from satseg.training.region_losses import dice

WEIGHTS = torch.tensor([1.0, 2.0, 3.0])


def test_an_expression_is_read_term_by_term() -> None:
    assert parse_loss("ce + 0.5*dice") == (Term(1.0, "ce"), Term(0.5, "dice"))
    assert parse_loss(" 2*focal( gamma = 1.5 )+1e-1 * tversky(alpha=.4,beta=.6)") == (
        Term(2.0, "focal", {"gamma": 1.5}),
        Term(0.1, "tversky", {"alpha": 0.4, "beta": 0.6}),
    )


@pytest.mark.parametrize(
    ("expression", "character", "problem"),
    [
        ("", 1, "expected a loss, found nothing"),
        ("ce +", 5, "expected a loss, found nothing"),
        ("ce dice", 4, "expected '+' or the end, found 'dice'"),
        ("ce - dice", 4, "expected '+' or the end, found '-'"),
        ("2 dice", 3, "expected '*', found 'dice'"),
        ("ce & dice", 4, "expected '+' or the end, found '&'"),
        ("ce + dise", 6, "there is no loss 'dise'"),
        ("focal(2)", 7, "expected an option of focal, found '2'"),
        ("focal(gama=2)", 7, "focal has no option 'gama'"),
        ("ce(weight=2)", 4, "ce has no option 'weight'"),
        ("focal(gamma=two)", 13, "expected a number, found 'two'"),
        ("ce(smoothing=10)", 14, "smoothing is a share, below 1"),
        ("focal(gamma=2", 14, "expected ')', found nothing"),
    ],
)
def test_a_wrong_expression_is_refused_at_its_character(expression: str, character: int, problem: str) -> None:
    with pytest.raises(UsageError, match=f"character {character}: {re.escape(problem)}"):
        parse_loss(expression)


def test_a_misspelt_loss_is_guessed() -> None:
    with pytest.raises(UsageError) as caught:
        parse_loss("ce + lovas")
    assert caught.value.hint == "Did you mean lovasz?"


def test_the_sum_is_the_sum_of_its_weighted_terms() -> None:
    logits, targets = random_case()
    expected = cross_entropy(logits, targets, WEIGHTS) + 0.25 * dice(logits, targets)
    assert torch.equal(Loss("ce + 0.25*dice", WEIGHTS)(logits, targets), expected)


def test_smoothed_and_relaxed_losses_compose_and_ignore_what_is_ignored() -> None:
    logits, targets = random_case()
    loss = Loss("0.5*ce(smoothing=0.1) + relaxed(border=2) + dice", WEIGHTS)
    parts = (
        0.5 * cross_entropy(logits, targets, WEIGHTS, smoothing=0.1),
        relaxed(logits, targets, WEIGHTS, border=2),
        dice(logits, targets),
    )
    assert torch.equal(loss(logits, targets), sum(parts[1:], parts[0]))
    other = torch.where((targets == 255)[:, None], torch.randn_like(logits), logits)
    assert torch.equal(loss(other, targets), loss(logits, targets))


def object_case() -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs (2, 5, 5, 7) of three classes, boundary and distance; targets; and planes of objects."""
    logits, targets = random_case()
    generator = torch.Generator().manual_seed(0)
    others = torch.randn(2, 2, 5, 7, generator=generator, dtype=logits.dtype)
    planes = torch.randint(0, 255, (2, 3, 5, 7), generator=generator).to(torch.uint8)
    return torch.cat([logits, others], dim=1), targets, planes


@pytest.mark.parametrize(
    ("expression", "factors"),
    [
        ("ce", (1.0, 1.0)),
        ("ce + 0.5*boundary", (0.5, 1.0)),
        ("2*distance + 0*boundary + ce", (0.0, 2.0)),
    ],
)
def test_a_network_that_learns_objects_has_their_losses_with_the_factors_that_are_given(
    expression: str, factors: tuple[float, float]
) -> None:
    outputs, targets, planes = object_case()
    found = Loss(expression, objects=ObjectOutputs.EDGES)(outputs, targets, planes)
    counted = targets != 255
    expected = cross_entropy(outputs[:, :3], targets)
    for factor, loss, output in zip(factors, (boundary, distance), (outputs[:, 3], outputs[:, 4]), strict=True):
        expected = expected + factor * loss(output, planes, counted, single_device)
    assert found.item() == pytest.approx(expected.item())


@pytest.mark.parametrize(("expression", "factors"), [("ce", (200.0, 0.01)), ("ce + 3*offset", (200.0, 3.0))])
def test_a_network_that_learns_centres_has_the_factors_of_its_paper(
    expression: str, factors: tuple[float, float]
) -> None:
    logits, targets = random_case()
    others = torch.randn(2, 3, *logits.shape[2:], generator=torch.Generator().manual_seed(3))
    outputs = torch.cat([logits, others], dim=1)
    ids = torch.zeros(2, 1, *logits.shape[2:], dtype=torch.int32)
    ids[:, :, 1:3, 2:5] = 1
    found = Loss(expression, objects=ObjectOutputs.CENTRES)(outputs, targets, ids)
    counted = targets != 255
    expected = cross_entropy(logits, targets)
    expected = expected + factors[0] * centre(outputs[:, 3], ids, counted, single_device)
    expected = expected + factors[1] * offset(outputs[:, 4:], ids, counted, single_device)
    assert found.item() == pytest.approx(expected.item())


def test_losses_of_what_another_network_learns_of_objects_are_refused() -> None:
    with pytest.raises(UsageError, match=r"a term boundary, which is none of the network: .* learns centre and offset"):
        Loss("ce + boundary", objects=ObjectOutputs.CENTRES)


def test_losses_of_objects_are_refused_where_none_are_learnt() -> None:
    with pytest.raises(UsageError, match=r"'ce \+ 2\*distance' has a term distance, but the network learns no objects"):
        Loss("ce + 2*distance")


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
class TestEveryLoss:
    def test_a_perfect_prediction_costs_nothing(self, name: str, weights: Tensor | None) -> None:
        targets = torch.tensor([[[0, 1], [2, 255]]])
        logits = 200.0 * torch.nn.functional.one_hot(targets.clamp(max=2), 3).permute(0, 3, 1, 2) - 100
        assert Loss(name, weights)(logits, targets).item() == pytest.approx(0, abs=1e-6)

    def test_a_batch_that_is_wholly_ignored_costs_nothing_and_teaches_nothing(
        self, name: str, weights: Tensor | None
    ) -> None:
        logits = torch.randn(2, 3, 4, 4, requires_grad=True)
        loss = Loss(name, weights)(logits, torch.full((2, 4, 4), 255))
        loss.backward()
        assert loss.item() == 0
        assert logits.grad is not None
        assert torch.equal(logits.grad, torch.zeros_like(logits))

    def test_ignored_pixels_get_no_gradient_and_all_others_are_finite(self, name: str, weights: Tensor | None) -> None:
        logits, targets = random_case()
        logits.requires_grad_()
        Loss(name, weights)(logits, targets).backward()
        assert logits.grad is not None
        ignored = (targets == 255)[:, None].expand_as(logits)
        assert torch.equal(logits.grad[ignored], torch.zeros_like(logits.grad[ignored]))
        assert torch.isfinite(logits.grad).all()
        assert (logits.grad[~ignored] != 0).any()

    def test_what_ignored_pixels_predict_changes_nothing(self, name: str, weights: Tensor | None) -> None:
        logits, targets = random_case()
        other = torch.where((targets == 255)[:, None], torch.randn_like(logits), logits)
        assert torch.equal(Loss(name, weights)(logits, targets), Loss(name, weights)(other, targets))

    def test_a_step_down_the_gradient_lowers_it(self, name: str, weights: Tensor | None) -> None:
        logits, targets = random_case()
        logits.requires_grad_()
        before = Loss(name, weights)(logits, targets)
        before.backward()
        assert logits.grad is not None
        assert Loss(name, weights)(logits - 1e-2 * logits.grad, targets) < before

    def test_bfloat16_logits_are_judged_in_float32(self, name: str, weights: Tensor | None) -> None:
        logits, targets = random_case()
        rounded = logits.to(torch.bfloat16)
        assert Loss(name, weights)(rounded, targets).item() == Loss(name, weights)(rounded.float(), targets).item()
