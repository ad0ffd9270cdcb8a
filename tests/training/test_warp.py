from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from satseg.training.warp import warp

SIZE = 24


def sample(count: int = 1, bands: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, bands, SIZE, SIZE, generator=generator)
    labels = torch.randint(0, 5, (count, SIZE, SIZE), generator=generator).to(torch.uint8)
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = 255
    valid = torch.rand(count, SIZE, SIZE, generator=generator) > 0.1
    objects = torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=generator).to(torch.uint8)
    return images, labels, valid, objects


@pytest.mark.parametrize(
    ("angle", "zoom", "right", "down"),
    [
        (17.0, 1.0, 0, 0),
        (-40.0, 1.3, 3, -2),
        (91.0, 0.7, 0, 5),
        (10.0, 1.4, -4, 1),
        (0.0, 1.0, 2, 3),
        (123.0, 0.9, 1, 1),
    ],
)
def test_each_sample_is_warped_as_torchvision_warps_an_image_and_its_mask(
    angle: float, zoom: float, right: int, down: int
) -> None:
    images, labels, valid, objects = sample(2)
    shift = torch.tensor([[0.1, 0.2], [right / SIZE, down / SIZE]])
    ours = warp(images, labels, valid, objects, torch.tensor([5.0, angle]), torch.tensor([1.1, zoom]), shift)
    # torchvision turns clockwise.
    rest = {"angle": -angle, "translate": [float(right), float(down)], "scale": zoom, "shear": [0.0, 0.0]}
    bands = tv.affine_image(images[1], **rest, interpolation=InterpolationMode.BILINEAR, fill=0.0)
    mask = tv.affine_mask(labels[1:], **rest, fill=255)
    inside = tv.affine_mask(torch.ones(1, SIZE, SIZE), **rest, fill=0)[0] > 0
    assert torch.equal(ours[1][1], mask[0])
    assert torch.equal(ours[3][1], tv.affine_mask(objects[1], **rest, fill=0))
    assert torch.equal(ours[2][1], tv.affine_mask(valid[1:].to(torch.uint8), **rest, fill=0)[0].bool())
    outside = torch.nn.functional.pad((~inside)[None].float(), (1, 1, 1, 1), value=1.0)
    whole = torch.nn.functional.max_pool2d(outside, 3, 1)[0] == 0  # four neighbours inside
    assert torch.allclose(ours[0][1][:, whole], bands[:, whole], atol=1e-5)


def test_what_comes_from_outside_is_ignored_and_not_valid() -> None:
    images, _, _, objects = sample()
    labels, valid = torch.ones(1, SIZE, SIZE, dtype=torch.uint8), torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    _, turned, inside, _ = warp(
        images, labels, valid, objects, torch.tensor([45.0]), torch.tensor([1.0]), torch.zeros(1, 2)
    )
    assert torch.equal(turned == 255, ~inside)
    assert [bool(inside[0, i, i]) for i in (0, SIZE // 2, -1)] == [False, True, False]


def test_doing_nothing_changes_nothing() -> None:
    images, labels, valid, objects = sample()
    same = warp(images, labels, valid, objects, torch.zeros(1), torch.ones(1), torch.zeros(1, 2))
    assert torch.allclose(same[0], images, atol=1e-5)
    assert torch.equal(same[1], labels)
    assert torch.equal(same[2], valid)
    assert torch.equal(same[3], objects)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_quarter_turn_is_one(quarters: int) -> None:
    images, labels, valid, objects = sample()
    warped = warp(images, labels, valid, objects, torch.tensor([90.0 * quarters]), torch.ones(1), torch.zeros(1, 2))
    assert torch.allclose(warped[0], torch.rot90(images, quarters, (2, 3)), atol=1e-5)
    assert torch.equal(warped[1], torch.rot90(labels, quarters, (1, 2)))
    assert torch.equal(warped[3], torch.rot90(objects, quarters, (2, 3)))


def test_a_shift_moves_whole_pixels_and_ignores_what_it_uncovers() -> None:
    images, labels, valid, objects = sample()
    moved = warp(images, labels, valid, objects, torch.zeros(1), torch.ones(1), torch.tensor([[6 / SIZE, 0.0]]))
    assert torch.allclose(moved[0][..., 6:], images[..., :-6], atol=1e-5)
    assert torch.equal(moved[1][..., 6:], labels[..., :-6])
    assert (moved[1][..., :6] == 255).all()
    assert not moved[2][..., :6].any()
    assert torch.equal(moved[3][..., 6:], objects[..., :-6])
    assert not moved[3][..., :6].any()
