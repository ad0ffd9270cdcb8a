"""Losses that judge every pixel by itself and average over those that count.

All take logits (N, K, H, W) float; targets (N, H, W) int64, 0..K-1 or 255 = ignore; ``weight`` (K,) of each class, or
None for equal ones; and ``total``, which adds up over devices. They return a scalar float32: zero, with zero gradients,
where every pixel is ignored or has a class of weight 0. Averages are weighted too, so that weights shift attention
between classes without changing the size of the loss.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from satseg.classes import IGNORE_INDEX
from satseg.training.devices import Total, alone


def cross_entropy(logits: Tensor, targets: Tensor, weight: Tensor | None = None, total: Total = alone) -> Tensor:
    """Return the mean negative log-likelihood."""
    losses = F.cross_entropy(logits.float(), targets, weight, ignore_index=IGNORE_INDEX, reduction="sum")
    return _divide(losses, _class_weight(targets, weight).sum(), total)


def focal(
    logits: Tensor, targets: Tensor, weight: Tensor | None = None, total: Total = alone, *, gamma: float = 2.0
) -> Tensor:
    """Return the focal loss (Lin et al. 2017): cross-entropy times (1 - p) to the power of ``gamma``.

    Pixels that are right already fade out. ``weight`` takes the place of the paper's alpha.
    """
    losses = _negative_log(logits, targets)
    wrong = -torch.expm1(-losses)  # 1 - p, with every digit where p is near 1
    return _average(wrong.clamp(min=1e-6) ** gamma * losses, _class_weight(targets, weight), total)


def ohem(
    logits: Tensor,
    targets: Tensor,
    weight: Tensor | None = None,
    total: Total = alone,
    *,
    threshold: float = 0.7,
    keep: float = 0.0625,
) -> Tensor:
    """Return the cross-entropy of hard pixels alone (Shrivastava et al. 2016, for pixels as Wu et al. 2016).

    Hard are those whose class gets a probability under ``threshold``, and in each tile the hardest share ``keep``
    of those that count. By tile, not by batch, so that it does not matter how a batch is spread over devices.
    """
    losses = _negative_log(logits, targets)
    with torch.no_grad():
        counted = (targets != IGNORE_INDEX).flatten(1).sum(1)  # (N,)
        rank = (keep * counted).ceil().long().clamp(min=1, max=losses[0].numel())
        limit = losses.flatten(1).sort(dim=1, descending=True).values.gather(1, rank[:, None] - 1)  # (N, 1)
        easiest = limit.clamp(max=-math.log(max(threshold, 1e-6)))
        hard = losses >= easiest[..., None]
    return _average(losses, _class_weight(targets, weight) * hard, total)


def relaxed(
    logits: Tensor, targets: Tensor, weight: Tensor | None = None, total: Total = alone, *, border: float = 1
) -> Tensor:
    """Return the cross-entropy with relaxed labels at boundaries (Zhu et al. 2019, equation 3).

    Within ``border`` pixels of another class, any of the classes there is right: the loss is the negative logarithm of
    the sum of their probabilities. Labels are rarely exact to the pixel.
    """
    classes = torch.arange(logits.shape[1], device=logits.device)[:, None, None]
    counted = targets != IGNORE_INDEX
    truth = (targets[:, None] == classes).float()  # (N, K, H, W); 255 matches none of them
    window = 2 * int(border) + 1
    near = F.max_pool2d(truth, window, stride=1, padding=int(border)) > 0
    logs = logits.float().log_softmax(dim=1)
    allowed = near | ~counted[:, None]  # every class where ignored, lest the sum be empty
    losses = -logs.masked_fill(~allowed, -torch.inf).logsumexp(dim=1)
    return _average(losses, _class_weight(targets, weight), total)


def _negative_log(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -log p of each pixel's class (N, H, W), zero where ignored."""
    return F.cross_entropy(logits.float(), targets, ignore_index=IGNORE_INDEX, reduction="none")


def _class_weight(targets: Tensor, weight: Tensor | None) -> Tensor:
    """Return how much each pixel counts (N, H, W) float32, zero where ignored."""
    counted = targets != IGNORE_INDEX
    return counted.float() if weight is None else weight[targets.where(counted, 0)] * counted


def _average(losses: Tensor, weights: Tensor, total: Total) -> Tensor:
    return _divide((losses * weights).sum(), weights.sum(), total)


def _divide(losses: Tensor, weights: Tensor, total: Total) -> Tensor:
    share = total(weights)
    return total(losses) / torch.where(share > 0, share, 1.0)
