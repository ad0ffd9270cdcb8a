"""What training minimises: cross-entropy plus soft Dice, with ignored pixels and class weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from satseg.classes import IGNORE_INDEX


def cross_entropy(logits: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
    """Average the negative log-likelihood over the pixels that count.

    Args:
        logits: (N, K, H, W) float.
        targets: (N, H, W) int64, 0..K-1, or 255 = ignore.
        weight: (K,) weight of each class, or None for equal ones. The average is weighted too, so that weights
            shift attention between classes without changing the size of the loss.

    Returns:
        Scalar float32; zero, with zero gradients, where every pixel is ignored or has a class of weight 0.
    """
    total = F.cross_entropy(logits.float(), targets, weight, ignore_index=IGNORE_INDEX, reduction="sum")
    counted = targets != IGNORE_INDEX
    if weight is None:
        return total / counted.sum().clamp(min=1)
    share = (weight[targets.where(counted, 0)] * counted).sum()
    return total / torch.where(share > 0, share, 1.0)


def dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Average 1 - Dice over the classes that the batch's labels hold.

    Dice is soft (of probabilities, not of decisions) and taken per class over all counted pixels of the batch:
    2 |P and T| / (|P| + |T|). It looks at regions, so a rare class weighs as much as a common one. Classes without
    a labelled pixel are left out: there is nothing that they could overlap with.

    Args:
        logits: (N, K, H, W) float.
        targets: (N, H, W) int64, 0..K-1, or 255 = ignore.

    Returns:
        Scalar float32 in 0..1; zero, with zero gradients, where every pixel is ignored.
    """
    counted = (targets != IGNORE_INDEX)[:, None]
    probs = logits.float().softmax(dim=1) * counted  # (N, K, H, W)
    classes = torch.arange(logits.shape[1], device=logits.device)[:, None, None]
    truth = targets[:, None] == classes  # (N, K, H, W); 255 matches none of them
    axes = (0, 2, 3)
    labelled = truth.sum(axes)  # (K,)
    overlap = (probs * truth).sum(axes)
    dice = 2 * overlap / (probs.sum(axes) + labelled).clamp(min=1e-6)
    present = labelled > 0
    return ((1 - dice) * present).sum() / present.sum().clamp(min=1)


class CrossEntropyDice(nn.Module):
    """Cross-entropy, which judges every pixel, plus Dice, which judges every region.

    Args:
        class_weights: (K,) weights for the cross-entropy, or None for equal ones.
        dice_weight: Factor of the Dice loss.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Tensor | None = None, *, dice_weight: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights)
        self.dice_weight = dice_weight

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the scalar loss of (N, K, H, W) logits against (N, H, W) int64 targets, 255 = ignore."""
        loss = cross_entropy(logits, targets, self.class_weights)
        if self.dice_weight:
            loss = loss + self.dice_weight * dice_loss(logits, targets)
        return loss
