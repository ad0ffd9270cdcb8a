"""Batch normalisation that survives a single value per channel, and normalisation over channels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that falls back to its running statistics where a channel has one value alone.

    That happens in training behind a global pooling with a batch of one, and in the deepest features of small
    images: one value has no variance, and torch refuses it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def tolerate_single_values(net: nn.Module) -> None:
    """Let the batch normalisations of a network of another library survive a single value per channel, too."""
    for layer in net.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = BatchNorm2d


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel of (N, C, H, W), as in transformers."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
