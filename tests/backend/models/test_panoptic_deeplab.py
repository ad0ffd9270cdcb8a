from __future__ import annotations

import torch
from torch import nn

from satseg.backend import create_model
from satseg.training.centre_losses import Centres
from satseg.training.loss import Loss, ObjectOutputs

LIGHT = {"in_channels": 4, "num_classes": 2, "encoder": "resnet18"}


def test_offsets_are_lengths_in_pixels_of_the_image() -> None:
    """Constant offsets at stride 4 become four times as long, whatever the size of the image."""
    model = create_model("panoptic_deeplab", objects=True, **LIGHT).eval()
    last = model.instances.offset[-1]
    nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([1.0, -2.0])
    with torch.inference_mode():
        found = model(torch.randn(1, 4, 64, 96))[0, 3:]
    assert torch.allclose(found[0], torch.full((64, 96), 4.0))
    assert torch.allclose(found[1], torch.full((64, 96), -8.0))


def test_classes_come_first_and_are_those_of_the_network_without_objects() -> None:
    model = create_model("panoptic_deeplab", objects=True, **LIGHT).eval()
    plain = create_model("panoptic_deeplab", **LIGHT).eval()
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith("instances.")}
    plain.load_state_dict(kept)
    images = torch.randn(1, 4, 47, 65)
    with torch.inference_mode():
        assert torch.equal(model(images)[:, :2], plain(images))


def test_a_few_steps_teach_centres_and_offsets() -> None:
    torch.manual_seed(0)
    ids = torch.zeros(1, 1, 96, 96, dtype=torch.int32)
    for number in range(9):
        row, column = 6 + 30 * (number // 3), 6 + 30 * (number % 3)
        ids[0, 0, row : row + 24, column : column + 24] = number + 1
    targets = (ids[:, 0] != 0).long()
    images = targets[:, None].float() * 2 - 1 + 0.1 * torch.randn(1, 1, 96, 96)
    model = create_model("panoptic_deeplab", in_channels=1, num_classes=2, objects=True, encoder="resnet18").train()
    criterion = Loss("ce", objects=ObjectOutputs.CENTRES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(30):
        loss = criterion(model(images), targets, ids)
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    centres = Centres.of(ids[:, 0])
    heat = model(images)[0, 2]
    assert heat[centres.heat()[0] > 0.9].mean() > heat[ids[0, 0] == 0].mean() + 0.1
