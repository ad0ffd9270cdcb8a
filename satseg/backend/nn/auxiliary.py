"""The loss of auxiliary classifiers, which are used only during training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from satseg.backend.nn.resize import resize_like
from satseg.classes import IGNORE_INDEX


def auxiliary_cross_entropy(outputs: Mapping[str, Tensor], targets: Tensor, *, weight: float) -> Tensor:
    """Return the weighted sum of the mean cross-entropies of side outputs, zero where no pixel counts.

    Args:
        outputs: Logits (N, K, h, w) by name, at any resolution; they are interpolated to that of the targets.
        targets: (N, H, W) int64 class ids; 255 is ignored.
        weight: Weight of each output.
    """
    counted = (targets != IGNORE_INDEX).sum().clamp(min=1)
    total = torch.zeros((), device=targets.device)
    for logits in outputs.values():
        full = resize_like(logits.float(), targets)
        total = total + F.cross_entropy(full, targets, ignore_index=IGNORE_INDEX, reduction="sum") / counted
    return weight * total
