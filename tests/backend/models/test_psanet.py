from __future__ import annotations

import itertools
import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from satseg.backend import create_model
from satseg.backend.models.psanet import PointAttention
from satseg.errors import ArchitectureError


def attended(features: Tensor, scores: Tensor, square: int, kind: str) -> Tensor:
    """Figure 4, pixel by pixel: ``scores[s]`` of pixel i is for the pixel that lies s - (k, k) from it."""
    rows, columns = features.shape[1:]
    places = list(itertools.product(range(rows), range(columns)))
    half = square // 2

    def score(of: tuple[int, int], to: tuple[int, int]) -> float:
        down, right = (b - a + half for a, b in zip(of, to, strict=True))
        return math.exp(scores[down * square + right, of[0], of[1]])

    found = torch.zeros_like(features)
    for i in places:
        weights = [score(i, j) if kind == "collect" else score(j, i) for j in places]
        for weight, (row, column) in zip(weights, places, strict=True):
            found[:, i[0], i[1]] += features[:, row, column] * weight / sum(weights)
    return found


@pytest.mark.parametrize("kind", ["collect", "distribute"])
@pytest.mark.parametrize("square", [9, 13])  # of a map of 5 cells, and larger
def test_pixels_weigh_others_by_what_they_say_of_relative_places(
    kind: Literal["collect", "distribute"], square: int
) -> None:
    torch.manual_seed(3)
    attention = PointAttention(8, square, kind).eval().requires_grad_(False)
    attention.score[-1].weight.mul_(20)
    features = torch.randn(1, 8, 9, 7)
    reduced = attention.reduce(features)[..., ::2, ::2]  # (1, 512, 5, 4): aligned corners meet every second cell
    scores = attention.score(reduced)
    assert scores.std() > 0.5
    expected = attended(reduced[0].double(), scores[0].double(), square, kind)
    torch.testing.assert_close(attention(features)[0].double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("crop", "square"), [(705, 89), (513, 65), (256, 33), (257, 33), (64, 9)])
def test_the_square_of_places_follows_the_crop(crop: int, square: int) -> None:
    with torch.device("meta"):
        model = create_model("psanet", in_channels=3, num_classes=2, encoder="resnet18", crop=crop)
    assert model.collect.square == model.distribute.square == square
    assert model.window == crop
    size = 8 * 16
    assert model(torch.empty(1, 3, min(size, crop), size, device="meta")).shape[-1] == size


def test_larger_images_are_cut_into_windows_of_the_crop() -> None:
    torch.manual_seed(0)
    model = create_model("psanet", in_channels=3, num_classes=2, encoder="resnet18", crop=64).eval()
    images = torch.randn(1, 3, 64, 100)
    with torch.inference_mode():
        found = model(images)
        torch.testing.assert_close(found[..., :36], model(images[..., :64])[..., :36])
        torch.testing.assert_close(found[..., 36:], model(images[..., 36:]))


def test_a_crop_that_is_too_small_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="a crop of 16 px is smaller than 32 px"):
        create_model("psanet", in_channels=3, num_classes=2, encoder="resnet18", crop=16)
