"""Region losses: overlap of the predicted and the labelled region of each class, so that rare classes count fully.

All take logits (N, K, H, W) float; targets (N, H, W) int64, 0..K-1 or 255 = ignore; ``weight``, which they do not use;
and ``total``, which sums over devices. They return a scalar float32 in 0..1, an average over the classes present in the
labels. It is zero with zero gradients if all pixels are ignored.
"""

from __future__ import annotations

import torch
from torch import Tensor

from satseg.classes import IGNORE_INDEX
from satseg.training.devices import Total, single_device


def tversky(
    logits: Tensor,
    targets: Tensor,
    weight: Tensor | None = None,
    total: Total = single_device,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
) -> Tensor:
    """Return 1 - the soft Tversky index (Salehi et al. 2017), over all labelled pixels of the batch.

    The index is TP / (TP + alpha * FP + beta * FN), computed from probabilities.
    """
    probs, truth = _regions(logits, targets)
    axes = (0, 2, 3)
    sums = torch.stack([(probs * truth).sum(axes), probs.sum(axes), truth.float().sum(axes)])
    hit, predicted, labelled = total(sums)  # (K,) each
    index = hit / (hit + alpha * (predicted - hit) + beta * (labelled - hit)).clamp(min=1e-6)
    present = labelled > 0
    return ((1 - index) * present).sum() / present.sum().clamp(min=1)


def dice(logits: Tensor, targets: Tensor, weight: Tensor | None = None, total: Total = single_device) -> Tensor:
    """Return 1 - soft Dice: 2 |P and T| / (|P| + |T|)."""
    return tversky(logits, targets, weight, total, alpha=0.5, beta=0.5)


def jaccard(logits: Tensor, targets: Tensor, weight: Tensor | None = None, total: Total = single_device) -> Tensor:
    """Return 1 - soft IoU: |P and T| / |P or T|."""
    return tversky(logits, targets, weight, total, alpha=1.0, beta=1.0)


def lovasz(logits: Tensor, targets: Tensor, weight: Tensor | None = None, total: Total = single_device) -> Tensor:
    """Return the Lovász-softmax loss (Berman et al. 2018), the piecewise linear extension of the IoU loss.

    It is computed per tile and class and averaged over the pairs with labels, so that it does not depend on the
    distribution of a batch over devices. For probabilities of 0 and 1 it equals 1 - IoU.
    """
    probs, truth = (part.flatten(2) for part in _regions(logits, targets))  # (N, K, H * W)
    counted = (targets != IGNORE_INDEX).flatten(1)[:, None]
    errors = (truth.float() - probs).abs() * counted
    errors, order = errors.sort(dim=2, descending=True)
    present = truth.any(dim=2)  # (N, K)
    losses = (errors * _steps(truth.gather(2, order))).sum(dim=2)
    return total((losses * present).sum()) / total(present.sum()).clamp(min=1)


def _steps(truth: Tensor) -> Tensor:
    """Return the increase of 1 - IoU with each further wrong pixel, (N, K, P), largest error first."""
    labelled = truth.sum(dim=2, keepdim=True)
    false_positives = (~truth).cumsum(dim=2)
    loss = 1 - (labelled - truth.cumsum(dim=2)) / (labelled + false_positives).clamp(min=1)
    return loss.diff(dim=2, prepend=torch.zeros_like(loss[..., :1]))


def _regions(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return probabilities (N, K, H, W), zero where ignored, and one-hot labels (N, K, H, W) bool."""
    probs = logits.float().softmax(dim=1) * (targets != IGNORE_INDEX)[:, None]
    classes = torch.arange(logits.shape[1], device=logits.device)[:, None, None]
    return probs, targets[:, None] == classes  # 255 matches none of them
