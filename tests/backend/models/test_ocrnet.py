from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from satseg.backend import create_model


def test_regions_are_learnt_with_weight_0_4_and_without_ignored_pixels() -> None:
    with torch.device("meta"):
        model = create_model("ocrnet", in_channels=3, num_classes=3, encoder="hrnet_w18_small")
    scores = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    targets = torch.zeros(2, 8, 8, dtype=torch.int64)
    targets[:, 4:] = 255
    expected = 0.4 * F.cross_entropy(scores[..., :4, :], targets[:, :4])
    assert model.aux_loss({"regions": scores}, targets).item() == pytest.approx(expected.item())


def test_what_regions_say_reaches_the_logits() -> None:
    torch.manual_seed(0)
    model = create_model("ocrnet", in_channels=3, num_classes=3, encoder="hrnet_w18_small").eval()
    images = torch.rand(1, 3, 33, 33)
    with torch.inference_mode():
        logits, outputs = model.forward_with_aux(images)
        model.regions[-1].weight.mul_(-1)
        changed, other = model.forward_with_aux(images)
    assert outputs["regions"].shape == logits.shape == (1, 3, 33, 33)
    torch.testing.assert_close(other["regions"], -outputs["regions"])  # biases start at zero
    assert not torch.allclose(changed, logits)
