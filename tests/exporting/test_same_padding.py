from __future__ import annotations

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from satseg.exporting.same_padding import SameConv2d, with_open_sizes


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 2, 1), (5, 2, 1), (3, 1, 2), (2, 4, 1), ((3, 5), (2, 1), 1)]
)
@pytest.mark.parametrize("size", [(64, 64), (65, 70), (7, 6)])
def test_results_are_those_of_timm(kernel: object, stride: object, dilation: int, size: tuple[int, int]) -> None:
    model = nn.Sequential(Conv2dSame(2, 3, kernel, stride, dilation=dilation))
    images = torch.rand(1, 2, *size)
    expected = model(images)
    assert torch.equal(with_open_sizes(model)(images), expected)
    assert isinstance(model[0], SameConv2d)
