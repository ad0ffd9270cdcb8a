"""Pixel losses: weighted averages of a loss per pixel.

All take logits (N, K, H, W) float; targets (N, H, W) int64, 0..K-1 or 255 = ignore; class weights ``weight`` (K,), or
None for equal ones; and ``total``, which sums over devices. They return a scalar float32, which is zero with zero
gradients if all pixels are ignored or have a class of weight 0. The sum of the losses is divided by the sum of the
weights, so that class weights do not change the magnitude of the loss.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from satseg.classes import IGNORE_INDEX
from satseg.training.devices import Total, single_device


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    weight: Tensor | None = None,
    total: Total = single_device,
    *,
    smoothing: float = 0.0,
) -> Tensor:
    """Return the mean negative log-likelihood.

    With label smoothing (Szegedy et al. 2016, section 7), a share of ``smoothing`` of every labelled pixel is
    distributed evenly over all classes, so that wrong labels cost less and probabilities stay off 0 and 1.
    """
    losses = F.cross_entropy(logits.float(), targets, weight, ignore_index=IGNORE_INDEX, reduction="sum")
    weights = _class_weight(targets, weight)
    if smoothing:
        even = (-logits.float().log_softmax(dim=1).mean(dim=1) * weights).sum()
        losses = (1 - smoothing) * losses + smoothing * even
    return _divide(losses, weights.sum(), total)


def focal(
    logits: Tensor, targets: Tensor, weight: Tensor | None = None, total: Total = single_device, *, gamma: float = 2.0
) -> Tensor:
    """Return the focal loss (Lin et al. 2017): cross-entropy times (1 - p) to the power of ``gamma``.

    Well-classified pixels get a small weight. ``weight`` is the paper's alpha.
    """
    losses = _negative_log(logits, targets)
    wrong = -torch.expm1(-losses)  # 1 - p, accurate for p near 1
    return _average(wrong.clamp(min=1e-6) ** gamma * losses, _class_weight(targets, weight), total)


def ohem(
    logits: Tensor,
    targets: Tensor,
    weight: Tensor | None = None,
    total: Total = single_device,
    *,
    threshold: float = 0.7,
    keep: float = 0.0625,
) -> Tensor:
    """Return the cross-entropy of hard pixels only (OHEM, Shrivastava et al. 2016; for pixels Wu et al. 2016).

    Hard pixels are those whose class has a probability below ``threshold``, and at least the hardest fraction ``keep``
    of the labelled pixels of each tile. They are chosen per tile, not per batch, so that the loss does not depend on
    the distribution of a batch over devices.
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
    logits: Tensor, targets: Tensor, weight: Tensor | None = None, total: Total = single_device, *, border: float = 1
) -> Tensor:
    """Return the cross-entropy with boundary label relaxation (Zhu et al. 2019, equation 3).

    Within ``border`` pixels of another class, the loss is the negative logarithm of the summed probabilities of all
    classes in that neighbourhood, because labels are rarely exact to the pixel. The authors' code has this logarithm
    once for each of these classes, with their weights, and divides by their number: without weights it is the same;
    here each pixel has the weight of its own label.
    """
    classes = torch.arange(logits.shape[1], device=logits.device)[:, None, None]
    counted = targets != IGNORE_INDEX
    truth = (targets[:, None] == classes).float()  # (N, K, H, W); 255 matches none of them
    window = 2 * int(border) + 1
    near = F.max_pool2d(truth, window, stride=1, padding=int(border)) > 0
    logs = logits.float().log_softmax(dim=1)
    allowed = near | ~counted[:, None]  # all classes at ignored pixels, so that no sum is empty
    losses = -logs.masked_fill(~allowed, -torch.inf).logsumexp(dim=1)
    return _average(losses, _class_weight(targets, weight), total)


def _negative_log(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -log p of the labelled class of each pixel (N, H, W), zero where ignored."""
    return F.cross_entropy(logits.float(), targets, ignore_index=IGNORE_INDEX, reduction="none")


def _class_weight(targets: Tensor, weight: Tensor | None) -> Tensor:
    """Return the weight of each pixel (N, H, W) float32, zero where ignored."""
    counted = targets != IGNORE_INDEX
    return counted.float() if weight is None else weight[targets.where(counted, 0)] * counted


def _average(losses: Tensor, weights: Tensor, total: Total) -> Tensor:
    return _divide((losses * weights).sum(), weights.sum(), total)


def _divide(losses: Tensor, weights: Tensor, total: Total) -> Tensor:
    weight = total(weights)
    return total(losses) / torch.where(weight > 0, weight, 1.0)
