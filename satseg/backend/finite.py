"""Detect network outputs that are not finite, before NaN is interpreted as a class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from satseg.errors import NetworkError


def first_not_finite(scores: Tensor, valid: np.ndarray | None) -> tuple[int, int, int] | None:
    """Return the first valid pixel whose scores are not finite.

    Args:
        scores: (N, K, H, W) logits or probabilities.
        valid: (N, H, W) bool; None if all pixels are valid.

    Returns:
        Number of the image, row and column; None if all scores are finite.
    """
    bad = ~scores.isfinite().all(dim=1)
    if valid is not None:
        bad &= torch.from_numpy(valid).to(bad.device)
    if not bad.any():
        return None
    number, row, column = bad.nonzero()[0].tolist()
    return number, row, column


def not_finite(place: str) -> NetworkError:
    """Return the error for an output that is not finite at a place."""
    return NetworkError(
        f"The output of the network is not finite at {place}.",
        hint="Large values overflow with `precision='fp16'`: use 'bf16' or 'fp32' instead. Otherwise the weights of "
        "the checkpoint are broken: use another one, or train again with a lower learning rate.",
    )
