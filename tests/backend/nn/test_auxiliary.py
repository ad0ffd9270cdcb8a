from __future__ import annotations

import torch
import torch.nn.functional as F

from satseg.backend.nn.auxiliary import auxiliary_cross_entropy


def test_each_output_adds_its_weighted_mean_over_counted_pixels() -> None:
    torch.manual_seed(0)
    targets = torch.randint(0, 3, (2, 8, 8))
    targets[0, :3] = 255
    outputs = {"a": torch.randn(2, 3, 8, 8), "b": torch.randn(2, 3, 8, 8)}
    expected = sum(0.4 * F.cross_entropy(logits, targets, ignore_index=255) for logits in outputs.values())
    torch.testing.assert_close(auxiliary_cross_entropy(outputs, targets, weight=0.4), expected)


def test_coarse_logits_are_enlarged_to_the_targets() -> None:
    logits = torch.zeros(1, 2, 2, 2)
    logits[:, 1] = 4.0
    loss = auxiliary_cross_entropy({"a": logits}, torch.ones(1, 16, 16, dtype=torch.int64), weight=1.0)
    torch.testing.assert_close(loss, F.softplus(torch.tensor(-4.0)))


def test_targets_without_a_counted_pixel_give_zero_and_not_nan() -> None:
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = auxiliary_cross_entropy({"a": logits}, torch.full((1, 4, 4), 255), weight=1.0)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum() == 0
