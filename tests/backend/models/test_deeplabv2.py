from __future__ import annotations

import torch
from torch.nn import functional

from satseg.backend import create_model


def test_multi_scale_keeps_the_maximum_of_the_scales() -> None:
    torch.manual_seed(0)
    model = create_model("deeplabv2", in_channels=3, num_classes=2, multi_scale=True, encoder="resnet18").eval()
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        _, outputs = model.forward_with_aux(images)
        logits = model(images)
        smaller = [functional.interpolate(images, scale_factor=scale, mode="bilinear") for scale in (0.5, 0.75)]
        scores = [model.net.scores(scaled) for scaled in (images, *smaller)]
    assert list(outputs) == ["scale1", "scale0.5", "scale0.75"]
    for side, own in zip(outputs.values(), scores, strict=True):
        assert torch.equal(side, functional.interpolate(own, size=(64, 96), mode="bilinear"))
    enlarged = [functional.interpolate(own, size=scores[0].shape[-2:], mode="bilinear") for own in scores]
    fused = torch.maximum(torch.maximum(enlarged[0], enlarged[1]), enlarged[2])
    assert torch.equal(logits, functional.interpolate(fused, size=(64, 96), mode="bilinear"))


def test_multi_scale_trains_with_a_loss_for_each_scale() -> None:
    model = create_model("deeplabv2", in_channels=3, num_classes=2, multi_scale=True, encoder="resnet18")
    targets = torch.zeros(1, 64, 64, dtype=torch.int64)
    _, outputs = model.forward_with_aux(torch.rand(1, 3, 64, 64))
    one = {name: torch.zeros_like(scores) for name, scores in outputs.items()}
    torch.testing.assert_close(model.aux_loss(one, targets), 3 * torch.log(torch.tensor(2.0)))
