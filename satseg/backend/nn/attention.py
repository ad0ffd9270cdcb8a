"""Attention: each pixel takes the mean of what others say, weighted by how well they answer to it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def attend(queries: Tensor, keys: Tensor, values: Tensor, *, scale: float = 1.0) -> Tensor:
    """Return, for each query, the mean of all values, weighted by the softmax over keys of ``scale`` * query . key.

    Keys and values may be of other places than queries are: pooled ones, or regions. Memory is that of inputs and
    output, not of the square of their pixels: queries and keys narrower than values are extended by zeros, which
    change no product, so that torch's fused kernel takes them; it wants channels side by side.

    Vaswani et al.: "Attention Is All You Need", NeurIPS 2017, arXiv 1706.03762, section 3.2.1; over the pixels of an
    image: Wang et al.: "Non-local Neural Networks", CVPR 2018, arXiv 1711.07971, section 3.

    Args:
        queries: (N, D, ...) features, D of at most C channels.
        keys: (N, D, ...) features.
        values: (N, C, ...) features, at the places of the keys.
        scale: Factor of the products.

    Returns:
        (N, C, ...) as the places of the queries.
    """
    wider = values.shape[1] - queries.shape[1]
    wide = [F.pad(_rows(part), (0, wider)).contiguous() for part in (queries, keys)]
    mixed = F.scaled_dot_product_attention(wide[0], wide[1], _rows(values).contiguous(), scale=scale)
    return mixed[:, 0].transpose(1, 2).unflatten(2, queries.shape[2:])


def _rows(features: Tensor) -> Tensor:
    """Return (N, 1, places, C), one head, for (N, C, ...)."""
    return features.flatten(2).transpose(1, 2).unsqueeze(1)
