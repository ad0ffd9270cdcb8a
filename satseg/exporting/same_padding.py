"""Convolutions of timm that are padded by the size of their input, in a form that exports for any size.

timm divides sizes as real numbers and rounds up. Traced for open sizes, each such layer makes the formula of the next
size longer, until that of the last one takes minutes. In whole numbers the same sizes stay short.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn


class SameConv2d(nn.Module):
    """As timm's ``Conv2dSame``: the output has a ``stride``-th of the pixels, rounded up.

    Args:
        conv: The layer whose weights are taken.
    """

    def __init__(self, conv: Conv2dSame) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.stride, self.dilation, self.groups = conv.stride, conv.dilation, conv.groups

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, D, ceil(H / stride), ceil(W / stride)) for (N, C, H, W)."""
        pads: list[int] = []
        for axis in (1, 0):  # columns first, as torch pads
            side, stride = x.shape[axis - 2], self.stride[axis]
            reach = (self.weight.shape[axis - 2] - 1) * self.dilation[axis] + 1
            missing = torch.sym_max(((side + stride - 1) // stride - 1) * stride + reach - side, 0)
            pads += [missing // 2, missing - missing // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def with_open_sizes(model: nn.Module) -> nn.Module:
    """Replace timm's layers in a network, which computes the same afterwards."""
    for module in list(model.modules()):
        for name, part in list(module.named_children()):
            if isinstance(part, Conv2dSame):
                setattr(module, name, SameConv2d(part))
    return model
