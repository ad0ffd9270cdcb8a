from __future__ import annotations

import pytest
import torch
from torch import nn

from satseg.backend.nn.unpool import unpool


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_return_to_where_the_maxima_were(memory_format: torch.memory_format, dtype: torch.dtype) -> None:
    x = torch.randperm(2 * 3 * 6 * 8).float().view(2, 3, 6, 8).to(memory_format=memory_format)
    pooled, indices = nn.MaxPool2d(2, return_indices=True)(x)
    expected = nn.functional.max_unpool2d(pooled, indices, 2)
    assert torch.equal(unpool(pooled.to(dtype), indices), expected.to(dtype))


def test_gradient_flows_to_the_maxima_alone() -> None:
    x = torch.rand(1, 1, 4, 4, requires_grad=True)
    pooled, indices = nn.MaxPool2d(2, return_indices=True)(x)
    unpool(pooled, indices).sum().backward()
    assert x.grad.sum() == 4
    assert set(x.grad.unique().tolist()) == {0.0, 1.0}
