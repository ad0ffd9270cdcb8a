"""Notice a network whose output is not finite, before NaN is taken for a class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from satseg.errors import NetworkError


def first_not_finite(scores: Tensor, valid: np.ndarray | None) -> tuple[int, int, int] | None:
    """Return the first valid pixel of which a network says something that is not finite.

    Args:
        scores: (N, K, H, W) logits or probabilities; those of a network are NaN in the first class where they are so
            in any.
        valid: (N, H, W) bool; None where all pixels are.

    Returns:
        Number of the image, row and column; None where all is well.
    """
    bad = ~scores.isfinite().all(dim=1)
    if valid is not None:
        bad &= torch.from_numpy(valid).to(bad.device)
    if not bad.any():
        return None
    number, row, column = bad.nonzero()[0].tolist()
    return number, row, column


def not_finite(place: str) -> NetworkError:
    """Return the error that says so."""
    return NetworkError(
        f"The network's output is not a finite number at {place}.",
        hint="With --precision fp16, large values overflow: take bf16 or fp32. Else the weights of the checkpoint are "
        "broken: take another one, or train anew with a lower --lr.",
    )
