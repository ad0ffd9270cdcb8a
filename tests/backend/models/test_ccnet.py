from __future__ import annotations

import pytest
import torch
from torch import Tensor

from satseg.backend.models.ccnet import CrissCrossAttention


@pytest.fixture
def attention() -> CrissCrossAttention:
    torch.manual_seed(3)
    attention = CrissCrossAttention(16).requires_grad_(False)
    torch.nn.init.ones_(attention.gamma)
    return attention


@pytest.fixture
def features() -> Tensor:
    return torch.randn(2, 16, 4, 7, generator=torch.Generator().manual_seed(3))


def test_pixels_attend_to_each_of_their_row_and_column_once(attention: CrissCrossAttention, features: Tensor) -> None:
    query, key, value = (layer(features).flatten(2) for layer in (attention.query, attention.key, attention.value))
    row, column = torch.meshgrid(torch.arange(4), torch.arange(7), indexing="ij")
    row, column = row.flatten(), column.flatten()
    crossing = (row[:, None] == row) | (column[:, None] == column)
    weights = (query.transpose(1, 2) @ key).masked_fill(~crossing, -torch.inf).softmax(dim=2)
    expected = features + (value @ weights.transpose(1, 2)).view_as(features)
    torch.testing.assert_close(attention(features), expected)


def test_two_passes_lead_from_any_pixel_to_any_other(attention: CrissCrossAttention, features: Tensor) -> None:
    features.requires_grad_()
    once = attention(features)
    twice = attention(once)
    for found, seen in ((once, 4 + 7 - 1), (twice, 4 * 7)):
        (gradient,) = torch.autograd.grad(found[0, :, 1, 2].sum(), features, retain_graph=True)
        assert gradient[0].any(dim=0).sum() == seen
