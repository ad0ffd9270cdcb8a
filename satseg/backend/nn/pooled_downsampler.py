"""The step down in resolution that the networks of factorised convolutions share (ENet, ERFNet, ESNet)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_EPS = 1e-3  # of the batch normalisation in all three networks, as their authors trained them


class PooledDownsampler(nn.Module):
    """Halve the resolution: a strided 3x3 convolution beside a max pooling, concatenated.

    The pooled share is cut at half of the output, which changes nothing in the layers of the papers; with more
    than eight bands it leaves the first layer filters that see all of them.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output: filters and pooled channels together.
        act: Activation behind the normalisation.
    """

    def __init__(self, in_channels: int, out_channels: int, *, act: nn.Module) -> None:
        super().__init__()
        self.pooled = min(in_channels, out_channels // 2)
        self.conv = nn.Conv2d(in_channels, out_channels - self.pooled, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.norm = nn.BatchNorm2d(out_channels, eps=_EPS)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H/2, W/2) for (N, in_channels, H, W), H and W even."""
        filtered = self.conv(x)
        # Under autocast a float32 image beside bfloat16 filters would turn the whole residual trunk into float32.
        pooled = self.pool(x[:, : self.pooled].to(filtered.dtype))
        return self.act(self.norm(torch.cat([filtered, pooled], dim=1)))
