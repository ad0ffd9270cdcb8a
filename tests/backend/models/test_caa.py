from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.models.caa import ChannelizedAxialAttention


def attend_along_columns(values: Tensor, keys: Tensor, gate: nn.Module) -> Tensor:
    """The formula of the paper, with all products: the gate of a row weighs each of them before they are added up."""
    rows = []
    for row in range(keys.shape[2]):
        weights = (keys[:, :, row : row + 1] * keys).sum(dim=1, keepdim=True).softmax(dim=2)  # (N, 1, H, W)
        products = weights * values
        rows.append((gate(products.mean(dim=(2, 3), keepdim=True)) * products).sum(dim=2))
    return torch.stack(rows, dim=2)


def test_gates_may_wait_for_the_sum_of_the_products_that_they_weigh() -> None:
    torch.manual_seed(3)
    attention = ChannelizedAxialAttention(16).eval().requires_grad_(False)
    for conv in [*attention.column_gate, *attention.row_gate]:
        if isinstance(conv, nn.Conv2d):
            nn.init.normal_(conv.weight, std=4 / conv.in_channels**0.5)  # so that gates differ
    features = torch.randn(2, 16, 5, 7)
    expected = attend_along_columns(attention.value(features), attention.column_key(features), attention.column_gate)
    expected = attend_along_columns(
        expected.transpose(2, 3), attention.row_key(features).transpose(2, 3), attention.row_gate
    ).transpose(2, 3)
    torch.testing.assert_close(attention(features), expected)
    gates = attention.column_gate(expected.mean(dim=3, keepdim=True) / 5)
    assert gates.std() > 0.05
