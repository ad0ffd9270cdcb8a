"""Losses that judge the region of each class as a whole, so that a rare class weighs as much as a common one.

All take logits (N, K, H, W) float; targets (N, H, W) int64, 0..K-1 or 255 = ignore; ``weight``, which they leave
alone; and ``total``, which adds up over devices. They return a scalar float32 in 0..1: an average over the classes that
the labels hold, since a class without a labelled pixel has no region to overlap with; zero, with zero gradients, where
every pixel is ignored.
"""

from __future__ import annotations

import torch
from torch import Tensor

from satseg.classes import IGNORE_INDEX
from satseg.training.devices import Total, alone


def tversky(
    logits: Tensor,
    targets: Tensor,
    weight: Tensor | None = None,
    total: Total = alone,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
) -> Tensor:
    """Return 1 - the soft Tversky index (Salehi et al. 2017), over all pixels of the batch that count.

    The index is hit / (hit + alpha * wrongly claimed + beta * missed), of probabilities instead of decisions.
    """
    probs, truth = _regions(logits, targets)
    axes = (0, 2, 3)
    sums = torch.stack([(probs * truth).sum(axes), probs.sum(axes), truth.float().sum(axes)])
    hit, claimed, labelled = total(sums)  # (K,) each
    index = hit / (hit + alpha * (claimed - hit) + beta * (labelled - hit)).clamp(min=1e-6)
    present = labelled > 0
    return ((1 - index) * present).sum() / present.sum().clamp(min=1)


def dice(logits: Tensor, targets: Tensor, weight: Tensor | None = None, total: Total = alone) -> Tensor:
    """Return 1 - soft Dice: 2 |P and T| / (|P| + |T|)."""
    return tversky(logits, targets, weight, total, alpha=0.5, beta=0.5)


def jaccard(logits: Tensor, targets: Tensor, weight: Tensor | None = None, total: Total = alone) -> Tensor:
    """Return 1 - soft IoU: |P and T| / |P or T|."""
    return tversky(logits, targets, weight, total, alpha=1.0, beta=1.0)


def lovasz(logits: Tensor, targets: Tensor, weight: Tensor | None = None, total: Total = alone) -> Tensor:
    """Return the Lovász-softmax loss (Berman et al. 2018): the IoU loss, made piecewise linear in the errors.

    Taken per tile and class and averaged over the pairs that have labels, so that it does not matter how a batch is
    spread over devices. For decisions of 0 and 1 it is 1 - IoU exactly.
    """
    probs, truth = (part.flatten(2) for part in _regions(logits, targets))  # (N, K, H * W)
    counted = (targets != IGNORE_INDEX).flatten(1)[:, None]
    errors = (truth.float() - probs).abs() * counted
    errors, order = errors.sort(dim=2, descending=True)
    present = truth.any(dim=2)  # (N, K)
    losses = (errors * _steps(truth.gather(2, order))).sum(dim=2)
    return total((losses * present).sum()) / total(present.sum()).clamp(min=1)


def _steps(truth: Tensor) -> Tensor:
    """Return by how much 1 - IoU grows with each further pixel that is wrong, (N, K, P), worst pixel first."""
    labelled = truth.sum(dim=2, keepdim=True)
    claimed = (~truth).cumsum(dim=2)
    loss = 1 - (labelled - truth.cumsum(dim=2)) / (labelled + claimed).clamp(min=1)
    return loss.diff(dim=2, prepend=torch.zeros_like(loss[..., :1]))


def _regions(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return probabilities (N, K, H, W), zero where ignored, and which pixels are of which class (N, K, H, W) bool."""
    probs = logits.float().softmax(dim=1) * (targets != IGNORE_INDEX)[:, None]
    classes = torch.arange(logits.shape[1], device=logits.device)[:, None, None]
    return probs, targets[:, None] == classes  # 255 matches none of them
