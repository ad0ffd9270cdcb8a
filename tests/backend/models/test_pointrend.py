from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend import create_model
from satseg.backend.models.pointrend import PointRend
from satseg.training.loss import Loss

LIGHT = {"in_channels": 3, "encoder": "resnet18"}


class Yes(nn.Module):
    """Decides for the last class everywhere, whatever it is asked."""

    def forward(self, fine: Tensor, coarse: Tensor, places: Tensor) -> Tensor:
        found = torch.zeros(len(fine), coarse.shape[1], 1, places.shape[2])
        found[:, -1] = 99.0
        return found


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(6)) * 2 - 1


@pytest.fixture
def model() -> PointRend:
    torch.manual_seed(0)
    return create_model("pointrend", num_classes=3, **LIGHT).eval()


@pytest.mark.parametrize("size", [(64, 96), (512, 256)])
def test_the_least_certain_pixels_are_decided_anew_and_no_others(model: PointRend, size: tuple[int, int]) -> None:
    """By hand, for the last step: 1 of 32 pixels, those whose first two classes are closest to each other."""
    coarse = images(1, 3, size[0] // 4, size[1] // 4)
    scores = F.interpolate(coarse, scale_factor=4, mode="bilinear")
    model.points = Yes()
    with torch.inference_mode():
        refined = model.refine(scores, coarse, torch.zeros(1, 256, *coarse.shape[2:]))
    changed = (refined != scores).any(dim=1).flatten()
    first, second = scores.flatten(2).sort(dim=1, descending=True).values[0, :2]
    margin = first - second
    assert changed.sum() == size[0] * size[1] // 32
    assert margin[changed].max() <= margin[~changed].min()
    assert (refined[0, -1].flatten()[changed] == 99).all()


def test_a_window_of_512_pixels_has_8192_points_in_each_step(model: PointRend) -> None:
    asked: list[int] = []
    model.points.register_forward_pre_hook(lambda _, given: asked.append(given[2].shape[2]))
    with torch.inference_mode():
        model(images(1, 3, 512, 512))
        model(images(1, 3, 128, 256))
    assert asked == [8192, 8192, 1024, 1024]


def test_points_are_asked_where_they_lie(model: PointRend) -> None:
    """Fine features that hold their own place tell the places of pixels that are decided anew."""
    rows = (torch.arange(16.0) + 0.5) / 16
    fine = torch.zeros(1, 256, 16, 16)
    fine[0, 0], fine[0, 1] = rows[:, None], rows[None]

    def told(fine: Tensor, coarse: Tensor, places: Tensor) -> Tensor:
        at = F.grid_sample(fine[:, :2], (2 * places - 1).flip(3), align_corners=False, padding_mode="border")
        return torch.cat([at, torch.full_like(at[:, :1], 50.0)], dim=1)

    model.points.forward = told
    with torch.inference_mode():
        refined = model.refine(images(1, 3, 64, 64), images(1, 3, 16, 16), fine)
    chosen = refined[0, 2] == 50
    places = ((torch.arange(64) + 0.5) / 64).clamp(1 / 32, 31 / 32)
    assert chosen.sum() == 128
    torch.testing.assert_close(refined[0, 0][chosen], places[:, None].expand(64, 64)[chosen])
    torch.testing.assert_close(refined[0, 1][chosen], places.expand(64, 64)[chosen])


def test_three_quarters_of_the_points_that_are_learnt_at_are_uncertain(model: PointRend) -> None:
    margins = torch.linspace(0, 1, 65)[:-1].expand(64, 64)  # certain at the right
    model.coarse = lambda padded: (torch.stack([margins, -margins, -margins - 1])[None], torch.zeros(1, 256, 64, 64))
    torch.manual_seed(1)
    _, outputs = model.forward_with_aux(images(1, 3, 256, 256))
    rows, columns = outputs["places"][0, 0].unbind(1)
    assert outputs["points"].shape == (1, 3, 1, 2048)
    # The least certain quarter of all candidates, and a quarter of the rest, which lies anywhere.
    uncertain = (columns < 64).float().mean().item()
    assert uncertain == pytest.approx(0.75 * 1.0 + 0.25 * 0.25, abs=0.03)
    assert rows.min() >= 0
    assert rows.max() <= 256


@pytest.mark.parametrize("reduced", [False, True])
def test_points_lie_in_the_image_and_not_in_what_extends_it(model: PointRend, reduced: bool) -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=reduced):
        _, outputs = model.forward_with_aux(images(2, 3, 33, 519))
    largest = outputs["places"].amax(dim=(0, 1, 2))
    assert (largest <= torch.tensor([33.0, 519.0])).all()
    assert (largest > torch.tensor([32.5, 516.0])).all()


def test_features_are_taken_from_single_pixels_in_bfloat16_too(model: PointRend) -> None:
    """Every second column of a wide map is 1, which coordinates of 8 bits cannot tell from the others."""
    fine = torch.zeros(1, 256, 1, 512)
    fine[..., ::2] = 1
    places = torch.stack([torch.full((512,), 0.5), (torch.arange(512) + 0.5) / 512], dim=1)[None, None]
    seen: list[Tensor] = []
    model.points.layers.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        model.points(fine.bfloat16(), torch.zeros(1, 3, 1, 512, dtype=torch.bfloat16), places)
    torch.testing.assert_close(seen[0][0, 0, 0].float(), fine[0, 0, 0], atol=1e-3, rtol=0)


def test_the_loss_is_the_cross_entropy_at_the_points_that_count(model: PointRend) -> None:
    targets = torch.tensor([[[0, 1, 255], [2, 0, 255]]])
    places = torch.tensor([[0.5, 1.5], [1.2, 0.1], [0.7, 2.3], [1.9, 1.9], [1.0, 3.0]])  # the last one lies beyond
    points = torch.randn(1, 3, 1, 5, generator=torch.Generator().manual_seed(0))
    expected = F.cross_entropy(points[0, :, 0, [0, 1, 3]].T, torch.tensor([1, 2, 0]))
    found = model.aux_loss({"points": points, "places": places[None, None]}, targets)
    assert found.item() == pytest.approx(expected.item())


def test_ignored_tiles_cost_nothing(model: PointRend) -> None:
    logits, outputs = model.forward_with_aux(images(1, 3, 64, 64))
    assert model.aux_loss(outputs, torch.full((1, 64, 64), 255)).item() == 0
    assert logits.shape == (1, 3, 64, 64)


def test_what_is_said_of_objects_stays_as_it_is() -> None:
    torch.manual_seed(0)
    model = create_model("pointrend", num_classes=2, objects=True, **LIGHT).eval()
    batch = images(1, 3, 64, 64)
    with torch.inference_mode():
        found = model(batch)
        before = F.interpolate(model.coarse(batch)[0][:, 2:], scale_factor=2, mode="bilinear")
        before = F.interpolate(before, scale_factor=2, mode="bilinear")
    assert found.shape == (1, 4, 64, 64)
    assert torch.equal(found[:, 2:], before)
    logits, outputs = model.forward_with_aux(batch)
    assert (logits.shape[1], outputs["points"].shape[1]) == (4, 2)


def test_one_class_can_be_refined() -> None:
    model = create_model("pointrend", num_classes=1, **LIGHT).eval()
    with torch.inference_mode():
        assert model(images(1, 3, 64, 64)).shape == (1, 1, 64, 64)


def test_a_few_steps_teach_the_map_and_the_points() -> None:
    torch.manual_seed(0)
    targets = torch.zeros(1, 96, 96, dtype=torch.int64)
    targets[:, 20:61, 33:70] = 1
    batch = torch.where(targets[:, None] == 1, 1.0, -1.0) + 0.1 * torch.randn(1, 1, 96, 96)
    model = create_model("pointrend", in_channels=1, num_classes=2, encoder="resnet18").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    criterion = Loss("ce")
    costs = []
    for _ in range(25):
        logits, outputs = model.forward_with_aux(batch)
        main, points = criterion(logits, targets), model.aux_loss(outputs, targets)
        optimizer.zero_grad()
        (main + points).backward()
        optimizer.step()
        costs.append((main.item(), points.item()))
    assert costs[-1][0] < 0.3 * costs[0][0]
    assert costs[-1][1] < 0.5 * costs[0][1]
